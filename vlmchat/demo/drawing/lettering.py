"""Rendered text: one or two common words, or a number.

The words are in ``words.txt``. Every twelfth of them, by a hash of its letters, is held out: never
drawn for training, while evaluation draws from all of them, the held-out ones four times as often.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from random import Random

from PIL import ImageDraw

from vlmchat.demo.drawing import canvas, captions
from vlmchat.demo.drawing.facts import Drawing, Lettering, Mark

MOST = captions.LETTER_PLACES
"""Characters of a text at most."""
_HELD_OUT = 12
_SHORT = 5
_SECOND = 0.4  # of the words at level 1 have another one behind them, if there is room
_SECOND_LEARNED = 0.6  # the same in training: two words are the hardest to read
_DARK = 0.3  # of the texts at level 1 are light on dark
_TALL = 0.4  # half the height that letters fill, of the font's
_LEAST = 24  # height of the font at level 1, pixels


@cache
def words() -> tuple[str, ...]:
    """Return all words, in lower case."""
    text = resources.files("vlmchat.demo.drawing").joinpath("words.txt").read_text("utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def held_out(word: str) -> bool:
    """Return whether a word is kept from training."""
    return hashlib.sha256(word.lower().encode()).digest()[0] % _HELD_OUT == 0


@cache
def _drawn(evaluation: bool, short: bool) -> tuple[str, ...]:
    chosen = [word for word in words() if not short or len(word) <= _SHORT]
    trained = [word for word in chosen if not held_out(word)]
    if not evaluation:
        return tuple(trained)
    return tuple(trained + 4 * [word for word in chosen if held_out(word)])


def draw(random: Random, level: float, *, evaluation: bool = False) -> Drawing:
    """Return a text: a short word or number in one font at level 0, any of all at level 1."""
    text = compose(random, level, evaluation)
    background, ink = papered(random, level)
    image = canvas.sheet(random, level * 0.6, background)
    lines = _lines(random, level, text)
    path = canvas.typeface(random, level)
    size = round(canvas.between(random, level, (40, 50), (_LEAST, 50)))
    size = canvas.fitting_size(path, lines, size, canvas.SIDE - 16, _LEAST)
    if max(map(canvas.font(path, size).getlength, lines)) > canvas.SIDE - 12:
        lines = tuple(text.split())
        size = canvas.fitting_size(path, lines, size, canvas.SIDE - 16, _LEAST - 4)
    font = canvas.font(path, size)
    height = round(size * 1.3)
    free_x = canvas.SIDE - 12 - max(font.getlength(line) for line in lines)
    free_y = canvas.SIDE - 12 - height * len(lines)
    x = 6 + free_x * _off_centre(random, level)
    y = 6 + height / 2 + free_y * _off_centre(random, level)
    pen = ImageDraw.Draw(image)
    marks: list[Mark] = []
    places = captions.letter_places(text)
    for number, line in enumerate(lines):
        at = (x, y + number * height)
        pen.text(at, line, font=font, fill=ink, anchor="lm")
        first = len(" ".join(lines[:number])) + (number > 0)
        marks += letters(line, at, font, size, places[first:])
    return Drawing(canvas.weathered(random, level, image), Lettering(text), tuple(marks))


def letters(
    line: str, at: tuple[float, float], font: canvas.AnyFont, size: int, places: Sequence[int]
) -> list[Mark]:
    """Return where the letters of a line are.

    Args:
        line: without a line break.
        at: its left end, in the middle of its height, pixels.
        font: it is written in.
        size: of the font, pixels.
        places: their numbers, and those of what is behind the line.
    """
    edges = [at[0] + font.getlength(line[:end]) for end in range(len(line) + 1)]
    high, low = at[1] - _TALL * size, at[1] + _TALL * size
    return [
        Mark(letter, (edges[place], high, edges[place + 1], low), places[place])
        for place, letter in enumerate(line)
        if letter != " "
    ]


def compose(random: Random, level: float, evaluation: bool) -> str:
    """Return a text of at most `MOST` characters."""
    drawn = _drawn(evaluation, random.random() > level)
    if random.random() < 0.25:
        return str(random.randrange(10 ** canvas.whole(random, level, (1, 2), (1, 5))))
    text = random.choice(drawn)
    if random.random() < (_SECOND if evaluation else _SECOND_LEARNED) * level:
        second = random.choice(drawn)
        if len(text) + 1 + len(second) <= MOST:
            text = f"{text} {second}"
    if random.random() < 0.3 * level:
        text = random.choice((text.title(), text.upper()))
    return text


def papered(random: Random, level: float) -> tuple[canvas.Colour, canvas.Colour]:
    """Return a background and an ink that can be read on it."""
    reach = 40 + round(50 * level)
    dark = canvas.shaken(random, (reach // 2,) * 3, reach // 2)
    light = canvas.shaken(random, (240 - reach // 4,) * 3, reach // 6)
    return (dark, light) if random.random() < _DARK * level else (light, dark)


def _lines(random: Random, level: float, text: str) -> tuple[str, ...]:
    """Return one line, or a line for each word."""
    return tuple(text.split()) if random.random() < 1 - 0.4 * level else (text,)


def _off_centre(random: Random, level: float) -> float:
    """Return 0…1: where in the free room a text stands; 0.5 is the middle."""
    return 0.5 + random.uniform(-0.5, 0.5) * (0.2 + 0.8 * level)
