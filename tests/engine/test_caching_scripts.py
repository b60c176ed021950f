"""Conversations that are edited, branched, stopped and broken off answer as if read anew."""

from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.caching import BrokenError, Noting, ask, noting_model, question, said
from vlmchat.chat.messages import Message
from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.events import Reading
from vlmchat.engine.loading import LoadedModel

KINDS = ("append", "edit", "sibling", "delete", "again", "switch", "other", "stop", "break")
WORDS = ("What is there?", "And the picture on the left, how many stars?", "Why")

Path_ = tuple[Message, ...]
Outcome = tuple[str, list[torch.Tensor]]
# What is done, and with what: a turn to go back to, words, pictures.
Step = tuple[str, int, int, tuple[int, ...]]

STEPS = st.lists(
    st.tuples(
        st.sampled_from([*KINDS, "append", "stop"]),
        st.integers(0, 5),
        st.integers(0, len(WORDS) - 1),
        st.sampled_from(((), (), (0,), (1,), (2,), (0, 1), (3, 0))),
    ),
    min_size=2,
    max_size=7,
)


class Script:
    """Several conversations before one engine.

    Args:
        folder: of the model.
        caches: what the engine keeps.
    """

    def __init__(self, folder: Path, caches: Caches) -> None:
        self.loaded, self.text = noting_model(folder)
        self.folder = folder
        self.caches = caches
        self.path: Path_ = ()
        self.others: list[Path_] = []

    def do(self, step: Step) -> None:
        """Change the conversation, and ask."""
        kind, turn, words, pictures = step
        asked = question(WORDS[words], *pictures)
        questions = [at for at, message in enumerate(self.path) if message.role == "user"]
        begin = questions[turn % len(questions)] if questions else 0
        self.others.append(self.path)
        if kind in ("append", "stop", "break"):
            self.path = (*self.path, asked)
        elif kind == "edit":
            self.path = (*self.path[:begin], asked)
        elif kind == "sibling":  # another answer than the model's
            self.path = (*self.path[: begin + 1], said(WORDS[words]), asked)
        elif kind == "delete":
            self.path = (*self.path[:begin], *self.path[begin + 2 :], asked)
        elif kind == "again" and questions:
            self.path = self.path[: questions[-1] + 1]
        elif kind == "switch":
            self.path = (*self.others[turn % len(self.others)], asked)
        else:
            self.path = (asked,)
        self.path = self.path[-6:]
        while self.path and self.path[0].role != "user":
            self.path = self.path[1:]
        if kind == "stop":
            self.broken_off(turn)
        if kind == "break":
            self.text.breaks_in = turn
            with pytest.raises(BrokenError):
                ask(self.loaded, self.path, self.caches, max_tokens=8)
        self.path = (*self.path, said(self.compared()))

    def broken_off(self, after: int) -> None:
        """Ask, and stop at the first, second … sign of life."""
        cancel = Event()
        signs: list[Reading] = []

        class Signs(list[Reading]):
            def append(self, item: Reading) -> None:
                signs.append(item)
                if len(signs) > after:
                    cancel.set()

        with suppress(CancelledError):
            ask(self.loaded, self.path, self.caches, cancel, Signs(), max_tokens=1)

    def compared(self) -> str:
        """Ask with what is kept, compare with an engine that knows nothing; return the answer."""
        self.text.logits.clear()
        answer, end = ask(self.loaded, self.path, self.caches)
        expected, cold = cold_outcome(self.folder, self.path)
        assert answer == expected
        # A prompt that was read to its end before is not read again.
        count = min(end.completion_tokens, len(self.text.logits))
        assert count >= end.completion_tokens - (end.cached_tokens == end.prompt_tokens)
        for ours, theirs in zip(self.text.logits[-count:], cold[-count:], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        size = end.prompt_tokens
        assert 0 <= end.cached_tokens <= size
        assert end.timings.prompt_n + end.timings.cache_n == size
        return answer


@cache
def cold_outcome(folder: Path, path: Path_) -> Outcome:
    """Return what an engine says, and its logits, that has seen nothing before."""
    loaded, text = noting_model(folder)
    text.logits.clear()
    answer, _ = ask(loaded, path, None)
    return answer, list(text.logits)


LIMITS = st.sampled_from(
    (CacheLimits(), CacheLimits(prefixes=200_000), CacheLimits(0, 0), CacheLimits(None, 3000))
)
HEALTH = list(HealthCheck)


def run(folder: Path, script: list[Step], limits: CacheLimits) -> None:
    played = Script(folder, Caches(limits))
    for step in script:
        played.do(step)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=HEALTH)
@given(script=STEPS, limits=LIMITS)
def test_edit_scripts(tiny_model: Path, script: list[Step], limits: CacheLimits) -> None:
    run(tiny_model, script, limits)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=HEALTH)
@given(script=STEPS, limits=LIMITS)
def test_hundreds_of_edit_scripts(
    tiny_model: Path, script: list[Step], limits: CacheLimits
) -> None:
    run(tiny_model, script, limits)


def test_a_new_picture_is_all_that_is_looked_at(tiny_model: Path) -> None:
    loaded, text = noting_model(tiny_model)
    caches = Caches()
    path = [question("What is there?", 2)]
    answer, first = ask(loaded, path, caches)
    assert first.timings.vision_tiles > 1 and first.cached_tokens == 0
    path += [said(answer), question("And here?", 0)]
    text.read = 0
    _, second = ask(loaded, path, caches)
    assert second.timings.vision_tiles == 1
    assert second.cached_tokens >= first.prompt_tokens
    assert text.read == second.timings.prompt_n == second.prompt_tokens - second.cached_tokens


def test_both_siblings_stay_known(tiny_model: Path) -> None:
    loaded, _ = noting_model(tiny_model)
    caches = Caches()
    begin = [question("What is there?", 2)]
    ask(loaded, begin, caches)
    branches = [[*begin, said(word * 30), question("Why")] for word in ("left ", "right ")]
    sizes = [ask(loaded, branch, caches)[1].prompt_tokens for branch in branches]
    for branch, size in zip(branches * 2, sizes * 2, strict=True):
        assert ask(loaded, branch, caches)[1].cached_tokens == size
    longer = [*branches[0], said("So it is."), question("Really?")]
    assert ask(loaded, longer, caches)[1].cached_tokens >= sizes[0]


def test_another_way_to_run_the_model_begins_anew(tiny_model: Path) -> None:
    loaded, _ = noting_model(tiny_model)
    caches = Caches()
    path = [question("What is there?", 2)]
    ask(loaded, path, caches)
    other = replace(loaded, text=Noting(loaded.text))
    again = ask(other, path, caches)[1]
    assert again.cached_tokens == 0 and again.timings.vision_tiles == 0
    del other
    assert ask(loaded, path, caches)[1].cached_tokens == again.prompt_tokens
    assert len(caches.prefixes) == 1  # what the other read went with it


def outcome(loaded: LoadedModel, path: Any, **params: Any) -> tuple[str, int]:
    answer, end = ask(loaded, path, None, **params)
    return answer, end.completion_tokens


@pytest.mark.parametrize("seed", [None, 3])
def test_lookup_changes_nothing(tiny_model: Path, seed: int | None) -> None:
    loaded, text = noting_model(tiny_model)
    params: dict[str, Any] = {"max_tokens": 60, "stop": ("left l",)}
    if seed:
        params |= {"temperature": 1.0, "seed": seed, "repetition_penalty": 1.1}
    for words in ("Why?", "left right left right left", "a b c d e f g a b c d", "no " * 20):
        for pictures in ((), (0,)):
            path = [question(words, *pictures)]
            text.logits.clear()
            plain = outcome(loaded, path, **params)
            steps = len(text.logits)
            text.logits.clear()
            assert outcome(loaded, path, **params, prompt_lookup=True) == plain
            assert len(text.logits) <= steps
