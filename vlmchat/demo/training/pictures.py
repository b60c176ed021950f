"""Batches of drawn pictures: pixels, captions and kinds, always the same for the same step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from vlmchat.demo.drawing import examples
from vlmchat.demo.drawing.captions import Slot, captions
from vlmchat.demo.drawing.examples import Lesson
from vlmchat.demo.drawing.facts import Mark
from vlmchat.demo.training.settings import Augment

Pixels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
"""A picture, (side, side, 3)."""
HELD_OUT = 999_999_937
"""The seed of pictures that are only ever measured on; runs have smaller seeds."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one step.

    Attributes:
        pixels: (pictures, side, side, 3), uint8.
        captions: one a picture.
        kinds: one a picture.
        marks: what stands where, of each picture.
        offsets: how far down and to the right each was moved, pixels.
        ahead: whether each was drawn harder than the level of its kind.
    """

    pixels: torch.Tensor
    captions: list[list[Slot]]
    kinds: list[str]
    marks: list[tuple[Mark, ...]]
    offsets: list[tuple[int, int]]
    ahead: list[bool]


def chosen(random: Random, weights: Mapping[str, float], count: int) -> list[str]:
    """Return so many kinds, each as often as its weight says."""
    return random.choices(list(weights), list(weights.values()), k=count)


def batch(
    random: Random,
    count: int,
    weights: Mapping[str, float],
    levels: Mapping[str, float],
    augment: Augment,
    ahead: float = 0.0,
) -> Batch:
    """Return pictures of several kinds.

    Args:
        random: decides everything.
        count: how many.
        weights: how often each kind is drawn.
        levels: how hard each is.
        augment: how far pictures are moved.
        ahead: share of them that is drawn harder than that.
    """
    kinds = chosen(random, weights, count)
    harder = [random.random() < ahead and levels[kind] < 1 for kind in kinds]
    lessons = [
        examples.lesson(kind, random, random.uniform(levels[kind], 1) if more else levels[kind])
        for kind, more in zip(kinds, harder, strict=True)
    ]
    offsets = [offset(random, augment.shift) for _ in lessons]
    arrays = [moved(pixels(one.images[0]), by) for one, by in zip(lessons, offsets, strict=True)]
    return _batch(arrays, lessons, kinds, offsets, harder)


def kept_lesson(kind: str, index: int) -> Lesson:
    """Return a lesson of one kind at its hardest: always the same, never trained on."""
    return examples.lesson(kind, examples.seeded(kind, "train", HELD_OUT, index), 1.0)


def held_out(kind: str, count: int, first: int = 0) -> Batch:
    """Return pictures of one kind at their hardest: always the same, never trained on."""
    lessons = [kept_lesson(kind, index) for index in range(first, first + count)]
    arrays = [pixels(one.images[0]) for one in lessons]
    return _batch(arrays, lessons, [kind] * count, [(0, 0)] * count, [False] * count)


def _batch(
    arrays: Sequence[Pixels],
    lessons: Sequence[Lesson],
    kinds: list[str],
    offsets: list[tuple[int, int]],
    ahead: list[bool],
) -> Batch:
    said = [captions(one.facts)[0] for one in lessons]
    marks = [one.marks for one in lessons]
    return Batch(torch.from_numpy(np.stack(arrays)), said, kinds, marks, offsets, ahead)


def pixels(image: Image.Image) -> Pixels:
    """Return a picture's pixels."""
    return np.asarray(image.convert("RGB"))


def offset(random: Random, most: int) -> tuple[int, int]:
    """Return how far down and to the right a picture is moved, up to `most` either way."""
    return random.randint(-most, most), random.randint(-most, most)


def moved(array: Pixels, by: tuple[int, int]) -> Pixels:
    """Return pixels moved; the edge is repeated where they leave."""
    side = np.arange(len(array))
    rows, columns = (np.clip(side - distance, 0, len(array) - 1) for distance in by)
    return array[rows[:, None], columns]


def light(random: Random, count: int, augment: Augment) -> tuple[torch.Tensor, torch.Tensor]:
    """Return contrasts and brightnesses of pictures, each (pictures, 1, 1), float32."""
    gains = [1 + random.uniform(-augment.gain, augment.gain) for _ in range(count)]
    lifts = [random.uniform(-augment.lift, augment.lift) for _ in range(count)]
    return torch.tensor(gains).view(-1, 1, 1), torch.tensor(lifts).view(-1, 1, 1)
