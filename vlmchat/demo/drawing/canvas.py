"""What everything is drawn on and with: the sheet, colours, backgrounds, fonts and shapes.

Shapes' outlines are drawn once per size and turn and kept as masks, fonts are kept open and
noise is drawn once: a picture costs about a millisecond.
"""

import math
from functools import cache, lru_cache
from random import Random

from PIL import Image, ImageDraw, ImageFont

from vlmchat.demo.drawing import sources
from vlmchat.demo.drawing.facts import Placed
from vlmchat.demo.pictures import COLOURS, OUTLINES, SIDE

__all__ = ["COLOURS", "OUTLINES", "SIDE"]

Colour = tuple[int, int, int]
AnyFont = ImageFont.FreeTypeFont | ImageFont.ImageFont
SHAPES = tuple(OUTLINES)
PAPERS: dict[str, Colour] = {
    "white": (252, 252, 250),
    "gray": (170, 170, 172),
    "black": (22, 22, 24),
    "red": (226, 92, 86),
    "green": (120, 196, 120),
    "blue": (120, 160, 232),
    "yellow": (248, 228, 120),
    "orange": (250, 176, 96),
    "purple": (176, 128, 208),
    "pink": (250, 182, 212),
}
"""Backgrounds that have a name."""
_LIGHT: Colour = (244, 242, 238)
_FINE = 4  # masks are drawn larger and scaled down, for smooth edges
_TURNS = 8.0  # degrees between two turns of which masks are kept
_CONTRAST = 110.0  # smallest distance of a shape's colour from the background, in RGB


def between(
    random: Random, level: float, easy: tuple[float, float], hard: tuple[float, float]
) -> float:
    """Return a number from a range that goes from `easy` (level 0) to `hard` (level 1)."""
    low, high = (start + (end - start) * level for start, end in zip(easy, hard, strict=True))
    return random.uniform(low, high)


def whole(random: Random, level: float, easy: tuple[int, int], hard: tuple[int, int]) -> int:
    """Return a whole number from a range that goes from `easy` (level 0) to `hard` (level 1)."""
    low, high = (
        round(start + (end - start) * level) for start, end in zip(easy, hard, strict=True)
    )
    return random.randint(low, high)


def shaken(random: Random, colour: Colour, reach: int) -> Colour:
    """Return `colour` with each of its parts up to `reach` off."""
    red, green, blue = (min(255, max(0, part + random.randint(-reach, reach))) for part in colour)
    return red, green, blue


def distance(one: Colour, other: Colour) -> float:
    """Return the distance of two colours in RGB."""
    return math.dist(one, other)


def backdrop(random: Random, level: float) -> Colour:
    """Return the colour of a scene's background: light, at higher levels of any colour."""
    if random.random() < 0.35 * level:
        return shaken(random, PAPERS[random.choice(tuple(PAPERS))], 12)
    shade = round(between(random, level, (242, 246), (215, 255)))
    return shaken(random, (shade, shade, shade), round(4 + 8 * level))


def fitting(background: Colour) -> tuple[str, ...]:
    """Return the colours that can be told from the background."""
    return tuple(
        name for name, colour in COLOURS.items() if distance(colour, background) >= _CONTRAST
    )


def sheet(random: Random, level: float, background: Colour) -> Image.Image:
    """Return an empty picture: flat, at higher levels sometimes shaded."""
    if random.random() >= 0.4 * level:
        return Image.new("RGB", (SIDE, SIDE), background)
    corners = Image.new("RGB", (2, 2))
    corners.putdata([shaken(random, background, 16) for _ in range(4)])
    return corners.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def weathered(random: Random, level: float, image: Image.Image) -> Image.Image:
    """Return the finished picture, at higher levels sometimes with grain."""
    if random.random() >= 0.4 * level:
        return image
    reach = SIDE // 4
    x, y = random.randint(0, reach), random.randint(0, reach)
    grain = _grain(random.randrange(4)).crop((x, y, x + SIDE, y + SIDE))
    return Image.blend(image, grain, random.uniform(0.02, 0.10) * level)


@cache
def _grain(number: int) -> Image.Image:
    """Return grey noise of 5/4 of a picture's side; the same for the same number."""
    side = SIDE * 5 // 4
    noise = Random(f"grain/{number}").randbytes(side * side)  # noqa: S311 - pictures, no secrets
    return Image.frombytes("L", (side, side), noise).convert("RGB")


@lru_cache(maxsize=4096)
def _mask(shape: str, radius: int, turn: int) -> Image.Image:
    """Return the shape as a mask (mode L) of 2·`radius` + 4 pixels around its centre."""
    half = round(radius * 1.12) + 2
    large = Image.new("L", (2 * half * _FINE, 2 * half * _FINE), 0)
    pen = ImageDraw.Draw(large)
    angle = math.radians(turn * _TURNS)
    cosine, sine = math.cos(angle), math.sin(angle)
    for share, fill in ((1.0, 255), (0.62, 0)) if shape == "ring" else ((1.0, 255),):
        reach = radius * share
        points = [
            (
                (half + (x * cosine - y * sine) * reach) * _FINE,
                (half + (x * sine + y * cosine) * reach) * _FINE,
            )
            for x, y in OUTLINES[shape]()
        ]
        pen.polygon(points, fill=fill)
    return large.resize((2 * half, 2 * half), Image.Resampling.BOX)


def stamp(image: Image.Image, placed: Placed, colour: Colour, turn: int = 0) -> None:
    """Draw a shape into `image`, turned by `turn` × 8 degrees, its place in whole pixels."""
    mask = _mask(placed.shape, round(placed.radius), turn)
    half = mask.width // 2
    image.paste(colour, (round(placed.x) - half, round(placed.y) - half), mask)


def typeface(random: Random, level: float) -> str:
    """Return the file of a font: one of two at level 0, any at level 1; empty: Pillow's own."""
    every = sources.fonts() or ("",)
    return random.choice(every[: max(2, round(len(every) * level))])


@lru_cache(maxsize=2048)
def font(path: str, size: int) -> AnyFont:
    """Return a font that was collected, or Pillow's own scalable one for an empty path."""
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


def fitting_size(path: str, lines: tuple[str, ...], size: int, width: float, least: int) -> int:
    """Return `size`, or a smaller one in which every line fits `width`, `least` at the least."""
    while size > least and max(font(path, size).getlength(line) for line in lines) > width:
        size -= 1
    return size


@lru_cache(maxsize=16384)
def _word(path: str, size: int, text: str, anchor: str) -> tuple[Image.Image, int, int]:
    """Return a short text as a mask (mode L), and where its corner lies from its anchor."""
    box = font(path, size).getbbox(text, anchor=anchor)
    left, top = math.floor(box[0]) - 1, math.floor(box[1]) - 1
    mask = Image.new("L", (math.ceil(box[2]) - left + 1, math.ceil(box[3]) - top + 1), 0)
    pen = ImageDraw.Draw(mask)
    pen.text((-left, -top), text, font=font(path, size), fill=255, anchor=anchor)
    return mask, left, top


def write(
    image: Image.Image,
    at: tuple[float, float],
    text: str,
    path: str,
    size: int,
    ink: Colour,
    anchor: str = "mm",
) -> tuple[float, float, float, float]:
    """Write a text that comes often: kept drawn, at whole pixels.

    Args:
        image: what is written on.
        at: where the anchor lies, pixels from the left and the top.
        text: one line.
        path: of the font, empty for Pillow's own.
        size: of the font, pixels.
        ink: its colour.
        anchor: which point of the text lies there, as Pillow names it.

    Returns:
        Left, top, right and bottom of where it stands, pixels.
    """
    mask, left, top = _word(path, size, text, anchor)
    x, y = round(at[0]) + left, round(at[1]) + top
    image.paste(ink, (x, y), mask)
    return x, y, x + mask.width, y + mask.height
