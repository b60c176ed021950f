"""What every patch is told beside the caption: what stands there, its number, and its colour.

A caption says only what a whole picture shows, so that its first letters are learned long before a
tower knows where letters are. The drawings know it, and so each patch in the middle of the tower is
asked, by a linear layer that is thrown away after training (dense labels of tokens beside the one
of the picture: LV-ViT, arXiv:2104.10858). Its halves are asked apart, as letters are narrower than
a patch.
"""

import math
import string
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everywhere

from vlmchat.demo.drawing import canvas, captions, charts, facts
from vlmchat.demo.drawing.facts import Mark
from vlmchat.demo.training.settings import Marks
from vlmchat.demo.training.tower import Shape

_NUMBERS = 101  # that stand in charts, from 0
_UNKNOWN = -100
FORMS: tuple[str, ...] = tuple(
    dict.fromkeys(
        (
            "",
            facts.BAR,
            *canvas.SHAPES,
            *string.digits,
            *string.ascii_letters,
            *map(str, range(_NUMBERS)),
            *charts.LABELS,
            *charts.TITLES,
        )
    )
)
"""What can stand at a place; the first is nothing."""
ORDERS = captions.LETTER_PLACES
COLOURS = tuple(canvas.COLOURS)
HALVES = 2
"""Parts of a patch, left and right, that are asked one by one."""
CLASSES = len(FORMS) + ORDERS + len(COLOURS)
"""What a half can say: forms, numbers and colours one behind the other."""
OUTPUTS = HALVES * CLASSES
"""Outputs of the layer: the left half's, then the right half's."""
_FORM = {form: place for place, form in enumerate(FORMS)}
_COLOUR = {colour: place for place, colour in enumerate(COLOURS)}


def wanted(
    shape: Shape, marks: Sequence[Sequence[Mark]], offsets: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """Return what the halves of the patches of pictures are to say.

    A mark takes the halves whose centres it covers, or the one that its own centre lies in.

    Args:
        shape: of the tower.
        marks: of each picture; of one without any, nothing is asked.
        offsets: how far down and to the right each picture was moved, pixels.

    Returns:
        (pictures, patches, halves, 3), int64: form, number and colour; what is not known or not
        asked is -100.
    """
    grid, size = shape.grid, shape.patch
    found = np.full((len(marks), grid, grid * HALVES, 3), _UNKNOWN)
    for number, (of_one, (down, right)) in enumerate(zip(marks, offsets, strict=True)):
        if of_one:
            found[number, :, :, 0] = 0
        for mark in of_one:
            left, top, end, low = mark.box
            across = _parts(left + right, end + right, size / HALVES, grid * HALVES)
            along = _parts(top + down, low + down, size, grid)
            order = mark.order if 0 <= mark.order < ORDERS else _UNKNOWN
            colour = _COLOUR[mark.colour] if mark.colour else _UNKNOWN
            found[number, along, across] = (_FORM.get(mark.says, _UNKNOWN), order, colour)
    return torch.from_numpy(found.reshape(len(marks), grid * grid, HALVES, 3))


def _parts(low: float, high: float, size: float, count: int) -> slice:
    """Return the parts of a row whose centres lie between two places, one at the least.

    Args:
        low: one place, pixels.
        high: the other.
        size: of a part, pixels.
        count: how many there are.
    """
    first, end = (math.ceil(edge / size - 0.5) for edge in (low, high))
    if end <= first:
        first = int((low + high) / 2 // size)
        end = first + 1
    return slice(min(max(first, 0), count - 1), min(max(end, 1), count))


class MarkLoss(nn.Module):
    """The loss of what patches say against what they are to say.

    Args:
        settings: weights.
    """

    def __init__(self, settings: Marks) -> None:
        super().__init__()
        self._settings = settings

    def forward(
        self, said: torch.Tensor, classes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss, a single number, and how much of each picture is said right.

        Args:
            said: (pictures, patches, `OUTPUTS`), logits.
            classes: (pictures, patches, halves, 3), int64.

        Returns:
            The loss, and of what stands in each picture the share whose form is right, (pictures,).
        """
        sizes = [len(FORMS), ORDERS, len(COLOURS)]
        parts = torch.split(said.float().reshape(-1, CLASSES), sizes, 1)
        asked = classes.flatten(0, 2)
        form = F.cross_entropy(parts[0], asked[:, 0], ignore_index=_UNKNOWN, reduction="none")
        # Most halves are empty: together they count as much as this share of the others.
        blank, filled = asked[:, 0] == 0, asked[:, 0] > 0
        whole = _mean(form, filled) + self._settings.blank * _mean(form, blank)
        for number in (1, 2):
            each = F.cross_entropy(
                parts[number], asked[:, number], ignore_index=_UNKNOWN, reduction="none"
            )
            whole = whole + _mean(each, asked[:, number] >= 0)
        right = (filled & (parts[0].argmax(1) == asked[:, 0])).view(len(said), -1).sum(1)
        return self._settings.weight * whole, right / filled.view(len(said), -1).sum(1).clamp(min=1)


def _mean(each: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return (each * chosen).sum() / chosen.sum().clamp(min=1)
