"""Keys and values of what was read before, so that no beginning is read twice.

A prompt takes the entry that shares the longest beginning with it. Tokens are compared as numbers,
and where they stand for a picture, by which picture it is. What the entry has beyond that is cut
off where little is lost, and otherwise the shared beginning is copied, so that the other branch
stays as it is; and it is copied, too, where another answer is being made with it just now.

The logits behind a prompt are kept as well. Reading the last token by itself would round otherwise
than reading it with the rest: the same question with the same seed shall have the same answer.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vlmchat.engine.caching.features import PictureKey
from vlmchat.engine.caching.limits import MEBIBYTE
from vlmchat.engine.cancelled import Check
from vlmchat.engine.text.model import Cache, TextModel

# Reading a token takes about as long as copying the keys and values of so many.
_COPIED_PER_READ = 64
_LEAST_KEPT = 16  # fewer tokens beyond the shared beginning are not worth an entry of their own
_MOST_UNASKED = 2048 * MEBIBYTE
_LEFT_FREE = 512 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class PlacedPicture:
    """A picture in a prompt.

    Attributes:
        start: the first of its image tokens.
        key: which picture it is, and how it was looked at.
    """

    start: int
    key: PictureKey


@dataclass(slots=True, eq=False, weakref_slot=True)
class Tape:
    """A cache together with the tokens that it holds.

    Attributes:
        text: the model that wrote it.
        cache: keys and values.
        ids: the tokens of the sequence; the cache holds the first `sure` of them.
        pictures: the pictures among them, in order.
        sure: how many tokens are in the cache for certain, also after an error.
        end: how many tokens the prompt has, and the logits behind it, once it has been read.
    """

    text: TextModel[Any]
    cache: Cache
    ids: list[int]
    pictures: tuple[PlacedPicture, ...] = ()
    sure: int = 0
    end: tuple[int, torch.Tensor] | None = None

    def prefill(self, embeddings: torch.Tensor, check: Check) -> torch.Tensor:
        """Read tokens that stand in `ids` behind those read; return the last logits."""
        logits = self.text.prefill(embeddings, self.cache, check)
        self.sure = self.cache.length
        return logits

    def step(self, token: int) -> torch.Tensor:
        """Read the token that stands next in `ids`; return the logits behind it."""
        logits = self.text.step(token, self.cache)
        self.sure = self.cache.length
        return logits

    @staticmethod
    def step_together(tapes: "Sequence[Tape]") -> torch.Tensor:
        """Read the last of `ids` of each tape, all of one model; return the logits: (tapes, vocab).

        Each tape holds all of its tokens but the last.
        """
        tokens, caches = [tape.ids[-1] for tape in tapes], [tape.cache for tape in tapes]
        logits = tapes[0].text.steps(tokens, caches)
        for tape in tapes:
            tape.sure = tape.cache.length
        return logits

    def score(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read tokens on trial; return the logits behind each. `keep` says how many are true."""
        return self.text.score(self.text.embed(tokens), self.cache)

    def keep(self, length: int) -> None:
        """Forget all tokens but the first `length`."""
        self.cache.crop(length)
        self.sure = self.cache.length


@dataclass(slots=True, eq=False)
class _Entry:
    """What is kept of a tape; the model is not kept alive by it."""

    text: "weakref.ref[TextModel[Any]]"
    cache: Cache
    ids: np.ndarray[Any, Any] = field(repr=False)
    pictures: tuple[PlacedPicture, ...]
    end: tuple[int, torch.Tensor] | None

    @property
    def nbytes(self) -> int:
        return self.cache.nbytes + (self.end[1].nbytes if self.end else 0)

    @classmethod
    def of(cls, tape: Tape) -> "_Entry":
        """Return what a tape holds for certain."""
        ids = np.asarray(tape.ids[: tape.sure], np.int64)
        pictures = tuple(item for item in tape.pictures if item.start < tape.sure)
        end = tape.end if tape.end and tape.end[0] <= tape.sure else None
        return cls(weakref.ref(tape.text), tape.cache, ids, pictures, end)

    def ends_at(self, length: int) -> bool:
        """Return whether the logits behind the first `length` tokens are known."""
        return self.end is not None and self.end[0] == length

    def shared(self, ids: np.ndarray[Any, Any], pictures: Sequence[PlacedPicture]) -> int:
        """Return how many tokens at the beginning are the same."""
        size = min(len(self.ids), len(ids))
        different = np.flatnonzero(self.ids[:size] != ids[:size])
        shared = int(different[0]) if len(different) else size
        # As far as the numbers are equal, pictures begin at the same places.
        for ours, theirs in zip(self.pictures, pictures, strict=False):
            if ours.start >= shared:
                break
            if ours.key != theirs.key:
                return ours.start
        return shared


class PrefixCache:
    """Tapes of several conversations under one budget; for the one thread that runs models.

    Args:
        budget: bytes; ``None`` chooses by the memory that is free, 0 keeps nothing.
        free: returns how many bytes are free where the tapes are.
    """

    def __init__(self, budget: int | None, free: Callable[[], int]) -> None:
        self._free = free
        self._budget = budget
        self._entries: list[_Entry] = []  # the least recently used first
        self._lent: weakref.WeakSet[Tape] = weakref.WeakSet()

    def __len__(self) -> int:
        """Return how many beginnings are kept."""
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(entry.nbytes for entry in self._entries)

    def lease(
        self, text: TextModel[Any], ids: Sequence[int], pictures: Sequence[PlacedPicture]
    ) -> Tape:
        """Return a tape that holds as much of the prompt's beginning as is known.

        The last token is left to be read, for its logits, where they are not known. The tape
        belongs to the caller; `give_back` it when the answer has ended, however that was.
        """
        tape = self._lease(text, ids, pictures)
        self._lent.add(tape)
        return tape

    def _lease(
        self, text: TextModel[Any], ids: Sequence[int], pictures: Sequence[PlacedPicture]
    ) -> Tape:
        self._forget_dead()
        wanted, size = np.asarray(ids, np.int64), len(ids)
        best, shared = None, 0
        lent = [_Entry.of(tape) for tape in self._lent if tape.text is text and tape.sure]
        for entry in (*lent, *self._entries):
            if entry.text() is not text:
                continue
            common = entry.shared(wanted, pictures)
            common = size if common == size and entry.ends_at(size) else min(common, size - 1)
            if common >= shared:  # the newest of those that share most, lent to nobody if it may be
                best, shared = entry, common
        if best is None or not shared:
            return Tape(text, text.new_cache(), list(ids), tuple(pictures))
        end = best.end if shared == size else None
        return Tape(text, self._beginning(best, shared), list(ids), tuple(pictures), shared, end)

    def _beginning(self, entry: _Entry, shared: int) -> Cache:
        """Return a cache of the first tokens of an entry, its own where that costs little."""
        if entry not in self._entries:  # an answer is being made with it
            return entry.cache.copy(shared)
        self._entries.remove(entry)
        lost = entry.cache.length - shared
        if lost > _LEAST_KEPT and lost * _COPIED_PER_READ > shared:
            self._entries.append(entry)
            return entry.cache.copy(shared)
        entry.cache.crop(shared)
        return entry.cache

    def give_back(self, tape: Tape) -> None:
        """Keep what a tape holds, for later prompts."""
        self._lent.discard(tape)
        if tape.cache.length != tape.sure:
            tape.cache.crop(tape.sure)
        if not tape.sure:
            return
        self._entries.append(_Entry.of(tape))
        self._make_room()

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

    def _forget_dead(self) -> None:
        self._entries = [entry for entry in self._entries if entry.text() is not None]

    def _make_room(self) -> None:
        self._forget_dead()
        if self._budget is None:
            self._budget = min(_MOST_UNASKED, self._free() // 4)
        # What others took meanwhile is not ours any more.
        room = min(self._budget, self.nbytes + max(self._free() - _LEFT_FREE, 0))
        while self._entries and self.nbytes > room:
            del self._entries[0]
