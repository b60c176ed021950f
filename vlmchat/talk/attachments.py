"""What goes with the next question: files are read in the order they were named."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from vlmchat.chat.messages import Media
from vlmchat.errors import VlmchatError
from vlmchat.text import visible_line


class Attachments:
    """The pictures of the next question.

    Args:
        changed: told that there are others now, or that more or fewer are being read.
        trouble: told the sentence of a file that cannot be attached.
    """

    def __init__(self, changed: Callable[[], None], trouble: Callable[[str], None]) -> None:
        self._changed = changed
        self._trouble = trouble
        self._media: list[Media] = []
        # First come, first served: a question waits for the pictures that were named before it.
        self._in_order = asyncio.Lock()
        self.reading = 0

    def __bool__(self) -> bool:
        """Say whether anything is attached or about to be."""
        return bool(self._media) or self.reading > 0

    @property
    def media(self) -> list[Media]:
        """What is attached; set it to attach other things instead."""
        return list(self._media)

    @media.setter
    def media(self, media: Sequence[Media]) -> None:
        self._media = list(media)
        self._changed()

    def settled(self) -> AbstractAsyncContextManager[None]:
        """Wait until everything that was named so far is read."""
        return self._in_order

    def take(self) -> tuple[Media, ...]:
        """Return what is attached, and attach nothing."""
        media = tuple(self._media)
        self.media = []
        return media

    def add(self, media: Media) -> None:
        """Attach a picture that is at hand, once."""
        if media not in self._media:
            self._media.append(media)
            self._changed()

    async def read(self, paths: Sequence[Path]) -> None:
        """Attach these files; what cannot be attached is told."""
        self.reading += len(paths)
        self._changed()
        async with self._in_order:
            for path in paths:
                try:
                    self.add(await asyncio.to_thread(_load, path))
                except VlmchatError as error:
                    self._trouble(str(error))
                except MemoryError:
                    name = visible_line(path.name)
                    self._trouble(f"“{name}” does not fit into memory: make it smaller.")
                finally:
                    self.reading -= 1
                    self._changed()

    async def come(self, coming: Callable[[], Awaitable[Media]]) -> None:
        """Attach what `coming` brings; a question sent meanwhile waits for it."""
        self.reading += 1
        self._changed()
        async with self._in_order:
            try:
                self.add(await coming())
            except VlmchatError as error:
                self._trouble(str(error))
            except MemoryError:
                self._trouble("That picture does not fit into memory: make it smaller.")
            finally:
                self.reading -= 1
                self._changed()


def _load(path: Path) -> Media:
    from vlmchat.media.images import load_media

    return load_media(path)
