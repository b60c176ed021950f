"""Parting examples into those that are trained on and those that tell when to stop."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from vlmchat.errors import UsageError
from vlmchat.finetune.examples import Example


@dataclass(frozen=True, slots=True)
class Split:
    """Examples of either side, each in the order they came in."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]


def split(examples: Sequence[Example], share: float, seed: int) -> Split:
    """Part `examples` by conversation: no group is ever on both sides.

    Groups are drawn in an order that depends on their names and the seed alone, until the
    validation side has about `share` of the examples; with two groups or more, each side has at
    least one.

    Args:
        examples: what there is.
        share: of the examples for validation, from 0 to 0.9; 0 leaves that side empty.
        seed: another seed draws others.

    Raises:
        UsageError: the share is not in that range.
    """
    if not 0 <= share <= 0.9:
        raise UsageError("The share of examples for validation is from 0 to 0.9.")
    sizes: dict[str, int] = {}
    for example in examples:
        sizes[example.group] = sizes.get(example.group, 0) + 1
    names = sorted(sizes)
    random.Random(seed).shuffle(names)  # noqa: S311 - nothing secret
    taken: set[str] = set()
    wanted, count = share * len(examples), 0
    for name in names[:-1] if share else ():
        # A group that would lead further past what is wanted than leaving it out is passed over.
        if taken and abs(count + sizes[name] - wanted) >= abs(count - wanted):
            continue
        taken.add(name)
        count += sizes[name]
    return Split(
        tuple(example for example in examples if example.group not in taken),
        tuple(example for example in examples if example.group in taken),
    )
