"""Asking a model in this process, by the engine's own reading, caches and generation."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from transformers.utils import logging

from vlmchat.chat.messages import Message
from vlmchat.demo.evaluating.rows import PictureCost
from vlmchat.engine.batching import Batcher, Item, Wanted
from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.limits import MEBIBYTE, CacheLimits
from vlmchat.engine.events import Answer
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.native.building import Build
from vlmchat.engine.sampling import SamplingParams
from vlmchat.finetune import shelf
from vlmchat.media.tiles import plan_tiles
from vlmchat.models.progress import Progress, ProgressSink

# Longer than any right answer; whoever says more is wrong already.
MOST_TOKENS = 96
# Examples have no picture in common: what is kept is the beginning of the prompt.
_KEPT = CacheLimits(prefixes=64 * MEBIBYTE, pictures=16 * MEBIBYTE)


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    Attributes:
        text: what was said, without white space around it.
        seconds: its share of what all that were asked together took, from the questions to the
            last one's end, pictures looked at and prompts read.
        prompt_tokens: of the whole prompt.
    """

    text: str
    seconds: float
    prompt_tokens: int


def load(options: LoadOptions, progress: ProgressSink) -> LoadedModel:
    """Load a model whose arithmetic stays the same from the first answer to the last.

    Raises:
        ModelError: not found, not loadable or not fitting; one sentence.
    """
    logging.disable_progress_bar()  # loading weights tells of itself in lines of its own
    if options.native != "off":
        progress(Progress("starting", "Compiling the native step, if it is not there yet"))
        Build().make()  # else the first answers would be computed in another way than the rest
    return load_model(options, progress)


def adapter_folder(name: str) -> Path:
    """Return the folder of an adapter: one on the shelf, or a path.

    Raises:
        UsageError: there is none.
    """
    path = Path(name).expanduser()
    return path if path.is_dir() else shelf.open_adapter(name).folder


class Answerer:
    """Answers greedily.

    Args:
        loaded: the model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._caches = Caches(_KEPT, loaded.hardware.device)
        self._params = SamplingParams(max_tokens=MOST_TOKENS)

    @property
    def videos(self) -> bool:
        """Whether the model gets clips in SmolVLM2's own form; else as pictures with times."""
        return self._loaded.video

    def ask(self, message: Message) -> Said:
        """Return what the model says to one message; see `ask_all`."""
        return self.ask_all([message])[0]

    def ask_all(self, messages: Sequence[Message]) -> list[Said]:
        """Return what the model says to each message, the first of a conversation each.

        They are answered together, as the engine answers several who ask at a time; an answer is
        what it would be alone.

        Raises:
            MediaError: a picture cannot be decoded.
        """
        began = time.perf_counter()
        work: deque[Callable[[], None]] = deque()
        batcher = Batcher(work.append, lambda _: self._caches)
        told: list[list[Item]] = [[] for _ in messages]
        for message, items in zip(messages, told, strict=True):
            loaded = self._loaded.answering([message])
            build = partial(loaded.builder.build, [message])
            batcher.add(Wanted(loaded, build, self._params, Event(), items.append))
        while work:
            work.popleft()()
        seconds = (time.perf_counter() - began) / max(1, len(messages))
        return [_said(items, seconds) for items in told]

    def identity(self) -> dict[str, Any]:
        """Return what answers: its name and state, how it computes, and its sizes."""
        loaded = self._loaded
        inner = loaded.model.model
        eyes = (inner.vision_model, inner.connector)
        seen = sum(each.numel() for part in eyes for each in part.parameters())
        # A folder's id is its path on this machine, which is nobody else's business.
        name = "demo" if loaded.folder.is_demo else loaded.folder.title
        sizes = {"parameters": loaded.parameters, "vision_parameters": seen}
        return {**loaded.provenance(), "model": name, "title": loaded.folder.title, **sizes}

    def picture_cost(self) -> PictureCost:
        """Return what a picture of the size of a tile costs, looked at as by default."""
        spec = self._loaded.builder.spec
        plan = plan_tiles(spec.tile, spec.tile, spec)
        return PictureCost(spec.tile, plan.tiles, plan.image_tokens, plan.prompt_tokens)


def _said(items: Sequence[Item], seconds: float) -> Said:
    """Return the answer that was told piece by piece; raises what ended it instead."""
    end = items[-1]
    if isinstance(end, Exception):
        raise end
    assert isinstance(end, Answer)
    text = "".join(item for item in items if isinstance(item, str))
    return Said(text.strip(), seconds, end.prompt_tokens)
