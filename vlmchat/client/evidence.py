"""Where an answer looked, as an engine tells it, and in sentences for a person."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias

from vlmchat.media.tiles import Box
from vlmchat.media.windows import highest
from vlmchat.text import visible_line

Grid: TypeAlias = tuple[tuple[float, ...], ...]
"""Of one picture: rows of cells that part it evenly; all pictures together hold 1, or nothing."""

_TELLING = 0.1  # nats; a smaller difference is one of rounding


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about an answer.

    Attributes:
        word: first character of a word of it, and the one behind its last; ``None`` for all of it.
        hide: whether the place that was looked at most is hidden, to see what that does.
        elsewhere: how many other places are hidden to compare.
        model: or adapter; by default what the engine answers with.
    """

    word: tuple[int, int] | None = None
    hide: bool = True
    elsewhere: int = 3
    model: str = ""

    def fields(self) -> dict[str, Any]:
        """Return the fields of the request."""
        found: dict[str, Any] = {"hide": self.hide, "elsewhere": self.elsewhere}
        if self.word is not None:
            found["word"] = list(self.word)
        return {**found, "model": self.model} if self.model else found


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a word of an answer, or all of it, looked.

    Attributes:
        begin: first character in the answer.
        end: the one behind the last.
        logprob: natural logarithm of its probability.
        share: of all its attention, how much went to pictures.
        heat: of each picture, in order, without what its places draw whatever is asked.
        raw: likewise, with that.
    """

    begin: int
    end: int
    logprob: float
    share: float
    heat: tuple[Grid, ...]
    raw: tuple[Grid, ...]

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Return what an engine says; raises as `Evidence.from_json`."""
        heat, raw = (tuple(_grid(grid) for grid in row[name]) for name in ("heat", "raw"))
        if len(heat) != len(raw) or not heat:
            raise ValueError("no pictures")
        numbers = (float(row["logprob"]), float(row["share"]))
        return cls(int(row["begin"]), int(row["end"]), *numbers, heat, raw)

    @property
    def shown(self) -> tuple[Grid, ...]:
        """What to draw: the heat, or where nothing is left of it, the bare attention."""
        return self.heat if any(max(row) > 0 for grid in self.heat for row in grid) else self.raw

    @property
    def most(self) -> tuple[int, Box, float]:
        """The picture that holds the place that was looked at most, that place, and its share."""
        grids = self.shown
        number, window = highest(grids)
        return number, window.box(grids[number]), window.share(grids[number])


@dataclass(frozen=True, slots=True)
class Hidden:
    """How likely words are with a part of a picture hidden."""

    box: Box
    hidden: float


@dataclass(frozen=True, slots=True)
class Hiding:
    """What hiding the place that was looked at most did, and hiding others.

    Attributes:
        picture: its index.
        box: the place, as fractions of the picture.
        share: of the attention, how much it drew.
        logprob: of the words with nothing hidden.
        hidden: of the words with the place hidden.
        elsewhere: of the words with other places of the same size hidden.
    """

    picture: int
    box: Box
    share: float
    logprob: float
    hidden: float
    elsewhere: tuple[Hidden, ...]

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Return what an engine says; raises as `Evidence.from_json`."""
        others = tuple(Hidden(_box(it["box"]), float(it["hidden"])) for it in row["elsewhere"])
        share, logprob, hidden = (float(row[name]) for name in ("share", "logprob", "hidden"))
        return cls(int(row["picture"]), _box(row["box"]), share, logprob, hidden, others)

    @property
    def lost(self) -> float:
        """How much less likely the words are with the place hidden, in nats."""
        return self.logprob - self.hidden

    @property
    def lost_elsewhere(self) -> float | None:
        """Likewise with another place hidden, in the mean; ``None`` if none was."""
        if not self.elsewhere:
            return None
        return self.logprob - math.fsum(it.hidden for it in self.elsewhere) / len(self.elsewhere)

    @property
    def most_elsewhere(self) -> float:
        """Likewise with that other place hidden that matters most; 0 if none was."""
        return max((self.logprob - it.hidden for it in self.elsewhere), default=0.0)

    @property
    def telling(self) -> bool:
        """Whether the place mattered more than every other one that was hidden."""
        return self.lost > max(self.most_elsewhere, 0.0) + _TELLING


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where an answer looked, and whether that mattered.

    Attributes:
        text: the answer.
        aggregation: how attention was put together, in words.
        whole: all of the answer.
        words: its words.
        chosen: the word that was asked about, or all of it.
        hiding: what hiding does to what was chosen; ``None`` if that was not asked.
    """

    text: str
    aggregation: str
    whole: Sight
    words: tuple[Sight, ...]
    chosen: Sight
    hiding: Hiding | None

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Return what an engine says.

        Raises:
            ValueError: it makes no sense.
            KeyError: likewise.
            TypeError: likewise.
        """
        whole, chosen = Sight.from_json(row["whole"]), Sight.from_json(row["chosen"])
        words = tuple(Sight.from_json(word) for word in row["words"])
        hiding = Hiding.from_json(row["hiding"]) if row["hiding"] is not None else None
        count = len(whole.heat)
        if any(len(sight.heat) != count for sight in (chosen, *words)):
            raise ValueError("pictures differ")
        if hiding is not None and not 0 <= hiding.picture < count:
            raise ValueError("no such picture")
        texts = str(row["text"]), str(row["aggregation"])
        return cls(*texts, whole, words, chosen, hiding)

    def as_json(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it: without the answer, which is there already."""
        row = asdict(self)
        del row["text"]
        return row

    def words_of(self, sight: Sight) -> str:
        """Return what a sight is about, as it stands in the answer."""
        return self.text[sight.begin : sight.end]

    def sentence(self, names: Sequence[str]) -> str:
        """Return where what was chosen looked, and what hiding that does, for a person.

        Args:
            names: of the pictures (untrusted text).
        """
        whole = (self.chosen.begin, self.chosen.end) == (self.whole.begin, self.whole.end)
        word = "the answer" if whole else f"“{visible_line(self.words_of(self.chosen))}”"
        begin = "It looked" if whole else f"For {word} it looked"
        hiding = self.hiding
        if hiding is None:
            number, box, share = self.chosen.most
            where = f"{place_words(box)} of {named(names, number)}"
            return f"{begin} mostly at {where} ({share * 100:.0f} % of its attention)."
        where = f"{place_words(hiding.box)} of {named(names, hiding.picture)}"
        looked = f"{begin} mostly at {where} ({hiding.share * 100:.0f} % of its attention)"
        said = f"{looked}; hiding that makes {word} {_change(hiding.lost)}"
        elsewhere = hiding.lost_elsewhere
        if elsewhere is None:
            return f"{said}."
        said = f"{said}; hiding elsewhere {_short(elsewhere)}"
        if hiding.telling:
            return f"{said}."
        if len(hiding.elsewhere) > 1:
            said = f"{said} on average, {_short(hiding.most_elsewhere)} at most"
        return f"{said}. So that place mattered no more than others."


def place_words(box: Box) -> str:
    """Return where in a picture a place is: ``the upper left``, by the third its middle is in."""
    if box.right - box.left > 0.9 and box.bottom - box.top > 0.9:
        return "all"
    across = _third(box.left, box.right, ("left", "", "right"))
    down = _third(box.top, box.bottom, ("upper", "", "lower"))
    if not across:
        return {"upper": "the top", "": "the middle", "lower": "the bottom"}[down]
    return f"the {down} {across}".replace("  ", " ")


def named(names: Sequence[str], number: int) -> str:
    """Return what a picture is called; with its number where others have the same name."""
    name = visible_line(names[number]) if number < len(names) else ""
    if not name or list(names).count(names[number]) > 1:
        return f"picture {number + 1}{f' ({name})' if name else ''}"
    return name


def _third(low: float, high: float, words: tuple[str, str, str]) -> str:
    return words[min(int((low + high) / 2 * 3), 2)]


def _change(lost: float) -> str:
    return f"{abs(lost):.1f} nats {'less' if lost >= 0 else 'more'} likely"


def _short(lost: float) -> str:
    return f"{abs(lost):.1f}" if lost > -0.05 else f"{-lost:.1f} nats more likely"


def _box(edges: object) -> Box:
    if not isinstance(edges, list) or len(edges) != 4:
        raise ValueError("no box")
    box = Box(*map(float, edges))
    if not (0 <= box.left < box.right <= 1.001 and 0 <= box.top < box.bottom <= 1.001):
        raise ValueError("no box")
    return box


def _grid(rows: object) -> Grid:
    if not isinstance(rows, list) or not rows:
        raise ValueError("no grid")
    grid = tuple(tuple(float(value) for value in row) for row in rows)
    if len({len(row) for row in grid}) != 1 or not grid[0]:
        raise ValueError("no grid")
    if not all(math.isfinite(value) for row in grid for value in row):
        raise ValueError("no grid")
    return grid
