"""The text model with its weights packed for the native decode step.

Single tokens go through the step, and a few as one piece, each weight read once for several of
them; many go through dense layers, which are unpacked one after the other into the same memory, so
that no dense copy of the model is kept.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref

import torch
from torch.nn import functional

from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.engine.native.library import (
    MOST,
    LayerStruct,
    Library,
    ShapeStruct,
    Team,
    TokenStruct,
    Weight,
    bits_of,
    freed_with,
)
from vlmchat.engine.text import dense
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.tree import TokenTree, read_tree
from vlmchat.engine.text.watching import Watch
from vlmchat.engine.text.weights import LayerWeights, TextWeights
from vlmchat.errors import VlmchatError

# Tokens that the step reads faster than dense layers do: packed, since unpacking takes as long as
# more than sixty of them; and as they are, where only the matrix units are faster.
_FEW, _FEW_DENSE = 64, 16
_TOGETHER = 8  # sequences whose tokens are read for little more than one, see benchmarks/batch.py
_HEAD_ROWS = 8192  # of the head that are dense at a time


class UnsupportedModelError(VlmchatError):
    """A model that the native step does not know."""


class _Layer:
    """A decoder layer: what the step reads, and how it becomes dense."""

    def __init__(self, weights: LayerWeights, team: Team, bits: int) -> None:
        self.norms = [weights.input_norm, weights.ffn_norm]
        self.float_norms = [norm.float().contiguous() for norm in self.norms]
        matrices = [weights.qkv, weights.output, weights.gate_up, weights.down]
        self.weights = [
            team.pack(matrix, bits) if bits < 16 else Weight.dense(matrix) for matrix in matrices
        ]

    def struct(self) -> LayerStruct:
        norms = [norm.data_ptr() for norm in self.float_norms]
        return LayerStruct(*norms, *(weight.struct for weight in self.weights))


class _DenseLayers:
    """Layers for `dense.read`, each in the place of the one before."""

    def __init__(self, layers: list[_Layer], team: Team, weights: TextWeights) -> None:
        self._layers, self._team = layers, team
        self.shape, self.cos, self.sin = weights.shape, weights.cos, weights.sin
        self.final_norm = weights.final_norm
        self._room: list[torch.Tensor] = []

    def layer(self, index: int) -> LayerWeights:
        """Return a layer that is valid until the next one is asked for."""
        layer = self._layers[index]
        matrices = [weight.data for weight in layer.weights]
        if layer.weights[0].bits < 16:
            self._room = self._room or [
                torch.empty(weight.rows, weight.columns, dtype=layer.norms[0].dtype)
                for weight in layer.weights
            ]
            matrices = [
                self._team.unpack(weight, room)
                for weight, room in zip(layer.weights, self._room, strict=True)
            ]
        qkv, output, gate_up, down = matrices
        return LayerWeights(layer.norms[0], qkv, output, layer.norms[1], gate_up, down)


class NativeText:
    """A `TextModel` whose single tokens are read by ``decode.cpp``.

    Args:
        weights: of the model; afterwards only its embeddings are read.
        library: the compiled step.
        bits: 16 for the weights as they are, 8, or 4 (with a head of 8).
        threads: that compute.

    Attributes:
        way: see `TextModel`.
        shape: of the model.
        bits: as given.
        nbytes: of the weights that a step reads.

    Raises:
        UnsupportedModelError: the step does not know this model's sizes or numbers.
    """

    def __init__(self, weights: TextWeights, library: Library, bits: int, threads: int) -> None:
        assert bits in (4, 8, 16)
        dtype = weights.head.dtype
        names = {torch.bfloat16: "bf16", torch.float32: "float32"}
        if dtype not in names:
            raise UnsupportedModelError(f"The native step does not know weights of {dtype}.")
        self.shape, self.bits = weights.shape, bits
        self.way = f"native {bits}-bit" if bits < 16 else f"native {names[dtype]}"
        self._embeddings, self._dtype = weights, dtype
        self._functions = library.functions
        self._team = Team(library, threads)
        try:
            self._layers = [
                _Layer(weights.layer(index), self._team, bits) for index in range(self.shape.layers)
            ]
            head = weights.head
            self._head = self._team.pack(head, 8) if bits < 16 else Weight.dense(head)
        except ValueError as error:
            raise UnsupportedModelError(f"The native step does not know this: {error}") from error
        self._floats = [
            table.float().contiguous() for table in (weights.final_norm, weights.cos, weights.sin)
        ]
        self._dense = _DenseLayers(self._layers, self._team, weights)
        self._logits = torch.empty(1, self.shape.vocab, dtype=torch.float32)
        self._decoder = self._new_decoder()
        matrices = [weight.data for layer in self._layers for weight in layer.weights]
        self.nbytes = sum(matrix.nbytes for matrix in [*matrices, self._head.data])

    @property
    def threads(self) -> int:
        """How many compute, from the next call on."""
        return self._team.threads

    @threads.setter
    def threads(self, threads: int) -> None:
        self._team.threads = threads

    def new_cache(self) -> KVCache:
        """Return an empty cache."""
        return KVCache(self.shape, self._dtype)

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens: (tokens, hidden)."""
        return self._embeddings.embed(ids)

    @torch.inference_mode()
    def prefill(
        self, embeddings: torch.Tensor, cache: KVCache, check: Check = unstopped
    ) -> torch.Tensor:
        """Read tokens and return the logits behind the last; see `TextModel`."""
        if len(embeddings) <= self._few:
            self._read(embeddings, cache, check, self._rows(1))
            return self._logits[0].clone()
        last = dense.read(self._dense, embeddings, cache, check)[-1]
        logits = torch.empty(self.shape.vocab, dtype=torch.float32)
        return self._team.multiply(self._head, last.float().contiguous(), logits)

    @torch.inference_mode()
    def score(self, embeddings: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Read tokens and return the logits behind each; see `TextModel`."""
        count = len(embeddings)
        if count <= self._few:
            self._read(embeddings, cache, unstopped, self._rows(count))
            return self._rows(count).clone()
        return self._logits_of(dense.read(self._dense, embeddings, cache))

    @torch.inference_mode()
    def watched(self, embeddings: torch.Tensor, cache: KVCache, watch: Watch) -> torch.Tensor:
        """Read tokens through dense layers, and tell of each; see `TextModel`."""
        return self._logits_of(dense.read(self._dense, embeddings, cache, watch=watch))

    @torch.inference_mode()
    def tree(
        self,
        tree: TokenTree,
        embeddings: torch.Tensor,
        cache: KVCache,
        check: Check = unstopped,
    ) -> torch.Tensor:
        """Return the logits behind each token of a tree; see `ReadsTrees`."""
        hidden = read_tree(self._dense, functional.linear, tree, embeddings, cache, check)
        return self._logits_of(hidden)

    @torch.inference_mode()
    def step(self, token: int, cache: KVCache) -> torch.Tensor:
        """Read one token and return the logits behind it; see `TextModel`."""
        self._read(self._embeddings.embed([token]), cache, unstopped, self._rows(1))
        return self._logits[0]

    @property
    def together(self) -> int:
        """See `TextModel`."""
        return _TOGETHER

    @torch.inference_mode()
    def steps(self, tokens: Sequence[int], caches: Sequence[KVCache]) -> torch.Tensor:
        """Read a token of each sequence, every weight once; see `TextModel`."""
        embeddings, rows = self._embeddings.embed(tokens).contiguous(), self._rows(len(tokens))
        for cache in caches:
            self._reserve(cache, 1)
        self._step(
            [
                _token(embedding, cache, cache.length, row)
                for embedding, cache, row in zip(embeddings, caches, rows, strict=True)
            ],
            unstopped,
        )
        for cache in caches:
            cache.length += 1
        return rows

    @property
    def _few(self) -> int:
        return _FEW if self.bits < 16 else _FEW_DENSE

    def _rows(self, count: int) -> torch.Tensor:
        """Return room for so many logits: (count, vocab)."""
        if len(self._logits) < count:
            self._logits = torch.empty(count, self.shape.vocab, dtype=torch.float32)
        return self._logits[:count]

    def _read(
        self, embeddings: torch.Tensor, cache: KVCache, check: Check, rows: torch.Tensor
    ) -> None:
        """Read tokens one behind the other.

        Args:
            embeddings: of the tokens, (tokens, hidden).
            cache: grows by as many, at the end.
            check: see `prefill`.
            rows: for the logits behind the last tokens, (tokens at most, vocab).
        """
        self._reserve(cache, len(embeddings))
        embeddings, silent = embeddings.contiguous(), len(embeddings) - len(rows)
        self._step(
            [
                _token(
                    embedding,
                    cache,
                    cache.length + place,
                    rows[place - silent] if place >= silent else None,
                )
                for place, embedding in enumerate(embeddings)
            ],
            check,
        )
        cache.length += len(embeddings)

    def _reserve(self, cache: KVCache, count: int) -> None:
        if cache.length + count > self.shape.positions:
            raise ValueError(f"there is room for {self.shape.positions} tokens")
        cache.reserve(count)

    def _step(self, tokens: Sequence[TokenStruct], check: Check) -> None:
        """Read tokens, each weight once for some of them; `check` is called before each some."""
        for first in range(0, len(tokens), MOST):
            check()
            some = tokens[first : first + MOST]
            self._team.ready()
            if self._functions.vlmchat_step(
                self._decoder, (TokenStruct * len(some))(*some), len(some)
            ):
                raise MemoryError("no memory to read a token")

    def _logits_of(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._head.bits >= 16:
            return functional.linear(hidden, self._head.data).float()
        logits = torch.empty(len(hidden), self.shape.vocab, dtype=torch.float32)
        room = torch.empty(_HEAD_ROWS, self.shape.hidden, dtype=self._dtype)
        for first in range(0, self.shape.vocab, _HEAD_ROWS):
            some = room[: self.shape.vocab - first]
            self._team.unpack(self._head, some, first)
            logits[:, first : first + len(some)] = functional.linear(hidden, some)
        return logits

    def _new_decoder(self) -> int:
        sizes = {name: getattr(self.shape, name) for name, *_ in ShapeStruct._fields_}
        layers = (LayerStruct * self.shape.layers)(*(layer.struct() for layer in self._layers))
        decoder = self._functions.vlmchat_decoder(
            self._team.ready(),
            byref(ShapeStruct(**sizes)),
            ctypes.cast(layers, ctypes.POINTER(LayerStruct)),
            byref(self._head.struct),
            *(table.data_ptr() for table in self._floats),
        )
        if not decoder:
            raise UnsupportedModelError("The native step does not know a model of these sizes.")
        freed_with(self, self._functions.vlmchat_decoder_free, decoder)
        return int(decoder)


def _token(
    embedding: torch.Tensor, cache: KVCache, position: int, logits: torch.Tensor | None
) -> TokenStruct:
    """Return a token as the step takes it, behind so many others; its tensors must stay."""
    return TokenStruct(
        embedding.data_ptr(),
        cache.data.data_ptr(),
        None if logits is None else logits.data_ptr(),
        cache.capacity,
        position,
        bits_of(cache.data.dtype),
        bits_of(embedding.dtype),
    )
