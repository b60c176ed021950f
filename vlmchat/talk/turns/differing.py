"""What differs between two texts."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

# A piece of a text, and whether the other text lacks it.
Pieces: TypeAlias = list[tuple[str, bool]]

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
# Comparing is quadratic at worst; texts with more words than this are compared line by line.
_MOST_WORDS = 4_000


def differing(one: str, other: str) -> tuple[Pieces, Pieces]:
    """Return both texts in pieces, each with whether the other text lacks it."""
    short = len(one) + len(other) < 6 * _MOST_WORDS
    mine, theirs = (_words(one), _words(other)) if short else (_lines(one), _lines(other))
    left: Pieces = []
    right: Pieces = []
    matcher = SequenceMatcher(None, mine, theirs, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if a < b:
            left.append(("".join(mine[a:b]), kind != "equal"))
        if c < d:
            right.append(("".join(theirs[c:d]), kind != "equal"))
    return left, right


def _words(text: str) -> Sequence[str]:
    return _WORDS.findall(text)


def _lines(text: str) -> Sequence[str]:
    return text.splitlines(keepends=True)
