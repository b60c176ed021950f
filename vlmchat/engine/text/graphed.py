"""The text model on a GPU: the library's modules, with a step that is captured once and replayed.

For one token a GPU computes less time than Python needs to ask for it, kernel after kernel. A
captured graph (CUDA Graphs, ``torch.cuda.CUDAGraph``) is asked for at once. It reads and writes the
same memory at every replay, so the cache of the sequence that is continued is mirrored in a block
of fixed size, and where the token goes is a number on the GPU. Whatever the modules are is what is
captured: dense, of 4 bits, or with an adapter's layers.
"""

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from vlmchat.engine.cancelled import Check, interruptible, unstopped
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.model import one_by_one
from vlmchat.engine.text.watching import Watch, queries_noted
from vlmchat.engine.text.weights import shape_of

log = logging.getLogger(__name__)

Forward: TypeAlias = Callable[[], torch.Tensor]
_ROOMS = (512, 2048, 8192)  # tokens; a step reads all of its block, filled or not
_WARMUPS = 3  # before the capture, as PyTorch's manual asks for: libraries choose their kernels


def captured(forward: Forward) -> Forward:
    """Return what replays `forward` as a CUDA graph; its result is in the same memory each time.

    Raises:
        RuntimeError: something in it cannot be captured, such as a look at a value.
    """
    apart: Any = torch.cuda.Stream  # its own annotations are incomplete
    current, apart = torch.cuda.current_stream(), apart()
    apart.wait_stream(current)
    with torch.cuda.stream(apart):
        for _ in range(_WARMUPS):
            forward()
    current.wait_stream(apart)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = forward()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


class GraphedText:
    """A `TextModel` of the library's modules whose step is captured.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation, with a text model that
            `is_plain_llama` accepts.
        capture: makes a replay of a step.

    Attributes:
        reason: why the step is not captured, as a sentence; empty if it is.
    """

    def __init__(self, model: Any, capture: Callable[[Forward], Forward] = captured) -> None:  # noqa: ANN401 - two classes without a typed base
        self._model = model
        self._shape = shape_of(model)
        self._dtype = model.dtype
        self._device = model.device
        self._capture = capture
        # What the block holds: the first tokens of this cache, while that is as long.
        self._mirrored: weakref.ref[KVCache] | None = None
        self._length = 0
        self.reason = ""
        with torch.inference_mode():
            self._block = self._new_block(1)

    @property
    def way(self) -> str:
        """See `TextModel`."""
        name = str(self._dtype).removeprefix("torch.")
        return f"transformers {name}" if self.reason else f"CUDA graph {name}"

    def new_cache(self) -> KVCache:
        """Return an empty cache, which grows by itself."""
        return KVCache(self._shape, self._dtype, self._device)

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens, of shape (tokens, hidden) in the model's dtype."""
        wanted = torch.tensor(ids, device=self._device, dtype=torch.long)
        embedded: torch.Tensor = self._model.get_input_embeddings()(wanted)
        return embedded

    @torch.inference_mode()
    def prefill(
        self, embeddings: torch.Tensor, cache: KVCache, check: Check = unstopped
    ) -> torch.Tensor:
        """Read tokens; return the logits behind the last of them, of shape (vocab,)."""
        with interruptible(self._model.model.text_model.layers, check):
            return self._head(self._read(embeddings, cache)[-1:])[0]

    @torch.inference_mode()
    def score(self, embeddings: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Read tokens; return the logits behind each of them, of shape (tokens, vocab)."""
        return self._head(self._read(embeddings, cache))

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
        with queries_noted(self._model) as noted:
            hidden = self._read(embeddings, cache)
        for index, queries in enumerate(noted):
            watch(index, queries, cache.data[index, 0, :, : cache.length])
        return self._head(hidden)

    @torch.inference_mode()
    def step(self, token: int, cache: KVCache) -> torch.Tensor:
        """Read one token; return the logits behind it, of shape (vocab,), until the next step."""
        position = cache.length
        if position >= self._shape.positions:
            raise ValueError(f"there is room for {self._shape.positions} tokens")
        block = self._mirror(cache)
        block.hidden.copy_(self.embed([token]))
        block.position.fill_(position)
        logits = block.run()
        cache.reserve(1)
        cache.data[:, :, :, position] = block.data[:, :, :, position]
        cache.length = self._length = position + 1
        return logits

    def _read(self, embeddings: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Return what the last layer makes of tokens, of shape (tokens, hidden)."""
        self._mirrored = None  # what is behind a cache's length may be written anew
        begin, end = cache.length, cache.length + len(embeddings)
        if not len(embeddings) or end > self._shape.positions:
            raise ValueError(f"{len(embeddings)} tokens behind {begin}")
        cache.reserve(len(embeddings))
        places = torch.arange(begin, end, device=self._device)
        seen = torch.arange(end, device=self._device) <= places[:, None]
        hidden = self._layers(embeddings, _Written(cache.data[:, :, :, :end], places), seen)
        cache.length = end
        return hidden

    def _layers(
        self, embeddings: torch.Tensor, keys: "_Written", seen: torch.Tensor
    ) -> torch.Tensor:
        out = self._model.model.text_model(
            inputs_embeds=embeddings[None],
            position_ids=keys.places[None],
            past_key_values=keys,
            attention_mask=seen[None, None],
            use_cache=True,
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    def _head(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model.lm_head(hidden)
        return logits

    # The block -----------------------------------------------------------------------------------

    def _mirror(self, cache: KVCache) -> "_Block":
        """Return a block that holds what `cache` does, and has room for one token more."""
        block = self._block
        if cache.length >= block.room:
            block = self._block = self._new_block(cache.length + 1)
            self._mirrored = None
        mirrored = self._mirrored() if self._mirrored else None
        if mirrored is not cache or self._length != cache.length:
            block.data[:, :, :, : cache.length] = cache.data[:, :, :, : cache.length]
            self._mirrored, self._length = weakref.ref(cache), cache.length
        return block

    def _new_block(self, least: int) -> "_Block":
        shape = self._shape
        rooms = [room for room in _ROOMS if least <= room < shape.positions]
        room = rooms[0] if rooms else shape.positions
        # Zeros: what nothing was written to is masked, but nothing times "not a number" is not.
        data = torch.zeros(
            (shape.layers, 2, shape.kv_heads, room, shape.head_dim),
            dtype=self._dtype,
            device=self._device,
        )
        block = _Block(data, shape.hidden)
        every = torch.arange(room, device=self._device)[None]

        def forward() -> torch.Tensor:
            keys = _Written(block.data, block.position)
            return self._head(self._layers(block.hidden, keys, every <= block.position))[0]

        block.run = forward
        if not self.reason:
            try:
                block.run = self._capture(forward)
            except Exception as error:  # capturing fails in as many ways as there are modules
                log.exception("the step cannot be captured")
                told = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
                self.reason = (
                    f"The decode step cannot be captured as a CUDA graph here ({told}), so Python "
                    "asks for each of its operations."
                )
        return block


class _Block:
    """The memory that a captured step reads and writes.

    Attributes:
        data: as of `KVCache`, of a fixed capacity.
        hidden: the token's embedding, of shape (1, hidden).
        position: where the token goes: int64, of shape (1,).
        run: the step; returns its logits, of shape (vocab,).
    """

    run: Forward

    def __init__(self, data: torch.Tensor, hidden: int) -> None:
        self.data = data
        self.hidden = data.new_zeros((1, hidden))
        self.position = torch.zeros(1, dtype=torch.int64, device=data.device)

    @property
    def room(self) -> int:
        """How many tokens it holds."""
        return int(self.data.shape[3])


class _Written:
    """What the library's attention asks of a cache: takes new keys and values, returns all.

    Args:
        data: as of `KVCache`, all of which is returned.
        places: where the new tokens go, int64 of shape (tokens,).
    """

    def __init__(self, data: torch.Tensor, places: torch.Tensor) -> None:
        self._data = data
        self.places = places

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take keys and values of shape (1, kv_heads, tokens, head_dim) of one layer."""
        both = self._data[layer]
        both[0].index_copy_(1, self.places, keys[0])
        both[1].index_copy_(1, self.places, values[0])
        return both[0][None], both[1][None]

    def get_seq_length(self, *_: object) -> int:
        """Return 0: where the tokens go is said by their positions."""
        return 0
