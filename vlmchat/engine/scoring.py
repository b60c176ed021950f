"""How likely given answers are: the prompt is read once, each answer is read behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import torch

from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.caching.prefixes import Tape
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.fitting import check_fits
from vlmchat.engine.prompt import Prompt
from vlmchat.engine.reading import Reader, tokens_at_once
from vlmchat.engine.text.tree import ReadsTrees, TokenTree
from vlmchat.engine.threads import threads
from vlmchat.errors import ContextOverflowError

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

_MOST_AT_ONCE = 512  # tokens whose logits are in memory together


@dataclass(frozen=True, slots=True)
class Scored:
    """What is known of given answers.

    Attributes:
        logprobs: for each answer the natural logarithm of each of its tokens' probabilities, the
            token that ends it among them.
        prompt_tokens: of the prompt.
        cached_tokens: those of the prompt's that had been read before.
    """

    logprobs: tuple[tuple[float, ...], ...]
    prompt_tokens: int
    cached_tokens: int


@torch.inference_mode()
def score(
    loaded: "LoadedModel",
    prompt: Prompt,
    answers: Sequence[Sequence[int]],
    cancel: Event,
    caches: Caches | None = None,
) -> Scored:
    """Return how likely each answer to `prompt` is.

    Many are read at once, and those that begin alike share the work of their beginning, which
    changes no more than the last bits of what comes out.

    Args:
        loaded: the model and its tokenizer.
        prompt: as `PromptBuilder.build` made it.
        answers: token ids of each, as `PromptBuilder.answers` gives them; none is empty.
        cancel: set from another thread to stop; looked at between pieces of the work.
        caches: what is known from before, and what will be known; ``None`` begins from nothing.

    Raises:
        CancelledError: `cancel` was set.
        ContextOverflowError: the prompt, or one of the answers behind it, does not fit.
        MediaError: a picture cannot be decoded.
    """

    def check() -> None:
        if cancel.is_set():
            raise CancelledError
        threads.now()

    check()
    _check_lengths(prompt, answers, loaded.context)
    caches = caches or Caches(CacheLimits(prefixes=0, pictures=0))
    pictures = caches.placed(loaded, prompt)
    tape = caches.prefixes.lease(loaded.text, prompt.ids, pictures)
    try:
        cached = tape.sure
        reader = Reader(loaded, prompt, tape, pictures, caches, check, lambda _: None)
        at_once = min(tokens_at_once(loaded), _MOST_AT_ONCE)
        behind = _Behind(tape, reader.whole(), check, at_once)
        found = behind.logprobs(answers)
    finally:
        # Whatever became of it: what was read of the prompt need not be read again.
        tape.keep(min(tape.cache.length, len(prompt.ids)))
        caches.prefixes.give_back(tape)
    return Scored(tuple(found), len(prompt.ids), cached)


class _Behind:
    """Reads answers behind a prompt.

    Args:
        tape: holds the prompt.
        logits: behind the prompt, of shape (vocab,).
        check: called between pieces of the work; it raises to stop.
        at_once: the most tokens that are read in one piece.
    """

    def __init__(
        self, tape: Tape, logits: torch.Tensor, check: Callable[[], None], at_once: int
    ) -> None:
        self._tape, self._check, self._at_once = tape, check, at_once
        self._prompt = tape.sure
        self._first = torch.log_softmax(logits.float(), -1)

    def logprobs(self, answers: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
        """Return the logarithms of the probabilities of each answer's tokens."""
        text = self._tape.text
        if not isinstance(text, ReadsTrees):
            return [self._one(answer) for answer in answers]
        found: dict[int, tuple[float, ...]] = {}
        tree, waiting = TokenTree(), dict[int, list[int]]()
        # Those that begin alike are in one tree.
        for index in sorted(range(len(answers)), key=lambda index: list(answers[index])):
            read = answers[index][:-1]  # the token that ends an answer is never read
            if tree.ids and len(tree.ids) + tree.missing(read) > self._at_once:
                found |= self._several(text, tree, waiting, answers)
                tree, waiting = TokenTree(), {}
            if len(read) > self._at_once:
                found[index] = self._one(answers[index])
            else:
                waiting[index] = tree.add(read)
        found |= self._several(text, tree, waiting, answers)
        return [found[index] for index in range(len(answers))]

    def _several(
        self,
        text: ReadsTrees,
        tree: TokenTree,
        waiting: Mapping[int, Sequence[int]],
        answers: Sequence[Sequence[int]],
    ) -> dict[int, tuple[float, ...]]:
        """Return the same for the answers in a tree, whose tokens are where `waiting` says."""
        self._check()
        rows = sizes = torch.empty(0)
        if tree.ids:
            self._tape.keep(self._prompt)
            embedded = self._tape.text.embed(tree.ids)
            rows = text.tree(tree, embedded, self._tape.cache, self._check).float()
            sizes = rows.logsumexp(-1)
        found = {}
        for index, way in waiting.items():
            answer, at = list(answers[index]), list(way)
            rest = rows[at, answer[1:]] - sizes[at] if at else sizes
            found[index] = (float(self._first[answer[0]]), *rest.tolist())
        return found

    def _one(self, answer: Sequence[int]) -> tuple[float, ...]:
        """Return the same for one answer, read in pieces."""
        self._tape.keep(self._prompt)
        found = [float(self._first[answer[0]])]
        for begin in range(0, len(answer) - 1, self._at_once):
            self._check()
            end = min(begin + self._at_once, len(answer) - 1)
            logits = torch.log_softmax(self._tape.score(answer[begin:end]).float(), -1)
            wanted = torch.tensor(answer[begin + 1 : end + 1], device=logits.device)
            found += logits.gather(1, wanted[:, None])[:, 0].tolist()
        return tuple(found)


def _check_lengths(prompt: Prompt, answers: Sequence[Sequence[int]], context: int) -> None:
    check_fits(prompt, context)
    room = context - len(prompt.ids)
    for index, answer in enumerate(answers):
        # The token that ends an answer is never read.
        if len(answer) - 1 > room:
            raise ContextOverflowError(
                f"continuations[{index}] has {len(answer)} tokens, and {room} fit behind the "
                f"prompt, which has {len(prompt.ids)} of the model's {context}: shorten one of "
                "them."
            )
