"""Pictured objects: each of some 380 things, in one or two styles of drawing.

Which things there are, and the signs that picture them, is in ``things.json``: rows of name, other
names that are right as well, and signs. The drawings come from `sources`; without them three
samples that ship with the program are all that can be drawn.
"""

import colorsys
import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

from vlmchat.demo.drawing import canvas, sources
from vlmchat.demo.drawing.facts import Drawing, Thing
from vlmchat.demo.pictures import SAMPLES

_NOTO_SIZE = 109  # the only size that the font's bitmaps have
_KEPT = 168  # pixels of the longer side at which drawings are kept
_CONTRAST = 70.0  # smallest distance of a drawing's mean colour from the background, in RGB
_MAIN = 0.7  # of a drawing's dots have the colour that it is said to have
# Hues in degrees; what lies between is called by no name, for it is seen as either.
_HUES = (
    (14, ""),
    (36, "orange"),
    (44, ""),
    (62, "yellow"),
    (78, ""),
    (160, "green"),
    (190, ""),
    (245, "blue"),
    (262, ""),
    (295, "purple"),
    (312, ""),
    (335, "pink"),
)


@dataclass(frozen=True, slots=True)
class Named:
    """A thing that can be pictured.

    Attributes:
        name: what it is called.
        others: names that are right as well.
        signs: its characters, each drawn in every style.
    """

    name: str
    others: tuple[str, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _CutOut:
    """A drawing cut to its extent.

    Attributes:
        image: RGBA, its longer side `_KEPT` pixels at most.
        mean: the mean of its colours.
        colour: the name of its main colour, empty where it has none.
    """

    image: Image.Image
    mean: canvas.Colour
    colour: str


@cache
def listed() -> tuple[Named, ...]:
    """Return all things of ``things.json``."""
    text = resources.files("vlmchat.demo.drawing").joinpath("things.json").read_text("utf-8")
    return tuple(
        Named(name, tuple(others), tuple(signs)) for name, others, signs in json.loads(text)
    )


def drawings(thing: Named) -> tuple[str, ...]:
    """Return where a thing's drawings are: files, or `font|character`."""
    return _drawings(thing, sources.noto(), sources.fluent())


@lru_cache(maxsize=4096)
def _drawings(thing: Named, noto: Path | None, fluent: Path | None) -> tuple[str, ...]:
    found = [f"{noto}|{sign}" for sign in thing.signs] if noto else []
    for sign in thing.signs if fluent else ():
        stem = f"{ord(sign):04x}"
        files = (Path(f"{fluent}/{stem}{end}.webp") for end in ("", "-fe0f"))
        found += [str(path) for path in files if path.is_file()][:1]
    if not found and (SAMPLES / f"{thing.name}.png").is_file():
        found = [str(SAMPLES / f"{thing.name}.png")]
    return tuple(found)


def available() -> tuple[Named, ...]:
    """Return the things that can be drawn here."""
    return _available(sources.noto(), sources.fluent())


@lru_cache(maxsize=8)
def _available(noto: Path | None, fluent: Path | None) -> tuple[Named, ...]:
    return tuple(thing for thing in listed() if _drawings(thing, noto, fluent))


def draw(random: Random, level: float) -> Drawing:
    """Return a thing: in the middle of a light sheet at level 0, anywhere and turned at level 1."""
    thing = random.choice(available())
    cut = _cut_out(random.choice(drawings(thing)))
    name, colour = _background(random, level, cut.mean)
    image = canvas.sheet(random, level, colour)
    extent = canvas.between(random, level, (150, 180), (105, 205))
    angle = random.uniform(-14, 14) * level
    picture = cut.image
    if random.random() < 0.3 * level:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = _scaled(picture, extent / max(picture.size), angle)
    free = [max(0.0, (canvas.SIDE - side) / 2 - 2) for side in turned.size]
    x, y = (
        round((canvas.SIDE - side) / 2 + random.uniform(-room, room) * level)
        for side, room in zip(turned.size, free, strict=True)
    )
    image.paste(turned, (x, y), turned)
    facts = Thing(thing.name, thing.others, cut.colour, name)
    return Drawing(canvas.weathered(random, level, image), facts)


def _background(random: Random, level: float, main: canvas.Colour) -> tuple[str, canvas.Colour]:
    """Return a named background that a drawing with this mean colour can be seen on."""
    names = tuple(canvas.PAPERS) if random.random() < level else ("white",)
    seen = [name for name in names if canvas.distance(canvas.PAPERS[name], main) >= _CONTRAST]
    name = random.choice(seen) if seen else "gray"
    return name, canvas.shaken(random, canvas.PAPERS[name], round(2 + 8 * level))


@lru_cache(maxsize=2048)
def _cut_out(drawing: str) -> _CutOut:
    font, _, sign = drawing.partition("|")
    if sign:
        image = Image.new("RGBA", (160, 160))
        face = ImageFont.truetype(font, _NOTO_SIZE)
        ImageDraw.Draw(image).text((8, 8), sign, font=face, embedded_color=True)
    else:
        with Image.open(drawing) as file:
            image = file.convert("RGBA")
    image = image.crop(image.getchannel("A").getbbox())
    image.thumbnail((_KEPT, _KEPT), Image.Resampling.LANCZOS)
    dots = image.resize((24, 24), Image.Resampling.BOX).tobytes()
    seen = [(dots[at], dots[at + 1], dots[at + 2]) for at in range(0, len(dots), 4)
            if dots[at + 3] > 200]  # fmt: skip
    red, green, blue = (round(sum(part) / len(seen)) for part in zip(*seen, strict=True))
    return _CutOut(image, (red, green, blue), _main_colour(seen))


def _main_colour(dots: list[canvas.Colour]) -> str:
    """Return the name of the colour that most dots have, empty where none does."""
    [(name, count)] = Counter(map(_named, dots)).most_common(1)
    return name if count >= _MAIN * len(dots) else ""


def _named(dot: canvas.Colour) -> str:
    """Return what a person would call a colour, by hue, saturation and brightness."""
    hue, saturation, bright = colorsys.rgb_to_hsv(*(part / 255 for part in dot))
    if bright < 0.22:
        return "black"
    if saturation < 0.16:
        return "white" if bright > 0.86 else "gray" if bright < 0.75 else ""
    if saturation < 0.3:
        return ""
    degrees = hue * 360
    if degrees < 48 and bright < 0.68 and saturation < 0.85:
        return "brown"
    if degrees >= 335 or degrees < 8:
        return "pink" if saturation < 0.6 and bright > 0.8 else "red"
    name = next((name for end, name in _HUES if degrees < end), "")
    return "" if name == "orange" and min(saturation, bright) < 0.65 else name  # tan, sand


def _scaled(cut: Image.Image, scale: float, angle: float) -> Image.Image:
    """Return a drawing scaled and turned by `angle` degrees, in one step."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    width, height = cut.width * scale, cut.height * scale
    size = (
        math.ceil(width * abs(cosine) + height * abs(sine)),
        math.ceil(width * abs(sine) + height * abs(cosine)),
    )
    a, b = cosine / scale, sine / scale
    c = cut.width / 2 - (a * size[0] + b * size[1]) / 2
    d = cut.height / 2 - (a * size[1] - b * size[0]) / 2
    return cut.transform(
        size, Image.Transform.AFFINE, (a, b, c, -b, a, d), Image.Resampling.BILINEAR
    )
