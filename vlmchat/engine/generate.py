"""Prefill and decode: an answer a piece at a time, stoppable between any two tokens.

`generate` gives one answer; `vlmchat.engine.batching` several at the same time.
"""

import time
from collections.abc import Callable, Generator
from threading import Event
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.caching.prefixes import Tape
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.events import Answer, Reading, Timings
from vlmchat.engine.prompt import Prompt
from vlmchat.engine.reading import Neighbour, Reader, nobody, now
from vlmchat.engine.repeating import LONGEST_RUN, Lookup, runs_in_circles
from vlmchat.engine.sampling import Sampler, SamplingParams
from vlmchat.engine.stopping import AnswerText
from vlmchat.engine.threads import threads

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel


def _ignored(_: Reading) -> None:
    pass


Answering: TypeAlias = Generator[Tape | None, torch.Tensor | None, Answer]
"""An answer in the making, which pauses so that others may have their turn.

Yields ``None`` between two pieces of reading, and a tape where it wants the last token on it read
and the logits sent back. Whoever drives it does so in inference mode and by one thread.
"""


@torch.inference_mode()
def generate(
    loaded: "LoadedModel",
    prompt: Prompt,
    params: SamplingParams,
    cancel: Event,
    emit: Callable[[str], None],
    caches: Caches | None = None,
    report: Callable[[Reading], None] = _ignored,
) -> Answer:
    """Answer `prompt`, without a pause.

    Args:
        loaded: the model and its tokenizer.
        prompt: as `PromptBuilder.build` made it, already checked by `fitting.check_fits`.
        params: how tokens are chosen.
        cancel: set from another thread to stop; looked at before each step.
        emit: called with each piece of text.
        caches: what is known from before, and what will be known; ``None`` begins from nothing.
        report: told how far the prompt has been read.

    Raises:
        CancelledError: `cancel` was set.
        MediaError: a picture cannot be decoded.
    """
    caches = caches or Caches(CacheLimits(prefixes=0, pictures=0))
    making = answering(loaded, prompt, params, cancel, emit, caches, report)
    logits: torch.Tensor | None = None
    try:
        while True:
            tape = making.send(logits)
            logits = None if tape is None else tape.step(tape.ids[-1])
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    finally:
        making.close()


def answering(
    loaded: "LoadedModel",
    prompt: Prompt,
    params: SamplingParams,
    cancel: Event,
    emit: Callable[[str], None],
    caches: Caches,
    report: Callable[[Reading], None] = _ignored,
    neighbour: Neighbour = nobody,
) -> Answering:
    """Answer `prompt` a piece at a time; see `generate`, and `Answering` for what is yielded."""

    def check() -> None:
        if cancel.is_set():
            raise CancelledError
        threads.now()

    began = time.perf_counter()
    check()
    pictures = caches.placed(loaded, prompt)
    tape = caches.prefixes.lease(loaded.text, prompt.ids, pictures)
    try:
        cached = tape.sure
        reader = Reader(loaded, prompt, tape, pictures, caches, check, report, neighbour)
        sampler = Sampler(params, prompt.ids[prompt.virtual :], loaded.model.device)
        tape.ids.append(sampler.next((yield from reader.read())))
        first = now(loaded.model)
        spoken = yield from _spoken(loaded, prompt, params, tape, sampler, check, emit)
    finally:
        # Whatever became of it: what was read need not be read again.
        caches.prefixes.give_back(tape)
    reason, count, repeated = spoken
    timings = Timings(
        vision_ms=reader.looked.seconds * 1000,
        prompt_ms=(first - began) * 1000,
        predicted_ms=(time.perf_counter() - first) * 1000,
        prompt_n=len(prompt.ids) - cached,
        cache_n=cached,
        predicted_n=count,
        vision_tiles=reader.looked.tiles,
    )
    sizes = (len(prompt.ids), count, cached)
    return Answer(reason, *sizes, sampler.seed, timings, repeated=repeated)


def _spoken(
    loaded: "LoadedModel",
    prompt: Prompt,
    params: SamplingParams,
    tape: Tape,
    sampler: Sampler,
    check: Callable[[], None],
    emit: Callable[[str], None],
) -> Generator[Tape, torch.Tensor | None, tuple[Literal["stop", "length"], int, bool]]:
    """Go on behind the prompt and the first token, the last on the tape.

    Returns:
        Why the answer ended, how many tokens it has, and whether it ran in circles.
    """
    text = AnswerText(loaded.tokenizer.backend_tokenizer, params.stop)
    begin = len(prompt.ids)
    room = loaded.context - begin
    limit = room if params.max_tokens is None else min(params.max_tokens, room)
    steps = Steps(loaded, tape, sampler, begin + limit, params.prompt_lookup)
    at, repeated = begin, False
    while (token := tape.ids[at]) not in loaded.end_ids:
        check()
        emit(text.add(token))
        at += 1
        repeated = params.repeat_guard and runs_in_circles(
            tape.ids[max(begin, at - LONGEST_RUN) : at]
        )
        if text.stopped or repeated or at - begin >= limit:
            break
        if at == len(tape.ids):
            yield from steps.go_on()
    ended = text.stopped or repeated or token in loaded.end_ids
    if not text.stopped:
        emit(text.rest())
    count = at - begin + (token in loaded.end_ids)
    return "stop" if ended else "length", count, repeated


class Steps:
    """Chooses token after token behind those on a tape.

    Args:
        loaded: the model.
        tape: all of its tokens but the last are in its cache.
        sampler: how tokens are chosen.
        most: tokens that the tape may have.
        lookup: whether several tokens are guessed and read at once. The same tokens come out,
            whatever was guessed: each is chosen by the sampler from the logits behind those
            before it.
    """

    def __init__(
        self, loaded: "LoadedModel", tape: Tape, sampler: Sampler, most: int, lookup: bool
    ) -> None:
        self._tape = tape
        self._sampler = sampler
        self._most = most
        self._lookup: Lookup | None = None
        if lookup:
            never = loaded.end_ids | {int(loaded.model.config.image_token_id)}
            self._lookup = Lookup(tape.ids, frozenset(never))

    def go_on(self) -> Generator[Tape, torch.Tensor | None, None]:
        """Put one more token on the tape, or several; see `Answering` for what is yielded."""
        tape = self._tape
        last = tape.ids[-1]
        guessed = self._lookup.guess() if self._lookup else []
        guessed = guessed[: max(self._most - len(tape.ids) - 1, 0)]
        if not guessed:
            logits = yield tape
            assert logits is not None
            chosen = [self._sampler.next(logits)]
            tape.ids += chosen
        else:
            chosen = self._tried(last, guessed)
        if self._lookup:
            self._lookup.extend(chosen)

    def _tried(self, last: int, guessed: list[int]) -> list[int]:
        """Read the last token and those guessed; return what the sampler chooses."""
        tape = self._tape
        before = tape.sure
        logits = tape.score([last, *guessed])
        chosen: list[int] = []
        for row, guess in zip(logits, [*guessed, None], strict=True):
            chosen.append(self._sampler.next(row))
            if chosen[-1] != guess:
                break
        tape.ids += chosen
        tape.keep(before + len(chosen))
        return chosen
