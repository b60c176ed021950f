"""The front door: a picture (or several) with a question and its answer.

`draw` makes one example of a task; `lesson` makes the pictures of a kind with several questions
at once, which is cheaper to train on. `seeded` gives the random numbers of an example: those of
training and of evaluation start from different texts, so that no seed is shared, and words of
`lettering` that evaluation may show are never drawn for training.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

from PIL import Image

from vlmchat.demo.drawing import (
    charts,
    lettering,
    pages,
    photos,
    questions,
    scenes,
    sequences,
    things,
)
from vlmchat.demo.drawing.facts import Asked, Drawing, Facts, Mark, Sequence

__all__ = [
    "KINDS",
    "KIND_OF",
    "PAGE",
    "TASKS",
    "Asked",
    "Example",
    "Lesson",
    "Split",
    "draw",
    "example",
    "lesson",
    "seeded",
]

Split = Literal["train", "eval"]
KINDS = ("scene", "chart", "lettering", "thing", "photo", "pair", "clip")
"""What is asked about; the first five are single pictures."""
PAGE = "page"
"""What can be drawn beside: nothing is asked about it, its letters are marked."""
TASKS = (
    "colour",
    "shape",
    "count",
    "position",
    "describe",
    "chart-label",
    "chart-value",
    "text",
    "object",
    "pair",
    "clip",
    "premise",
    "photo",
)
KIND_OF: dict[str, tuple[str, ...]] = {
    "colour": ("scene",),
    "shape": ("scene",),
    "count": ("scene",),
    "position": ("scene",),
    "describe": ("scene",),
    "chart-label": ("chart",),
    "chart-value": ("chart",),
    "text": ("lettering",),
    "object": ("thing",),
    "pair": ("pair",),
    "clip": ("clip",),
    "premise": tuple(kind for kind in KINDS if kind != "photo"),
    "photo": ("photo",),
}
"""What is drawn for a task."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures with what they show and what can be asked about them.

    Attributes:
        images: RGB, `canvas.SIDE` × `canvas.SIDE` pixels; one, two of a pair, 4…8 of a clip.
        frames: they are frames of one film.
        facts: the truth about them.
        asked: one question or more; none about a page.
        marks: what stands where in a single picture, as far as it is known.
    """

    images: tuple[Image.Image, ...]
    frames: bool
    facts: Facts
    asked: tuple[Asked, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """Pictures with one question.

    Attributes:
        images: RGB, `canvas.SIDE` × `canvas.SIDE` pixels.
        frames: they are frames of one film.
        question: what a person asks.
        answer: what is right.
        task: one of `TASKS`.
        facts: the truth about the pictures, for `judging.right`.
    """

    images: tuple[Image.Image, ...]
    frames: bool
    question: str
    answer: str
    task: str
    facts: Facts


def seeded(task: str, split: Split, seed: int, index: int) -> Random:
    """Return the random numbers of one example: the same for the same four, on any machine."""
    return Random(f"{split}/{seed}/{task}/{index}")  # noqa: S311 - pictures, no secrets


def lesson(kind: str, random: Random, level: float, split: Split = "train") -> Lesson:
    """Return pictures of a kind (of `KINDS`, or `PAGE`) with all that is asked about them."""
    drawn: Drawing | Sequence
    match kind:
        case "scene":
            drawn = scenes.draw(random, level)
        case "chart":
            drawn = charts.draw(random, level)
        case "lettering":
            drawn = lettering.draw(random, level, evaluation=split == "eval")
        case "page":
            drawn = pages.draw(random, level)
        case "thing":
            drawn = things.draw(random, level)
        case "photo":
            drawn = photos.draw(random, level)
        case "pair":
            drawn = sequences.draw_pair(random, level)
        case "clip":
            drawn = sequences.draw_clip(random, level)
        case _:
            raise ValueError(f"{kind} is none of {', '.join(KINDS)}")
    asked = tuple(questions.ask(drawn.facts, random))
    if isinstance(drawn, Drawing):
        return Lesson((drawn.image,), False, drawn.facts, asked, drawn.marks)
    return Lesson(drawn.images, drawn.frames, drawn.facts, asked)


def draw(task: str, random: Random, level: float, split: Split = "train") -> Example:
    """Return pictures with one question of a task (one of `TASKS`)."""
    while True:  # a scene of twins has nothing of which one could ask the colour
        drawn = lesson(random.choice(KIND_OF[task]), random, level, split)
        fitting = [one for one in drawn.asked if one.task == task]
        if fitting:
            one = random.choice(fitting)
            return Example(drawn.images, drawn.frames, one.question, one.answer, task, drawn.facts)


def example(task: str, split: Split, seed: int, index: int, level: float = 1.0) -> Example:
    """Return the example number `index` of a task: always the same one."""
    return draw(task, seeded(task, split, seed, index), level, split)
