"""Several answers in the making: pictures are looked at in pairs, tokens written together.

A step reads every weight of the text model once, whether it is for one sequence or for eight, and
reading weights is nearly all that it does: where the way the model is run can do that
(`TextModel.together`), as many answers are written at the same time. A new one joins between two
steps. Each answer is what it would be alone: a sequence's logits do not depend on its neighbours.

Who comes first is first, but for the priority (as in vLLM: the lower number goes first): a person
who asks while a batch is running waits for the piece of work that is being done, not for the batch.
"""

import logging
import threading
import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch

from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.features import PictureKey
from vlmchat.engine.caching.prefixes import Tape
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.events import Answer, Reading
from vlmchat.engine.generate import Answering, answering
from vlmchat.engine.hardware import free_memory
from vlmchat.engine.prompt import PlannedImage, Prompt
from vlmchat.engine.reading import Neighbour
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.threads import threads

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

log = logging.getLogger(__name__)

_SLICE_SECONDS = 0.05  # after which other work of the same thread has its turn
_MOST = 16  # answers in the making, those among them that went before others
_UNSAID = 512  # tokens that an answer without a limit is expected to have

Item: TypeAlias = str | Reading | Answer | Exception
"""What is told of an answer; the last two end it."""


@dataclass(slots=True, eq=False)
class Wanted:
    """One answer that somebody waits for.

    Attributes:
        loaded: what answers.
        build: makes the prompt, in the thread that answers; it may raise.
        params: how tokens are chosen.
        cancel: set from another thread to stop.
        put: takes what there is to tell.
        priority: the lower goes first.
        number: the order in which they came, given by the `Batcher`.
        prompt: once it is built.
        tape: where a token is wanted, the sequence that it goes behind.
    """

    loaded: "LoadedModel"
    build: Callable[[], Prompt]
    params: SamplingParams
    cancel: threading.Event
    put: Callable[[Item], None]
    priority: int = 0
    number: int = 0
    prompt: Prompt | None = None
    tape: Tape | None = None
    making: Answering | None = field(default=None, repr=False)

    @property
    def rank(self) -> tuple[int, int]:
        """Who goes first: the least."""
        return self.priority, self.number


class Batcher:
    """Makes answers in slices of time of the one thread that may use the model.

    Args:
        submit: has a function called by that thread, after what was submitted before.
        caches: returns what is kept for a model.
    """

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], object],
        caches: Callable[["LoadedModel"], Caches],
    ) -> None:
        self._submit = submit
        self._caches = caches
        self._lock = threading.Lock()
        self._waiting: list[Wanted] = []
        self._active: list[Wanted] = []  # the worker's alone
        self._count = 0
        self._busy = self._closed = False

    def add(self, wanted: Wanted) -> None:
        """Have an answer made; `wanted.put` is told of it, from another thread."""
        with self._lock:
            self._count += 1
            wanted.number = self._count
            insort(self._waiting, wanted, key=lambda one: one.rank)
            begin, self._busy = not self._busy, True
        if begin:
            self._again()

    def close(self) -> None:
        """End all that is in the making or waits."""
        self._closed = True
        with self._lock:
            ended = [*self._waiting, *self._active]
            self._waiting.clear()
        for wanted in ended:
            wanted.cancel.set()
            wanted.put(CancelledError())

    def _again(self) -> None:
        try:
            self._submit(self._slice)
        except RuntimeError:  # the worker takes nothing any more
            self.close()

    # In the worker's thread -----------------------------------------------------------------------

    @torch.inference_mode()
    def _slice(self) -> None:
        """Work for a moment, and ask for another if something is left to be done."""
        try:
            more = self._worked()
        except Exception as error:  # nobody foresaw it; whoever comes later is to have an answer
            log.exception("answers in the making failed")
            with self._lock:
                failed = [*self._active, *self._waiting[:1]]
                del self._waiting[:1]
            for one in failed:
                self._end(one, error)
            more = True
        if more:
            self._again()

    def _worked(self) -> bool:
        """Work for a moment; return whether something is left to be done."""
        ends = time.perf_counter() + _SLICE_SECONDS
        while not self._closed and time.perf_counter() < ends:
            self._drop_cancelled()
            self._admit()
            if self._active:
                self._turn()
                continue
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return False
        return not self._closed

    def _drop_cancelled(self) -> None:
        with self._lock:
            gone = [one for one in self._waiting if one.cancel.is_set()]
            self._waiting = [one for one in self._waiting if not one.cancel.is_set()]
        for one in gone:
            one.put(CancelledError())
        for one in [one for one in self._active if one.cancel.is_set()]:
            self._end(one, CancelledError())

    def _admit(self) -> None:
        """Begin what there is room for, the most urgent first."""
        while True:
            with self._lock:
                first = self._waiting[0] if self._waiting else None
                if first is None or not self._lets_in(first):
                    return
                del self._waiting[0]
            try:
                first.prompt = first.build()
                first.making = answering(
                    *(first.loaded, first.prompt, first.params, first.cancel),
                    *(first.put, self._caches(first.loaded), first.put, self._neighbour(first)),
                )
            except Exception as error:  # handed to the one who asked
                first.put(error)
                continue
            self._active.append(first)

    def _lets_in(self, wanted: Wanted) -> bool:
        """Return whether an answer may be begun beside those in the making.

        Less urgent ones are not counted: they stand still meanwhile, or cost little.
        """
        if not self._active:
            return True
        before = [one for one in self._active if one.priority <= wanted.priority]
        if len(before) >= wanted.loaded.text.together or len(self._active) >= _MOST:
            return False
        if not before:
            return True
        needed = sum(_cache_bytes(one) for one in (*before, wanted))
        return needed < free_memory(wanted.loaded.hardware.device) // 2

    def _turn(self) -> None:
        """Read a piece of one prompt, and write a token of each answer that has begun."""
        reading = min(
            (one for one in self._active if one.tape is None),
            key=lambda one: one.rank,
            default=None,
        )
        urgent = min((one.priority for one in self._active if one.tape is not None), default=None)
        if reading is not None and (urgent is None or reading.priority <= urgent):
            self._go_on(reading, None)
        groups: dict[int, list[Wanted]] = {}
        for one in sorted(self._active, key=lambda one: one.rank):
            if one.tape is not None:
                group = groups.setdefault(id(one.loaded.text), [])
                if len(group) < max(1, one.loaded.text.together):
                    group.append(one)
        for group in groups.values():
            self._step(group)

    def _step(self, group: Sequence[Wanted]) -> None:
        """Write a token of each of some answers by one model."""
        threads.now()
        tapes = [one.tape for one in group if one.tape is not None]
        try:
            if len(tapes) == 1:
                rows = tapes[0].step(tapes[0].ids[-1])[None]
            else:
                rows = Tape.step_together(tapes)
        except Exception as error:
            for one in group:
                self._end(one, error)
            return
        for one, row in zip(group, rows, strict=True):
            self._go_on(one, row)

    def _go_on(self, one: Wanted, logits: torch.Tensor | None) -> None:
        """Let one answer go on to its next pause, or to its end."""
        assert one.making is not None
        try:
            one.tape = one.making.send(logits)
        except StopIteration as end:
            self._end(one, end.value)
        except Exception as error:  # handed to the one who asked
            self._end(one, error)

    def _end(self, one: Wanted, last: Answer | Exception) -> None:
        if one in self._active:
            self._active.remove(one)
        try:
            if one.making is not None:
                one.making.close()
        finally:
            one.put(last)

    def _neighbour(self, asking: Wanted) -> Neighbour:
        """Return what finds a picture to be looked at beside the last one of `asking`."""

        def find(side: int) -> tuple[PictureKey, PlannedImage] | None:
            caches = self._caches(asking.loaded)
            for other in self._active:
                same = other.loaded.model is asking.loaded.model and other is not asking
                if not same or other.tape is not None or other.prompt is None:
                    continue
                placed = caches.placed(other.loaded, other.prompt)
                for picture, image in zip(placed, other.prompt.images, strict=True):
                    fits = image.plan.tiles == 1 and image.plan.tile == side
                    if fits and caches.features.get(picture.key) is None:
                        return picture.key, image
            return None

        return find


def _cache_bytes(wanted: Wanted) -> int:
    """Return about how much memory the keys and values of an answer will take."""
    config = wanted.loaded.model.config.get_text_config()
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * dim
    said = min(wanted.params.max_tokens or _UNSAID, wanted.loaded.context)
    read = len(wanted.prompt.ids) if wanted.prompt else wanted.loaded.context // 4
    return int(token * wanted.loaded.hardware.value_bytes * (read + said))
