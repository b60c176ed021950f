"""Pairs of pictures and short clips, made of scenes.

A pair either has a different number of one shape in its pictures, or one thing has changed. In a
clip either one shape moves straight across at least half of the picture, or shapes appear one
after another and stay.
"""

from dataclasses import replace
from random import Random

from PIL import Image

from vlmchat.demo.drawing import canvas, scenes, wording
from vlmchat.demo.drawing.facts import Clip, Pair, Placed, Scene, Sequence

CHANGES = ("colour", "shape", "added", "gone")
MOTIONS = ("left", "right", "up", "down")
_TRAVEL = canvas.SIDE / 2
_NEAR = 6.0  # pixels that a moving centre keeps from the border of two fields


def draw_pair(random: Random, level: float) -> Sequence:
    """Return two pictures: of 1 to 3 shapes at level 0, of up to 6 at level 1."""
    if random.random() < 0.5:
        return _more(random, level)
    return _changed(random, level)


def draw_clip(random: Random, level: float) -> Sequence:
    """Return 4 to 8 frames (4 at level 0)."""
    count = canvas.whole(random, level, (4, 4), (4, 8))
    return (_moving if random.random() < 0.5 else _appearing)(random, level, count)


def _more(random: Random, level: float) -> Sequence:
    """Return two scenes with different numbers of at least one shape."""
    while True:
        drawn = [
            scenes.compose(random, level, canvas.whole(random, level, (1, 3), (1, scenes.MOST)))
            for _ in range(2)
        ]
        pair = Pair(drawn[0][0], drawn[1][0])
        if more(pair):
            break
    images = tuple(scenes.paint(random, level, scene, paper) for scene, paper in drawn)
    return Sequence(images, False, pair)


def more(pair: Pair) -> dict[str, int]:
    """Return the shapes of which one picture has more: which one, 0 or 1."""
    found = {}
    for shape in dict.fromkeys(one.shape for one in (*pair.first.objects, *pair.second.objects)):
        first, second = (
            sum(one.shape == shape for one in scene.objects) for scene in (pair.first, pair.second)
        )
        if first != second:
            found[shape] = int(second > first)
    return found


def _changed(random: Random, level: float) -> Sequence:
    """Return a scene, and the same with one change."""
    count = canvas.whole(random, level, (2, 3), (2, 5))
    scene, paper = _all_different(random, level, count)
    change = random.choice(CHANGES)
    before: Placed | None = random.choice(scene.objects)
    assert before is not None
    after: Placed | None
    if change in {"colour", "shape"}:
        names = canvas.fitting(paper) if change == "colour" else canvas.SHAPES
        taken = {wording.full(one) for one in scene.objects}
        after = random.choice(
            [
                new
                for name in names
                if wording.full(new := _altered(before, change, name)) not in taken
            ]
        )
    else:  # the second picture, or the first one, lacks a shape
        after = None
    rest = [one for one in scene.objects if one is not before]
    second = Scene(scenes.ordered([*rest, after] if after else rest))
    first = scene
    if change == "added":
        first, second, before, after = second, first, None, before
    pair = Pair(first, second, change, before, after)
    return Sequence(_same_hand(random, level, (first, second), paper), False, pair)


def _altered(placed: Placed, change: str, name: str) -> Placed:
    return replace(placed, colour=name) if change == "colour" else replace(placed, shape=name)


def _all_different(random: Random, level: float, count: int) -> tuple[Scene, canvas.Colour]:
    """Return a scene in which no two shapes have both colour and shape in common."""
    while True:
        scene, paper = scenes.compose(random, level, count)
        if len({wording.full(one) for one in scene.objects}) == count:
            return scene, paper


def _same_hand(
    random: Random, level: float, drawn: tuple[Scene, ...], paper: canvas.Colour
) -> tuple[Image.Image, ...]:
    """Return scenes painted alike: what they have in common looks the same."""
    seed = random.random()
    hands = {}
    images = []
    for scene in drawn:
        image = canvas.sheet(Random(seed), level, paper)  # noqa: S311 - pictures, no secrets
        for one in scene.objects:
            key = (one.colour, one.shape, one.radius)
            if key not in hands:
                hands[key] = scenes.hand(random, level, one)
            canvas.stamp(image, one, *hands[key])
        images.append(canvas.weathered(Random(seed), level, image))  # noqa: S311
    return tuple(images)


def _moving(random: Random, level: float, count: int) -> Sequence:
    """Return frames in which one shape moves."""
    paper = canvas.backdrop(random, level)
    colour = random.choice(canvas.fitting(paper))
    shape = "circle" if random.random() > 0.4 * level else random.choice(canvas.SHAPES)
    radius = canvas.between(random, level, (24, 32), (15, 34))
    motion = random.choice(MOTIONS)
    edge = radius * 1.12 + 3
    free = canvas.SIDE - 2 * edge
    travel = max(_TRAVEL, free * random.uniform(0.75, 1.0))
    start = edge + (free - travel) * random.random()
    across = edge + free * random.random()
    frames = []
    for number in range(count):
        along = start + travel * number / (count - 1)
        if motion in {"left", "up"}:
            along = canvas.SIDE - along
        x, y = (along, across) if motion in {"left", "right"} else (across, along)
        frames.append(Scene((_at(shape, colour, x, y, radius),)))
    clip = Clip(tuple(frames), motion, frames[0].objects)
    return Sequence(_same_hand(random, level, clip.frames, paper), True, clip)


def _at(shape: str, colour: str, x: float, y: float, radius: float) -> Placed:
    x, y = _off_border(x), _off_border(y)
    column, row = (int(min(2, value // scenes.FIELD)) for value in (x, y))
    return Placed(shape, colour, column, row, x, y, radius)


def _off_border(value: float) -> float:
    """Return a place moved away from the border of two fields, if it is near one."""
    for border in (scenes.FIELD, 2 * scenes.FIELD):
        if abs(value - border) < _NEAR:
            return border + (_NEAR if value >= border else -_NEAR)
    return value


def _appearing(random: Random, level: float, count: int) -> Sequence:
    """Return frames in which shapes come one after another."""
    shapes = canvas.whole(random, level, (2, 3), (2, min(count, 5)))
    scene, paper = _all_different(random, level, shapes)
    order = random.sample(scene.objects, shapes)
    starts = [0, *sorted(random.sample(range(1, count), shapes - 1))]
    frames = tuple(
        Scene(scenes.ordered([one for one, start in zip(order, starts, strict=True)
                              if start <= number]))
        for number in range(count)
    )  # fmt: skip
    clip = Clip(frames, "", tuple(order))
    return Sequence(_same_hand(random, level, frames, paper), True, clip)
