"""Whether two texts say nearly the same: word by word where they are short, by shingles else.

Short texts are compared without the words that carry no meaning, in order: “What is the color of
the circle?” is “What color is the circle?”, but not “… of the square?”. Long ones are compared by
the Jaccard index of their shingles of three words, found by MinHash (Broder, 1997) with banding, so
that a set of many rows is searched without comparing each with each. Numbers must always be equal.
"""

import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import ndarray

THRESHOLD = 0.7  # Jaccard index from which two long texts are nearly the same
_SHORT = 12  # words
_SHINGLE = 3  # words
_BANDS, _ROWS = 16, 4  # a pair at the threshold is missed once in 85 times
_PRIME = 4_294_967_311  # the first above 2³²
_WORD = re.compile(r"[^\W_]+(?:[.,'’]\d+)*")
_SPELLINGS = {"colour": "color", "colours": "colors", "grey": "gray", "centre": "center"}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}
_EMPTY = frozenset(
    (
        *("a", "an", "the", "this", "that", "these", "those", "there", "it", "its", "please"),
        *("is", "are", "was", "were", "be", "do", "does", "did", "can", "could", "shown", "seen"),
        *("of", "in", "on", "at", "to", "and", "or", "you", "me", "i", "picture", "image", "photo"),
    )
)


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text in the form that is compared.

    Unicode's compatibility form, lower case, no punctuation, American spelling, numbers as digits.
    """
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return tuple(_DIGITS.get(word, _SPELLINGS.get(word, word)) for word in found)


def overlap(one: str, other: str) -> float:
    """Return the F1 of the words that two texts share, 0…1 (as SQuAD compares answers).

    Source: Rajpurkar et al., 2016, arXiv:1606.05250, section 6.1.
    """
    mine, theirs = Counter(words_of(one)), Counter(words_of(other))
    if not mine or not theirs:
        return float(mine == theirs)
    return 2 * (mine & theirs).total() / (mine.total() + theirs.total())


@dataclass(frozen=True, slots=True)
class Profile:
    """What of a text is compared.

    Attributes:
        key: its words without the empty ones, of a short text; nothing of a long one.
        numbers: that stand in it, in order.
        shingles: hashes of its runs of three words, of a long text.
    """

    key: tuple[str, ...]
    numbers: tuple[str, ...]
    shingles: frozenset[int]

    @classmethod
    def of(cls, text: str) -> "Profile":
        """Return the profile of a text."""
        words = words_of(text)
        numbers = tuple(word for word in words if word[0].isdigit())
        if len(words) <= _SHORT:
            key = tuple(word for word in words if word not in _EMPTY) or words
            return cls(key, numbers, frozenset())
        runs = (words[at : at + _SHINGLE] for at in range(len(words) - _SHINGLE + 1))
        return cls((), numbers, frozenset(zlib.crc32(" ".join(run).encode()) for run in runs))

    def like(self, other: "Profile") -> bool:
        """Return whether two texts say nearly the same."""
        if not self.shingles or not other.shingles:
            return self.key == other.key and not self.shingles and not other.shingles
        if self.numbers != other.numbers:
            return False
        shared = len(self.shingles & other.shingles)
        return shared >= THRESHOLD * len(self.shingles | other.shingles)


def alike(one: str, other: str) -> bool:
    """Return whether two texts say nearly the same."""
    return Profile.of(one).like(Profile.of(other))


class Pairs:
    """Questions with their answers that were taken, searched for those nearly like another.

    A short text is found by its words, a long one by the bands of its MinHash.
    """

    def __init__(self) -> None:
        self._taken: list[tuple[Profile, Profile]] = []
        self._buckets: defaultdict[Any, list[int]] = defaultdict(list)

    def count(self, question: str, answer: str) -> int:
        """Return how many taken pairs say nearly the same in both."""
        asked, said = Profile.of(question), Profile.of(answer)
        near = {at for name in _names(asked, said) for at in self._buckets.get(name, ())}
        pairs = (self._taken[at] for at in near)
        return sum(q.like(asked) and a.like(said) for q, a in pairs)

    def add(self, question: str, answer: str) -> None:
        """Take a pair."""
        asked, said = Profile.of(question), Profile.of(answer)
        for name in _names(asked, said):
            self._buckets[name].append(len(self._taken))
        self._taken.append((asked, said))


def _names(asked: Profile, said: Profile) -> Iterator[tuple[object, ...]]:
    """Yield the buckets that a pair lies in; two that are nearly alike share one."""
    if said.shingles:
        yield from _bands(said)
    elif asked.shingles:
        yield from ((said.key, *band) for band in _bands(asked))
    else:
        yield (said.key, asked.key)


def _bands(profile: Profile) -> Iterator[tuple[object, ...]]:
    signature = signed(sorted(profile.shingles))
    for band in range(_BANDS):
        yield (band, *signature[band * _ROWS : (band + 1) * _ROWS])


def signed(shingles: Sequence[int]) -> list[int]:
    """Return the MinHash of a set of hashes below 2³²: 64 numbers; the same on any machine.

    The share of places at which two sets' signatures agree estimates their Jaccard index.
    """
    import numpy as np

    factors, offsets = _permutations()
    hashes = np.asarray(shingles, dtype=np.uint64)
    mixed = (factors[:, None] * hashes[None, :] + offsets[:, None]) % np.uint64(_PRIME)
    return [int(value) for value in mixed.min(axis=1)]


@cache
def _permutations() -> "tuple[ndarray[Any, Any], ndarray[Any, Any]]":
    import numpy as np

    numbers = np.random.default_rng(20_240_607)
    # Below 2³¹, so that a product with a hash fits into 64 bits.
    drawn = numbers.integers(1, 1 << 31, size=(2, _BANDS * _ROWS), dtype=np.uint64)
    return drawn[0], drawn[1]
