"""Drawn pictures to try the demo model on: coloured shapes, pictured objects, and a chart.

Everything is drawn on 240 × 240 pixels, the size that the demo's vision tower sees.
"""

import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from vlmchat.errors import MediaError
from vlmchat.text import visible_line

SIDE = 240
_SCALE = 4  # drawn larger and scaled down, for smooth edges
COLOURS = {
    "red": (215, 35, 35),
    "green": (40, 160, 60),
    "blue": (40, 80, 215),
    "yellow": (245, 215, 40),
    "orange": (245, 135, 25),
    "purple": (135, 50, 170),
    "pink": (245, 130, 185),
    "black": (25, 25, 25),
}
_BACKGROUND = (244, 242, 238)
SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a scene.

    Attributes:
        kind: a key of `OUTLINES`.
        colour: a key of `COLOURS`.
        x: centre, pixels from the left.
        y: centre, pixels from the top.
        radius: half the extent, pixels.
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture to try.

    Attributes:
        name: file name.
        question: something the model can be asked about it.
        answer: what is right.
        shapes: of a scene; empty for a picture that lies in `SAMPLES`.
    """

    name: str
    question: str
    answer: str
    shapes: tuple[Shape, ...] = ()


def _regular(points: int, inner: float = 1.0, turn: float = 0.0) -> list[tuple[float, float]]:
    """Return a polygon of radius 1 whose every second corner lies at `inner`."""
    steps = points * 2 if inner != 1.0 else points
    corners = []
    for step in range(steps):
        angle = turn + step * 2 * math.pi / steps
        reach = inner if inner != 1.0 and step % 2 else 1.0
        corners.append((reach * math.sin(angle), -reach * math.cos(angle)))
    return corners


def _heart() -> list[tuple[float, float]]:
    """Return the heart curve x = 16 sin³ t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t."""
    points = []
    for step in range(60):
        t = step / 60 * 2 * math.pi
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3, -y / 16))
    return points


def _cross() -> list[tuple[float, float]]:
    arm = 0.33
    half = [(-arm, -1.0), (arm, -1.0), (arm, -arm), (1.0, -arm), (1.0, arm), (arm, arm)]
    return half + [(-x, -y) for x, y in half]


OUTLINES: dict[str, Callable[[], list[tuple[float, float]]]] = {
    "circle": lambda: _regular(90),
    "square": lambda: [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": lambda: [(0.0, -1.0), (0.95, 0.8), (-0.95, 0.8)],
    "star": lambda: _regular(5, inner=0.42),
    "heart": _heart,
    "diamond": lambda: [(0.0, -1.1), (0.75, 0.0), (0.0, 1.1), (-0.75, 0.0)],
    "cross": _cross,
    "ring": lambda: _regular(90),
}


def draw_scene(shapes: tuple[Shape, ...]) -> Image.Image:
    """Return an RGB picture of `SIDE` × `SIDE` pixels."""
    image = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE), _BACKGROUND)
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        _draw(pen, shape, 1.0, COLOURS[shape.colour])
        if shape.kind == "ring":
            _draw(pen, shape, 0.68, _BACKGROUND)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _draw(pen: ImageDraw.ImageDraw, shape: Shape, share: float, fill: tuple[int, int, int]) -> None:
    reach = shape.radius * share
    pen.polygon(
        [
            ((shape.x + x * reach) * _SCALE, (shape.y + y * reach) * _SCALE)
            for x, y in OUTLINES[shape.kind]()
        ],
        fill=fill,
    )


def _scene(name: str, question: str, answer: str, *shapes: Shape) -> Sample:
    return Sample(name, question, answer, shapes)


SCENES: tuple[Sample, ...] = (
    _scene(
        "red-circle.png",
        "What color is the circle?",
        "The circle is red.",
        Shape("circle", "red", 120, 120, 40),
    ),
    _scene(
        "three-shapes.png",
        "Describe the image.",
        "A blue square at the top left, a yellow star at the bottom center and a red heart "
        "at the top right.",
        Shape("square", "blue", 45, 50, 34),
        Shape("star", "yellow", 120, 190, 34),
        Shape("heart", "red", 195, 50, 34),
    ),
    _scene(
        "two-shapes.png",
        "How many shapes are there?",
        "There are 2 shapes.",
        Shape("triangle", "green", 45, 120, 36),
        Shape("square", "orange", 195, 120, 36),
    ),
    _scene(
        "ring-and-star.png",
        "What shape is yellow?",
        "The yellow shape is a star.",
        Shape("ring", "purple", 45, 45, 34),
        Shape("star", "yellow", 195, 190, 36),
    ),
    _scene(
        "three-stars.png",
        "What shape is blue?",
        "The blue shape is a star.",
        Shape("star", "blue", 45, 50, 32),
        Shape("star", "yellow", 120, 190, 34),
        Shape("star", "red", 195, 50, 33),
    ),
)
# Rendered from Noto Color Emoji (SIL OFL 1.1), a font that few machines have installed.
OBJECTS: tuple[Sample, ...] = (
    Sample("cat.png", "What is in the picture?", "The picture shows a cat."),
    Sample("guitar.png", "What is in the picture?", "The picture shows a guitar."),
    Sample("pizza.png", "What is in the picture?", "The picture shows a pizza."),
)
# Drawn by `vlmchat.demo.drawing.charts`.
CHARTS: tuple[Sample, ...] = (
    Sample("chart.png", "What is the highest value?", "The highest value is 85."),
)
ALL = (*SCENES, *OBJECTS, *CHARTS)


def picture(sample: Sample) -> bytes:
    """Return the sample as a PNG file."""
    if not sample.shapes:
        return (SAMPLES / sample.name).read_bytes()
    buffer = io.BytesIO()
    draw_scene(sample.shapes).save(buffer, "PNG")
    return buffer.getvalue()


def write_samples(folder: Path) -> list[tuple[Sample, Path]]:
    """Write every sample into `folder`, made if missing, and return where each went.

    No file is overwritten: where another one has the name, the picture gets a number.

    Raises:
        MediaError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [(sample, _write_new(folder / sample.name, picture(sample))) for sample in ALL]
    except OSError as error:
        raise MediaError(
            f"The pictures cannot be written to “{visible_line(str(folder))}” "
            f"({error.strerror or error}): choose another folder."
        ) from error


def _write_new(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, or beside it as ``name-2.png`` when another file has that name."""
    target, count = path, 1
    while target.exists() and target.read_bytes() != data:
        count += 1
        target = path.with_stem(f"{path.stem}-{count}")
    if not target.exists():
        temporary = target.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
    return target
