"""What was asked before, and walking through it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

# As many as anyone walks through; the search (Ctrl+R) asks for more.
WALKED = 500
SEARCHED = 5000


class AskedBefore(Protocol):
    """Who knows what the person asked."""

    async def asked(self, limit: int, everywhere: bool) -> list[str]:
        """Return what was asked, newest first.

        Args:
            limit: how many at most.
            everywhere: in all conversations, instead of the open one.
        """


@dataclass(slots=True)
class Remembered:
    """What was sent since the program began, commands too; it forgets with the program.

    It serves alone when nothing is saved, and before a saved history for the newest entries.
    """

    _here: list[str] = field(default_factory=list)
    _everywhere: list[str] = field(default_factory=list)

    def remember(self, text: str) -> None:
        """Take note of what was sent."""
        if text.strip():
            self._here.append(text)
            self._everywhere.append(text)

    def begin(self) -> None:
        """Know that another conversation is open now."""
        self._here.clear()

    async def asked(self, limit: int, everywhere: bool) -> list[str]:
        """Return what was sent, newest first (see `AskedBefore`)."""
        return (self._everywhere if everywhere else self._here)[: -limit - 1 : -1]


async def gather(remembered: Remembered, saved: AskedBefore | None, limit: int) -> list[str]:
    """Return what was asked in this conversation, then elsewhere; each newest first, each once."""
    found = await remembered.asked(limit, everywhere=False)
    if saved is not None:
        found += await saved.asked(limit, everywhere=False)
    found += await remembered.asked(limit, everywhere=True)
    if saved is not None:
        found += await saved.asked(limit, everywhere=True)
    return unique(found)[:limit]


async def gather_newest(remembered: Remembered, saved: AskedBefore | None, limit: int) -> list[str]:
    """Return what was asked anywhere, newest first, each once."""
    found = await remembered.asked(limit, everywhere=True)
    if saved is not None:
        found += await saved.asked(limit, everywhere=True)
    return unique(found)[:limit]


def unique(texts: Iterable[str]) -> list[str]:
    """Return `texts` without empty ones and repetitions; the first of each stays."""
    return list(dict.fromkeys(text for text in texts if text.strip()))


class Walk:
    """A walk through what was asked, from the draft backwards.

    What the person changes on the way stays changed where it is, and the draft waits at the end,
    so that nothing that was typed is lost by a cursor key.

    Args:
        draft: what is in the composer.
        entries: what was asked, newest first.
    """

    def __init__(self, draft: str, entries: Sequence[str]) -> None:
        self._texts = [draft, *(entry for entry in unique(entries) if entry != draft)]
        self._at = 0

    @property
    def at_draft(self) -> bool:
        """Whether the draft is shown."""
        return self._at == 0

    def older(self, shown: str) -> str | None:
        """Return the entry before, or ``None`` when there is none.

        Args:
            shown: what is in the composer now.
        """
        return self._step(shown, 1)

    def newer(self, shown: str) -> str | None:
        """Return the entry behind, at last the draft; ``None`` when that is shown already."""
        return self._step(shown, -1)

    def _step(self, shown: str, step: int) -> str | None:
        self._texts[self._at] = shown
        at = self._at + step
        # An edit may have made two neighbours equal: a key that changes nothing seems broken.
        while 0 < at < len(self._texts) and self._texts[at] == shown:
            at += step
        if not 0 <= at < len(self._texts):
            return None
        self._at = at
        return self._texts[at]


def matching(entries: Sequence[str], query: str, limit: int) -> list[str]:
    """Return the entries that hold every word of `query`, in their order."""
    words = query.lower().split()
    found = []
    for entry in entries:
        lowered = entry.lower()
        if all(word in lowered for word in words):
            found.append(entry)
            if len(found) == limit:
                break
    return found
