"""The text model in plain torch: any machine, no compiler.

What makes it several times as fast as the library's modules on a processor: queries, keys and
values are one product, and so are gate and up; the cache has its room beforehand; norms are one
operation (see `dense.rms_norm`); and the weights may be of 8 or of 4 bits.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.engine.text import dense
from vlmchat.engine.text.head import Head
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.model import one_by_one
from vlmchat.engine.text.packing import Matrix, Workspace, pack
from vlmchat.engine.text.tree import TokenTree, read_tree
from vlmchat.engine.text.watching import Watch
from vlmchat.engine.text.weights import LayerWeights, TextWeights

log = logging.getLogger(__name__)

_PLAIN = 16  # bits from which on nothing is packed


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """One decoder layer, its matrices packed; see `LayerWeights`."""

    input_norm: torch.Tensor
    qkv: Matrix
    output: Matrix
    ffn_norm: torch.Tensor
    gate_up: Matrix
    down: Matrix


class Embedding(Protocol):
    """Where embeddings are read from."""

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens: (tokens, hidden)."""


class PortableText:
    """A `TextModel` of plain torch operations.

    Args:
        weights: of the model; afterwards only its embeddings are read.
        bits: 16 or more for the weights as they are, in their dtype, with the library's roundings
            and on any device; 8, or 4 with a head of 8, on processors. Matrices whose shape has no
            operation stay finer.

    Attributes:
        way: see `TextModel`.
        shape: of the model.
        bits: the fewest that a matrix was packed to.
        nbytes: of the weights that a step reads.
    """

    def __init__(self, weights: TextWeights, bits: int) -> None:
        began = time.perf_counter()
        self.shape, self._embedding = weights.shape, weights
        self._dtype, self._device = weights.head.dtype, weights.head.device
        self._workspace = Workspace()
        self._layers = [
            self._packed(weights.layer(index), bits, index) for index in range(self.shape.layers)
        ]
        self._head = Head(weights.head, max(bits, 8), self._workspace)
        # What `dense.read` asks for.
        self.final_norm, self.cos, self.sin = weights.final_norm, weights.cos, weights.sin
        cos, sin = dense.rotation_of(weights.cos, weights.sin, self._dtype)
        half = (self.shape.positions, 1, 2, self.shape.head_dim // 2)
        self._cos, self._sin = cos.view(half), sin.view(half)
        matrices = [getattr(layer, name) for layer in self._layers for name in _MATRICES]
        self.bits = min((matrix.bits for matrix in matrices), default=bits)
        self.nbytes = sum(matrix.nbytes for matrix in matrices) + self._head.nbytes
        name = str(self._dtype).removeprefix("torch.")
        self.way = f"portable {self.bits}-bit" if self.bits < _PLAIN else f"portable {name}"
        log.info("%s: packed in %.2f s", self.way, time.perf_counter() - began)

    def _packed(self, layer: LayerWeights, bits: int, index: int) -> PackedLayer:
        packed = {
            name: pack(getattr(layer, name), bits, self._workspace, f"{name} of layer {index}")
            for name in _MATRICES
        }
        return PackedLayer(input_norm=layer.input_norm, ffn_norm=layer.ffn_norm, **packed)

    def new_cache(self) -> KVCache:
        """Return an empty cache."""
        return KVCache(self.shape, self._dtype, self._device)

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens: (tokens, hidden)."""
        return self._embedding.embed(ids)

    def layer(self, index: int) -> PackedLayer:
        """Return a decoder layer as it is multiplied."""
        return self._layers[index]

    def dense_layer(self, index: int) -> LayerWeights:
        """Return a decoder layer of the weights that are multiplied, in float32."""
        layer = self._layers[index]
        matrices = {name: getattr(layer, name).dense() for name in _MATRICES}
        norms = {"input_norm": layer.input_norm.float(), "ffn_norm": layer.ffn_norm.float()}
        return LayerWeights(**norms, **matrices)

    def dense_head(self) -> torch.Tensor:
        """Return the head that is multiplied, in float32."""
        return self._head.dense()

    @torch.inference_mode()
    def prefill(
        self, embeddings: torch.Tensor, cache: KVCache, check: Check = unstopped
    ) -> torch.Tensor:
        """Read tokens and return the logits behind the last; see `TextModel`."""
        hidden = dense.read_with(self, _times, embeddings, cache, check)
        return self._head.one(hidden[-1:])[0]

    @torch.inference_mode()
    def score(self, embeddings: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Read tokens and return the logits behind each; see `TextModel`."""
        return self._head.many(dense.read_with(self, _times, embeddings, cache))

    @property
    def together(self) -> int:
        """See `TextModel`."""
        return 1

    def steps(self, tokens: Sequence[int], caches: Sequence[KVCache]) -> torch.Tensor:
        """Read a token of each sequence, one after the other; see `TextModel`."""
        return one_by_one(self, tokens, caches)

    @torch.inference_mode()
    def watched(self, embeddings: torch.Tensor, cache: KVCache, watch: Watch) -> torch.Tensor:
        """Read tokens as `score` does, and tell of each layer; see `TextModel`."""
        hidden = dense.read_with(self, _times, embeddings, cache, watch=watch)
        return self._head.many(hidden)

    @torch.inference_mode()
    def tree(
        self,
        tree: TokenTree,
        embeddings: torch.Tensor,
        cache: KVCache,
        check: Check = unstopped,
    ) -> torch.Tensor:
        """Return the logits behind each token of a tree; see `ReadsTrees`."""
        return self._head.many(read_tree(self, _times, tree, embeddings, cache, check))

    @torch.inference_mode()
    def step(self, token: int, cache: KVCache) -> torch.Tensor:
        """Read one token and return the logits behind it; see `TextModel`."""
        shape, position = self.shape, cache.length
        if position >= shape.positions:
            raise ValueError(f"there is room for {shape.positions} tokens")
        cache.reserve(1)
        hidden = self.embed([token]).to(self._dtype)
        cos, sin = self._cos[position], self._sin[position]
        # Views of all layers at once: slicing costs as much as computing does for one token.
        slots = cache.data[:, :, :, position].unbind(0)
        seen = cache.data[:, :, None, :, : position + 1].unbind(0)
        turning, groups = shape.heads + shape.kv_heads, shape.heads // shape.kv_heads
        every, size = turning + shape.kv_heads, shape.head_dim
        for layer, slot, (keys, values) in zip(self._layers, slots, seen, strict=True):
            normed = dense.rms_norm(hidden, layer.input_norm, shape.eps)
            heads = layer.qkv.one(normed).view(every, 2, size // 2)
            turned = heads[:turning] * cos + heads[:turning].flip(1) * sin
            turned = turned.view(turning, size)
            slot[0].copy_(turned[shape.heads :])
            slot[1].copy_(heads[turning:].view(shape.kv_heads, size))
            # The heads that share keys are rows of one head.
            queries = turned[: shape.heads].view(1, shape.kv_heads, groups, size)
            attended = functional.scaled_dot_product_attention(queries, keys, values)
            hidden = hidden + layer.output.one(attended.view(1, shape.heads * size))
            normed = dense.rms_norm(hidden, layer.ffn_norm, shape.eps)
            gate, up = layer.gate_up.one(normed).chunk(2, dim=-1)
            hidden = hidden + layer.down.one(functional.silu(gate) * up)
        cache.length = position + 1
        return self._head.one(dense.rms_norm(hidden, self.final_norm, shape.eps))[0]


_MATRICES = ("qkv", "output", "gate_up", "down")


def _times(rows: torch.Tensor, matrix: Matrix) -> torch.Tensor:
    return matrix.many(rows)
