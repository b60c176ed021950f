"""Pictures that look like photographs: textured surfaces in muted colours, with light and grain.

The demo model will not learn what photographs show. It is to learn that a picture is one, and to
say so with the colours and the forms that it sees, whatever it is asked.
"""

from functools import cache
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from vlmchat.demo.drawing import canvas
from vlmchat.demo.drawing.canvas import SIDE, Colour
from vlmchat.demo.drawing.facts import FORMS, Drawing, Photo

TONES: dict[str, tuple[Colour, ...]] = {
    "green": ((74, 112, 58), (106, 130, 74), (52, 88, 62)),
    "blue": ((120, 160, 204), (66, 98, 142), (84, 130, 176)),
    "brown": ((122, 90, 62), (92, 66, 46), (150, 114, 82)),
    "gray": ((132, 132, 130), (100, 104, 108), (160, 158, 154)),
    "white": ((226, 226, 222), (238, 236, 230)),
    "black": ((34, 34, 38), (24, 26, 24)),
    "red": ((164, 52, 44), (140, 40, 52)),
    "yellow": ((212, 180, 82), (226, 200, 110)),
    "orange": ((206, 124, 58), (188, 106, 44)),
    "pink": ((216, 160, 168), (200, 142, 160)),
    "purple": ((112, 84, 136), (92, 70, 120)),
}
"""Colours as photographs have them, by name."""
_WITHOUT_HUE = ("gray", "white", "black")
_LEAST, _MOST = 0.2, 0.42  # of the picture that has the second colour
_TRIES = 40


def draw(random: Random, level: float) -> Drawing:
    """Return a surface of one colour with forms of another: plain at level 0, rough at level 1."""
    first, second = _two(random)
    forms = random.choice(FORMS)
    image = Image.composite(
        _surface(random, level, second), _surface(random, level, first), _mask(random, level, forms)
    )
    image = _lit(random, level, image)
    if random.random() < 0.5 * level:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.2)))
    return Drawing(canvas.weathered(random, level, image), Photo((first, second), forms))


def _two(random: Random) -> tuple[str, str]:
    """Return two colours that can be told apart."""
    while True:
        first, second = random.sample(tuple(TONES), 2)
        if canvas.distance(TONES[first][0], TONES[second][0]) > 75:
            return first, second


def _noise(random: Random, cells: int) -> Image.Image:
    """Return clouds (mode L) of about so many a side."""
    small = Image.frombytes("L", (cells, cells), random.randbytes(cells * cells))
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _clouds(random: Random, rough: float) -> Image.Image:
    """Return clouds with finer ones in them, the more the rougher."""
    coarse = Image.blend(
        _noise(random, random.randint(3, 6)), _noise(random, random.randint(10, 20)), 0.4
    )
    return Image.blend(coarse, _noise(random, random.randint(40, 110)), 0.15 + 0.35 * rough)


def _surface(random: Random, level: float, name: str) -> Image.Image:
    """Return a surface of a colour: between a darker and a lighter shade of it."""
    reach = 3 if name in _WITHOUT_HUE else round(4 + 6 * level)
    red, green, blue = canvas.shaken(random, random.choice(TONES[name]), reach)
    depth = canvas.between(random, level, (0.06, 0.12), (0.1, 0.3))
    lift = 12 if name == "black" else 0
    dark = tuple(round(part * (1 - depth)) for part in (red, green, blue))
    light = tuple(min(255, round(part * (1 + depth)) + lift) for part in (red, green, blue))
    return ImageOps.colorize(_clouds(random, level * random.random()), dark, light)


def _mask(random: Random, level: float, forms: str) -> Image.Image:
    """Return where the second colour is (mode L)."""
    if forms == "soft":
        clouds = Image.blend(_noise(random, random.randint(3, 5)), _noise(random, 9), 0.25)
        bar = _bar(clouds, random.uniform(_LEAST, _MOST))
        mask = clouds.point([255 if value > bar else 0 for value in range(256)])
        return mask.filter(ImageFilter.GaussianBlur(random.uniform(5, 10)))
    mask = Image.new("L", (SIDE, SIDE), 0)
    few = canvas.whole(random, level, (1, 2), (1, 6))
    for _ in range(_TRIES):
        more = mask.copy()
        (_round if forms == "round" else _straight)(random, more, few)
        covered = _covered(more)
        if covered <= _MOST:
            mask = more
        if covered >= _LEAST and _covered(mask) >= _LEAST:
            break
    return mask.filter(ImageFilter.GaussianBlur(canvas.between(random, level, (0.6, 1), (0.6, 2))))


def _bar(clouds: Image.Image, share: float) -> int:
    """Return the brightness that `share` of the pixels is above."""
    left = share * SIDE * SIDE
    counts = clouds.histogram()
    for value in range(255, 0, -1):
        left -= counts[value]
        if left <= 0:
            return value - 1
    return 0


def _covered(mask: Image.Image) -> float:
    return mask.histogram()[255] / (SIDE * SIDE)


def _round(random: Random, mask: Image.Image, few: int) -> None:
    """Draw a ball, or something like one."""
    size = random.uniform(0.8, 1.2) * SIDE * 0.34 / few**0.5
    wide, high = size, size * random.uniform(0.75, 1.0)
    x, y = (random.uniform(size * 0.4, SIDE - size * 0.4) for _ in range(2))
    ImageDraw.Draw(mask).ellipse((x - wide, y - high, x + wide, y + high), fill=255)


def _straight(random: Random, mask: Image.Image, few: int) -> None:
    """Draw a wall, a board or a box: something with straight edges."""
    wide = random.uniform(0.5, 1.0) * SIDE / few**0.5
    high = random.uniform(0.25, 0.5) * SIDE / few**0.5
    if random.random() < 0.5:
        wide, high = high, wide
    board = Image.new("L", (max(4, round(wide)), max(4, round(high))), 255)
    board = board.rotate(random.choice((0, 0, random.uniform(-40, 40))), expand=True)
    place = (
        random.randint(-board.width // 4, SIDE - board.width * 3 // 4),
        random.randint(-board.height // 4, SIDE - board.height * 3 // 4),
    )
    mask.paste(255, place, board)


def _lit(random: Random, level: float, image: Image.Image) -> Image.Image:
    """Return the picture with light from one side, and darker corners."""
    depth = round(canvas.between(random, level, (10, 30), (20, 80)))
    corners = Image.frombytes("L", (2, 2), bytes(255 - random.randint(0, depth) for _ in range(4)))
    light = corners.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if random.random() < 0.3 + 0.4 * level:
        light = Image.blend(light, ImageChops.multiply(light, _vignette()), random.random())
    return ImageChops.multiply(image, Image.merge("RGB", (light, light, light)))


@cache
def _vignette() -> Image.Image:
    """Return the light that a lens gives (mode L): less in the corners."""
    rings = ImageOps.invert(Image.radial_gradient("L")).resize((SIDE, SIDE))
    return rings.point([min(255, 150 + value // 2) for value in range(256)])
