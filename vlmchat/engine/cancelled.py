"""Ending work from outside, in the middle of it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import nn

Check: TypeAlias = Callable[[], None]
"""Called between pieces of the work; it raises to stop there."""


class CancelledError(Exception):
    """The one who asked went away."""


def unstopped() -> None:
    """Let the work go on, whatever happens; a `Check`."""


@contextmanager
def interruptible(layers: "Iterable[nn.Module]", check: Check) -> Iterator[None]:
    """Have `check` called before each of the library's layers."""
    hooks = [layer.register_forward_pre_hook(lambda *_: check()) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
