"""The canonical caption of a picture: what each of its image tokens is to say.

The first phase of training teaches image token `n` to be the text token at place `n`. A caption is
a list of slots; each takes one or more places and is spelled by the tokens of its text, filled up
with `BLANK` and cut off at its places. Every kind of picture has a fixed layout, so that a place
always means the same:

- scene: how many (`one` … `six`, `empty`), then of each shape colour, shape, row, column;
- chart: `chart`, six bars of label, tens, units (or four of a label of two places, tens, units),
  the highest label (2), its tens and units, the lowest label (2);
- lettering: `text`, its tokens (8), its characters (16): those of a first word from the first
  place on, those of a second one up to the last place;
- page: `text`, and nothing of it;
- thing: `picture`, its name (4), its main colour, the colour of the background;
- photo: `photo`, its two colours, its forms.

The trainer needs to know nothing of this: it tokenizes `Slot.text`, sees to `Slot.places`, and
weighs each place's loss with `Slot.weight` (`BLANK_WEIGHT` for places filled up).
"""

from dataclasses import dataclass

from vlmchat.demo.drawing.facts import (
    COLUMNS,
    ROWS,
    Chart,
    Clip,
    Facts,
    Lettering,
    Page,
    Pair,
    Photo,
    Picture,
    Placed,
    Scene,
    Thing,
)

PLACES = 25
"""Image tokens of a picture."""
BLANK = "\n"
"""What a place says that has nothing to say: one token."""
BLANK_WEIGHT = 0.08
KIND_WEIGHT = 0.3
TOKEN_PLACES = 8
LETTER_PLACES = 16
NAME_PLACES = 4
_SCARCE = 3.0  # the most that a place counts which few scenes fill
COUNTS = ("empty", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a caption.

    Attributes:
        text: what it says, to be tokenized as it stands (a leading space included).
        places: how many image tokens it takes.
        weight: of the loss at the places that its text fills.
    """

    text: str
    places: int = 1
    weight: float = 1.0


def caption(facts: Picture) -> list[Slot]:
    """Return the caption of one picture: slots of `PLACES` places together at most.

    What is left over of the `PLACES` counts as blank.
    """
    match facts:
        case Scene():
            return _scene(facts)
        case Chart():
            return _chart(facts)
        case Lettering():
            return _lettering(facts)
        case Page():
            return [Slot(" text", 1, KIND_WEIGHT)]
        case Thing():
            return _thing(facts)
        case Photo():
            words = ("photo", *facts.colours, facts.forms)
            return [Slot(f" {word}") for word in words]


def captions(facts: Facts) -> list[list[Slot]]:
    """Return the caption of every picture of `facts`, in their order."""
    match facts:
        case Pair():
            return [caption(facts.first), caption(facts.second)]
        case Clip():
            return [caption(frame) for frame in facts.frames]
        case _:
            return [caption(facts)]


def used(slots: list[Slot]) -> int:
    """Return how many places the slots take."""
    return sum(slot.places for slot in slots)


def _blank(places: int = 1) -> Slot:
    return Slot("", places, BLANK_WEIGHT)


def _scene(scene: Scene) -> list[Slot]:
    slots = [Slot(f" {COUNTS[len(scene.objects)]}")]
    most = len(COUNTS) - 1
    for before, placed in enumerate(scene.objects):
        # The more shapes stand before it the seldomer a place has one, and the more one counts.
        slots += _placed(placed, min(_SCARCE, most / (most - before)))
    return slots


def _placed(placed: Placed, weight: float) -> list[Slot]:
    words = (placed.colour, placed.shape, ROWS[placed.row], COLUMNS[placed.column])
    return [Slot(f" {word}", 1, weight) for word in words]


def _digits(value: int) -> list[Slot]:
    """Return two slots; the tens of a single digit say `BLANK`, which counts in full."""
    tens, units = divmod(value, 10)
    return [Slot(str(tens) if tens else BLANK), Slot(str(units))]


def _chart(chart: Chart) -> list[Slot]:
    wide = any(len(label) > 1 and label[-1].isdigit() for label in chart.labels)
    width, bars = (2, 4) if wide else (1, 6)
    slots = [Slot(" chart", 1, KIND_WEIGHT)]
    for label, value in zip(chart.labels, chart.values, strict=True):
        slots += [Slot(f" {label}", width), *_digits(value)]
    slots += [_blank(1 + 6 * 3 - used(slots))] if used(slots) < 1 + 6 * 3 else []
    assert len(chart.labels) <= bars
    slots += [Slot(f" {chart.labels[chart.highest]}", 2), *_digits(chart.values[chart.highest])]
    return [*slots, Slot(f" {chart.labels[chart.lowest]}", 2)]


def letter_places(text: str) -> list[int]:
    """Return at which of the `LETTER_PLACES` each character of a text is said.

    A second word ends at the last place, so that nobody has to count the letters of both.

    Args:
        text: one or two words, `LETTER_PLACES` characters at most.
    """
    first = len(text.partition(" ")[0])
    moved = LETTER_PLACES - len(text)
    return [place + (moved if place > first else 0) for place in range(len(text))]


def _lettering(lettering: Lettering) -> list[Slot]:
    text = lettering.text
    letters = [_blank()] * LETTER_PLACES
    for place, letter in zip(letter_places(text), text, strict=True):
        letters[place] = Slot(BLANK) if letter == " " else Slot(letter)
    if len(text) < LETTER_PLACES and " " not in text:
        letters[len(text)] = Slot(BLANK)  # where a word ends is as good as a letter
    tokens = Slot(text if text.isdigit() else f" {text}", TOKEN_PLACES)
    return [Slot(" text", 1, KIND_WEIGHT), tokens, *letters]


def _thing(thing: Thing) -> list[Slot]:
    colours = [Slot(f" {word}") if word else _blank() for word in (thing.colour, thing.background)]
    return [Slot(" picture", 1, KIND_WEIGHT), Slot(f" {thing.name}", NAME_PLACES), *colours]
