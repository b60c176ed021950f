"""What goes with the next question: files are read in the order they were named."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vlmchat.chat.messages import Attachment, ImagePart, Media, VideoPart
from vlmchat.errors import VlmchatError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.media.attaching import Attached
    from vlmchat.media.video.plan import Sampling

    Coming: TypeAlias = Callable[[], Awaitable[Media | Attached]]


class Attachments:
    """The pictures and videos of the next question.

    Args:
        changed: told that there are others now, or that more or fewer are being read.
        trouble: told the sentence of a file that cannot be attached.
        note: told what a person should know of a file that was attached.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        trouble: Callable[[str], None],
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._changed = changed
        self._trouble = trouble
        self._note = note
        self._items: list[Attachment] = []
        # First come, first served: a question waits for the pictures that were named before it.
        self._in_order = asyncio.Lock()
        self.reading = 0
        # How many frames of a video there is room for in the context.
        self.room: Callable[[], int | None] = lambda: None
        # How the frames of videos were chosen, by their digests, where a person said how.
        self.samplings: dict[str, Sampling] = {}

    def __bool__(self) -> bool:
        """Say whether anything is attached or about to be."""
        return bool(self._items) or self.reading > 0

    @property
    def items(self) -> list[Attachment]:
        """What is attached; set it to attach other things instead."""
        return list(self._items)

    @items.setter
    def items(self, items: Sequence[Attachment]) -> None:
        self._items = list(items)
        self._changed()

    @property
    def media(self) -> list[Media]:
        """The media that are attached."""
        return [item.media for item in self._items]

    def settled(self) -> AbstractAsyncContextManager[None]:
        """Wait until everything that was named so far is read."""
        return self._in_order

    def take(self) -> tuple[Attachment, ...]:
        """Return what is attached, and attach nothing."""
        items = tuple(self._items)
        self.items = []
        return items

    def add(self, item: Attachment | Media) -> None:
        """Attach what is at hand, once; a bare medium is a picture."""
        item = ImagePart(item) if isinstance(item, Media) else item
        if item not in self._items:
            self._items.append(item)
            self._changed()

    def replace(self, old: Attachment, new: Attachment) -> None:
        """Have `new` in the place of `old`, if that is still there."""
        if old in self._items:
            self._items[self._items.index(old)] = new
            self._changed()

    async def read(self, paths: Sequence[Path]) -> None:
        """Attach these files; what cannot be attached is told."""
        self.reading += len(paths)
        self._changed()
        async with self._in_order:
            for path in paths:
                await self._come(partial(asyncio.to_thread, _load, path, self.room()))

    async def come(self, coming: "Coming") -> None:
        """Attach what `coming` brings; a question sent meanwhile waits for it."""
        self.reading += 1
        self._changed()
        async with self._in_order:
            await self._come(coming)

    async def sample(self, item: VideoPart, sampling: "Sampling") -> None:
        """Have a video that is attached looked at in other frames."""
        from vlmchat.media.attaching import sampled_anew

        async def work() -> None:
            new = await asyncio.to_thread(sampled_anew, item, sampling)
            self.take_frames(item, new, sampling)

        await self.change(work)

    def take_frames(
        self, old: VideoPart, new: "Attached", sampling: "Sampling | None" = None
    ) -> None:
        """Have a video with other frames in the place of `old`, and tell what is to be known.

        Args:
            old: nothing is done where it is no longer attached.
            new: the same video.
            sampling: how its frames were chosen; ``None`` if that is as it was.
        """
        if sampling is not None:
            self.samplings[old.media.sha256] = sampling
        self.replace(old, new.part)
        for note in new.notes:
            self._note(note)

    async def change(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` on what is attached, once all that was named before is read."""
        self.reading += 1
        self._changed()
        async with self._in_order:
            try:
                await work()
            except VlmchatError as error:
                self._trouble(str(error))
            finally:
                self.reading -= 1
                self._changed()

    async def _come(self, coming: "Coming") -> None:
        try:
            found = await coming()
            if isinstance(found, Media):
                self.add(found)
                return
            self.add(found.part)
            for note in found.notes:
                self._note(f"“{visible_line(found.part.media.name)}”: {note}")
        except VlmchatError as error:
            self._trouble(str(error))
        except MemoryError:
            self._trouble("A file does not fit into memory: make it smaller.")
        finally:
            self.reading -= 1
            self._changed()


def sampling(attachments: Attachments, video: Media) -> "Coming":
    """Return what brings a video that lies in the store, with frames as the rules say."""

    def load() -> "Attached":
        from vlmchat.media.attaching import sampled_anew, within
        from vlmchat.media.rules import rules
        from vlmchat.media.storyboard import first_clip

        return sampled_anew(first_clip(video), within(rules().sampling, attachments.room()))

    return partial(asyncio.to_thread, load)


def _load(path: Path, room: int | None) -> "Attached":
    from vlmchat.media.attaching import attach, within
    from vlmchat.media.rules import rules

    return attach(path, sampling=within(rules().sampling, room))
