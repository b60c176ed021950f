"""The text model as the library computes it: the reference, and the way that always works."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from vlmchat.engine.cancelled import Check, interruptible, unstopped
from vlmchat.engine.text.model import one_by_one
from vlmchat.engine.text.watching import Watch, queries_noted


class LibraryCache:
    """The library's own cache of one sequence.

    Args:
        config: of the text model.

    Attributes:
        layers: what the library's modules take as ``past_key_values``.
    """

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - a class without types
        self._config = config
        self.layers = DynamicCache(config=config)

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return int(self.layers.get_seq_length())

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        filled = [layer for layer in self.layers.layers if layer.is_initialized]
        return sum(int(layer.keys.nbytes + layer.values.nbytes) for layer in filled)

    def crop(self, length: int) -> None:
        """Forget all tokens but the first `length`."""
        if length <= 0:
            self.layers = DynamicCache(config=self._config)
        else:  # each layer for itself: one that failed leaves the others longer
            for layer in self.layers.layers:
                if layer.is_initialized:
                    layer.keys = layer.keys[..., :length, :]
                    layer.values = layer.values[..., :length, :]

    def copy(self, length: int) -> "LibraryCache":
        """Return a cache of its own with the first `length` tokens."""
        other = LibraryCache(self._config)
        if length > 0:
            for index, layer in enumerate(self.layers.layers):
                if layer.is_initialized:  # what is given is copied there, never held
                    keys, values = layer.keys[..., :length, :], layer.values[..., :length, :]
                    other.layers.update(keys, values, index)
        return other


class LibraryText:
    """The text model of a loaded model, run by the library's modules.

    Whatever they are is what answers: quantized, with an adapter's layers, or on another device.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - two classes without a typed base
        self.way = f"transformers {str(model.dtype).removeprefix('torch.')}"
        self._model = model
        self._config = model.config.get_text_config()

    def new_cache(self) -> LibraryCache:
        """Return an empty cache, which grows by itself."""
        return LibraryCache(self._config)

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens, of shape (tokens, hidden) in the model's dtype."""
        wanted = torch.tensor(ids, device=self._model.device, dtype=torch.long)
        embedded: torch.Tensor = self._model.get_input_embeddings()(wanted)
        return embedded

    @torch.inference_mode()
    def prefill(
        self, embeddings: torch.Tensor, cache: LibraryCache, check: Check = unstopped
    ) -> torch.Tensor:
        """Read tokens; return the logits behind the last of them, of shape (vocab,)."""
        with interruptible(self._model.model.text_model.layers, check):
            return self._head(self._read(embeddings, cache)[-1:])[0]

    @torch.inference_mode()
    def score(self, embeddings: torch.Tensor, cache: LibraryCache) -> torch.Tensor:
        """Read tokens; return the logits behind each of them, of shape (tokens, vocab)."""
        return self._head(self._read(embeddings, cache))

    @property
    def together(self) -> int:
        """See `TextModel`."""
        return 1

    def steps(self, tokens: Sequence[int], caches: Sequence[LibraryCache]) -> torch.Tensor:
        """Read a token of each sequence, one after the other; see `TextModel`."""
        return one_by_one(self, tokens, caches)

    @torch.inference_mode()
    def watched(self, embeddings: torch.Tensor, cache: LibraryCache, watch: Watch) -> torch.Tensor:
        """Read tokens as `score` does, and tell of each layer; see `TextModel`."""
        with queries_noted(self._model) as noted:
            hidden = self._read(embeddings, cache)
        for index, (queries, layer) in enumerate(zip(noted, cache.layers.layers, strict=True)):
            watch(index, queries, layer.keys[0])
        return self._head(hidden)

    @torch.inference_mode()
    def step(self, token: int, cache: LibraryCache) -> torch.Tensor:
        """Read one token; return the logits behind it, of shape (vocab,)."""
        return self._head(self._read(self.embed([token]), cache))[0]

    def _read(self, embeddings: torch.Tensor, cache: LibraryCache) -> torch.Tensor:
        """Return what the last layer makes of tokens, of shape (tokens, hidden)."""
        out = self._model.model.text_model(
            inputs_embeds=embeddings[None], past_key_values=cache.layers, use_cache=True
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    def _head(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model.lm_head(hidden)
        return logits
