"""What the tests of the caches share: a model that notes its logits, and short conversations."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import torch

from tests.pictures import encoded
from vlmchat.chat.messages import Media, Message, TextPart, user_message
from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.engine.events import Answer, Reading
from vlmchat.engine.generate import generate
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.text.model import one_by_one
from vlmchat.media.images import media_from_bytes
from vlmchat.models.progress import ignore_progress

# Small enough for one tile, or cut into a grid; and two that only their pixels tell apart.
SIZES = ((30, 30), (30, 31), (64, 60), (60, 64))


class BrokenError(RuntimeError):
    """Raised in the middle of a computation."""


class Noting:
    """A text model that keeps the logits it returned, and breaks down when told to.

    Args:
        text: what computes.
    """

    way = "noting"

    def __init__(self, text: Any) -> None:
        self._text = text
        self.logits: list[torch.Tensor] = []
        self.breaks_in = -1
        self.read = 0

    def new_cache(self) -> Any:
        return self._text.new_cache()

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        embedded: torch.Tensor = self._text.embed(ids)
        return embedded

    def prefill(
        self, embeddings: torch.Tensor, cache: Any, check: Check = unstopped
    ) -> torch.Tensor:
        self.read += len(embeddings)
        return self._noted(self._text.prefill(embeddings, cache, check))

    def score(self, embeddings: torch.Tensor, cache: Any) -> torch.Tensor:
        return self._noted(self._text.score(embeddings, cache))

    def watched(self, embeddings: torch.Tensor, cache: Any, watch: Any) -> torch.Tensor:
        return self._noted(self._text.watched(embeddings, cache, watch))

    def step(self, token: int, cache: Any) -> torch.Tensor:
        return self._noted(self._text.step(token, cache))

    @property
    def together(self) -> int:
        return 1

    def steps(self, tokens: Sequence[int], caches: Sequence[Any]) -> torch.Tensor:
        return one_by_one(self, tokens, caches)

    def _noted(self, logits: torch.Tensor) -> torch.Tensor:
        self.breaks_in -= 1
        if self.breaks_in == -1:
            raise BrokenError
        self.logits.append(logits.clone())
        return logits


@cache
def noting_model(folder: Path) -> tuple[LoadedModel, Noting]:
    """Return the model of a folder in float32, and what notes its logits."""
    loaded = load_model(LoadOptions(str(folder), "none", dtype="float32"), ignore_progress)
    text = Noting(loaded.text)
    return replace(loaded, text=text), text


@cache
def painting(number: int) -> Media:
    """Return one of a few pictures, all of one name."""
    width, height = SIZES[number % len(SIZES)]
    return media_from_bytes(encoded("PNG", width, height + number // len(SIZES)), "picture")


def question(text: str, *pictures: int) -> Message:
    return user_message(text, tuple(map(painting, pictures)))


def said(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


def ask(
    loaded: LoadedModel,
    messages: Sequence[Message],
    caches: Caches | None,
    cancel: Event | None = None,
    reports: list[Reading] | None = None,
    **params: Any,
) -> tuple[str, Answer]:
    """Return the answer's text and what is known about it."""
    pieces: list[str] = []
    chosen = SamplingParams(**{"max_tokens": 5, **params})
    noted = reports if reports is not None else []
    prompt = loaded.builder.build(messages)
    end = generate(loaded, prompt, chosen, cancel or Event(), pieces.append, caches, noted.append)
    return "".join(pieces), end
