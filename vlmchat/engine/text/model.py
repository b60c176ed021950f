"""What every way to run the text model can do; the rest of the engine knows only this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch

from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.engine.text.watching import Watch


@dataclass(frozen=True, slots=True)
class TextShape:
    """The sizes of a Llama text model (``text_config`` of SmolVLM's ``config.json``).

    Attributes:
        layers: decoder layers.
        hidden: values of one token between the layers.
        heads: query heads.
        kv_heads: key and value heads; each serves ``heads // kv_heads`` query heads.
        head_dim: values of a head.
        ffn: values inside the feed-forward layer.
        vocab: rows of the head.
        eps: of the RMS norms.
        positions: the most tokens of a sequence.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    eps: float
    positions: int


class Cache(Protocol):
    """Keys and values of the tokens of one sequence; not shared between threads."""

    @property
    def length(self) -> int:
        """How many tokens it holds."""

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""

    def crop(self, length: int) -> None:
        """Forget all tokens but the first `length`."""

    def copy(self, length: int) -> Self:
        """Return a cache of its own with the first `length` tokens."""


CacheT = TypeVar("CacheT", bound=Cache)


class TextModel(Protocol[CacheT]):
    """A text model with its weights, for one thread at a time."""

    @property
    def way(self) -> str:
        """How it computes, in a few words for a person: ``native 8-bit``."""

    def new_cache(self) -> CacheT:
        """Return an empty cache, which grows by itself."""

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens, of shape (tokens, hidden) in the model's dtype."""

    def prefill(
        self, embeddings: torch.Tensor, cache: CacheT, check: Check = unstopped
    ) -> torch.Tensor:
        """Read tokens behind those in the cache.

        Args:
            embeddings: of shape (tokens, hidden), at least one token.
            cache: grows by as many tokens.
            check: called before each layer. Where it raises, what the cache holds of these tokens
                is anything: crop it.

        Returns:
            The logits behind the last token, of shape (vocab,).
        """

    def score(self, embeddings: torch.Tensor, cache: CacheT) -> torch.Tensor:
        """Read tokens as `prefill` does, and return the logits behind each: (tokens, vocab)."""

    def watched(self, embeddings: torch.Tensor, cache: CacheT, watch: Watch) -> torch.Tensor:
        """Read tokens and return logits as `score` does; `watch` is told what each layer does."""

    def step(self, token: int, cache: CacheT) -> torch.Tensor:
        """Read one token and return the logits behind it, of shape (vocab,).

        They may be overwritten by the next call.
        """

    @property
    def together(self) -> int:
        """Of how many sequences `steps` reads a token for hardly more than one costs."""

    def steps(self, tokens: Sequence[int], caches: Sequence[CacheT]) -> torch.Tensor:
        """Read one token of each of several sequences.

        The logits of a sequence are those that `step` gives, to the last bit, whichever others
        are read beside it.

        Args:
            tokens: one a sequence.
            caches: of different sequences; each grows by its token.

        Returns:
            The logits, of shape (sequences, vocab). They may be overwritten by the next call.
        """


def one_by_one(
    text: TextModel[CacheT], tokens: Sequence[int], caches: Sequence[CacheT]
) -> torch.Tensor:
    """Do what `TextModel.steps` does where reading several costs as much as one after the other."""
    return torch.stack(
        [text.step(token, cache).clone() for token, cache in zip(tokens, caches, strict=True)]
    )
