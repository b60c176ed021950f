"""Everything that captions can say: the classes of phase 1."""

import string
from collections.abc import Iterator
from functools import cache

from vlmchat.demo.drawing import canvas, captions, charts, facts, lettering, photos, things


@cache
def texts() -> frozenset[str]:
    """Return the texts that the slots of all captions are made of.

    Two words are spelled by the tokens of each, as both stand behind a space.
    """
    return frozenset(_texts())


def _texts() -> Iterator[str]:
    yield captions.BLANK
    yield from string.digits
    for word in lettering.words():
        for text in (word, word.title(), word.upper()):
            yield f" {text}"
            yield from text
    behind = (
        *("chart", "text", "picture", "photo", "brown"),
        *captions.COUNTS,
        *canvas.COLOURS,
        *canvas.SHAPES,
        *canvas.PAPERS,
        *facts.ROWS,
        *facts.COLUMNS,
        *facts.FORMS,
        *photos.TONES,
        *charts.LABELS,
        *(thing.name for thing in things.listed()),
    )
    yield from (f" {text}" for text in behind)
