"""Scenes: up to six coloured shapes, each in its own field of a grid of three by three.

A shape's centre stays `MARGIN` pixels away from the borders of its field, so that centres in
different columns (rows) are at least twice that apart from left to right (top to bottom), and
what is asked about places has one answer. Shapes never touch.
"""

import math
from random import Random

from PIL import Image

from vlmchat.demo.drawing import canvas
from vlmchat.demo.drawing.facts import Drawing, Mark, Placed, Scene

FIELD = canvas.SIDE / 3
MARGIN = 10.0
MOST = 6
_REACH = 1.12  # a turned shape's extent, in radii
_GAP = 3.0  # free pixels between two shapes, and to the picture's edge
_TRIES = 8
_FILLED = 0.8  # half the side of a square that a shape fills most of, in radii


def draw(random: Random, level: float) -> Drawing:
    """Return a scene: 1 to 3 shapes at level 0, 1 to 6 (seldom none) at level 1."""
    count = canvas.whole(random, level, (1, 3), (1, MOST))
    if random.random() < 0.04 * level:
        count = 0
    scene, background = compose(random, level, count)
    return Drawing(paint(random, level, scene, background), scene, marks(scene))


def compose(random: Random, level: float, count: int) -> tuple[Scene, canvas.Colour]:
    """Return a scene of `count` shapes and a background that they can be seen on."""
    background = canvas.backdrop(random, level)
    colours, shapes = canvas.fitting(background), canvas.SHAPES
    if random.random() < 0.5:  # few of them, so that some come several times
        shapes = tuple(random.sample(shapes, 2))
        colours = tuple(random.sample(colours, min(3, len(colours))))
    while True:
        objects: list[Placed] = []
        for field in random.sample(range(9), count):
            kind, colour = random.choice(shapes), random.choice(colours)
            placed = place(random, level, kind, colour, field, objects)
            if placed is None:
                break
            objects.append(placed)
        if len(objects) == count:
            return Scene(ordered(objects)), background


def place(
    random: Random, level: float, shape: str, colour: str, field: int, others: list[Placed]
) -> Placed | None:
    """Return a shape somewhere in a field (0…8, by rows), away from the `others`.

    None where no room was found in some tries.
    """
    row, column = divmod(field, 3)
    largest = (48.0, 42.0, 38.0)[min(len(others), 2)]
    for _ in range(_TRIES):
        radius = canvas.between(random, level, (26, largest), (14, largest))
        x, y = _centre(random, column, radius), _centre(random, row, radius)
        placed = Placed(shape, colour, column, row, x, y, radius)
        if all(apart(placed, other) for other in others):
            return placed
    return None


def apart(one: Placed, other: Placed) -> bool:
    """Return whether two shapes do not touch."""
    return math.hypot(one.x - other.x, one.y - other.y) > (
        (one.radius + other.radius) * _REACH + _GAP
    )


def _centre(random: Random, third: int, radius: float) -> float:
    """Return where in a third a centre may lie, wholly in the picture."""
    edge = radius * _REACH + _GAP
    low = max(third * FIELD + MARGIN, edge)
    high = min((third + 1) * FIELD - MARGIN, canvas.SIDE - edge)
    return random.uniform(low, high)


def ordered(objects: list[Placed]) -> tuple[Placed, ...]:
    """Return shapes by column from the left, within a column by row from the top."""
    return tuple(sorted(objects, key=lambda one: (one.column, one.row)))


def marks(scene: Scene) -> tuple[Mark, ...]:
    """Return where the shapes of a scene are."""
    found = []
    for order, one in enumerate(scene.objects):
        half = one.radius * _FILLED
        box = (one.x - half, one.y - half, one.x + half, one.y + half)
        found.append(Mark(one.shape, box, order, one.colour))
    return tuple(found)


def paint(random: Random, level: float, scene: Scene, background: canvas.Colour) -> Image.Image:
    """Return the scene as a picture."""
    image = canvas.sheet(random, level, background)
    for placed in scene.objects:
        canvas.stamp(image, placed, *hand(random, level, placed))
    return canvas.weathered(random, level, image)


def hand(random: Random, level: float, placed: Placed) -> tuple[canvas.Colour, int]:
    """Return the exact colour of a shape and its turn in steps of `canvas.stamp`."""
    colour = canvas.shaken(random, canvas.COLOURS[placed.colour], round(4 + 10 * level))
    return colour, random.choice((-1, 0, 0, 1)) if random.random() < level else 0
