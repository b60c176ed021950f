"""Drawn pictures for widgets that draw many of them line by line."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from textual.widget import Widget

from vlmchat.tui.drawing import Drawn

Key = TypeVar("Key", bound=Hashable)


class Shelf(Generic[Key]):
    """Makes the pictures that were asked for last first, and keeps the most recent ones.

    Args:
        widget: refreshed when a picture is there.
        make: returns a picture, or the sentence of why there is none.
        kept: how many are kept.
    """

    def __init__(
        self, widget: Widget, make: Callable[[Key], Awaitable[Drawn | str]], kept: int = 256
    ) -> None:
        self._widget = widget
        self._make = make
        self._kept = kept
        self._there: OrderedDict[Key, Drawn | str] = OrderedDict()
        self._wanted: dict[Key, None] = {}
        self._makers = 0

    def get(self, key: Key) -> Drawn | str | None:
        """Return the picture, or have it made when it is not there."""
        found = self._there.get(key)
        if found is not None:
            self._there.move_to_end(key)
        elif key not in self._wanted:
            self._wanted[key] = None
            if self._makers < 2:
                self._makers += 1
                self._widget.run_worker(self._work(), group="shelf")
        return found

    def forget_wishes(self) -> None:
        """Make no more of what is not in view any longer."""
        self._wanted.clear()

    def clear(self) -> None:
        """Forget all pictures."""
        self._wanted.clear()
        for drawn in self._there.values():
            _release(drawn)
        self._there.clear()

    async def _work(self) -> None:
        try:
            while self._wanted:
                key = next(iter(self._wanted))
                del self._wanted[key]
                drawn = await self._make(key)
                _release(self._there.pop(key, ""))
                self._there[key] = drawn
                while len(self._there) > self._kept:
                    _release(self._there.popitem(last=False)[1])
                self._widget.refresh()
        finally:
            self._makers -= 1


def _release(drawn: Drawn | str) -> None:
    if not isinstance(drawn, str):
        drawn.release()
