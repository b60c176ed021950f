"""Pages: many words in lines, of which nothing is asked but what each letter is, and its number.

A picture with a text teaches some seven letters, a page some fifty at nearly the same price.
"""

from random import Random

from PIL import ImageDraw

from vlmchat.demo.drawing import canvas, lettering
from vlmchat.demo.drawing.facts import Drawing, Page

_MARGIN = 6
_LEADING = 1.3  # from one line to the next, of the font's size


def draw(random: Random, level: float) -> Drawing:
    """Return a page of large letters in one font at level 0, of any of all at level 1."""
    background, ink = lettering.papered(random, level)
    image = canvas.sheet(random, level * 0.6, background)
    path = canvas.typeface(random, level)
    size = round(canvas.between(random, level, (40, 50), (20, 46)))
    font = canvas.font(path, size)
    pen, marks, lines = ImageDraw.Draw(image), [], []
    y = _MARGIN + size * canvas.between(random, level, (0.6, 0.8), (0.6, 1.2))
    while y + size * _LEADING / 2 < canvas.SIDE - _MARGIN:
        x = random.uniform(_MARGIN, 3 * _MARGIN)
        line = _filled(random, level, font, canvas.SIDE - _MARGIN - x)
        pen.text((x, y), line, font=font, fill=ink, anchor="lm")
        marks += lettering.letters(line, (x, y), font, size, _numbered(line))
        lines.append(line)
        y += size * _LEADING
    return Drawing(canvas.weathered(random, level, image), Page(tuple(lines)), tuple(marks))


def _filled(random: Random, level: float, font: canvas.AnyFont, width: float) -> str:
    """Return as many words as there is room for; of one that is too long its beginning."""
    line = lettering.compose(random, level, False)
    while font.getlength(line) > width:
        line = line[:-1]
    while font.getlength(longer := f"{line} {lettering.compose(random, level, False)}") <= width:
        line = longer
    return line.strip()


def _numbered(line: str) -> list[int]:
    """Return the number of each letter in its word, from 0."""
    return [place - line.rfind(" ", 0, place) - 1 for place in range(len(line))]
