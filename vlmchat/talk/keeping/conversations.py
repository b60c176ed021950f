"""Going from one conversation to another, and what is done with whole conversations."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.store.records import Thread
from vlmchat.talk.keeping.library import Library
from vlmchat.talk.keeping.store_recorder import DRAFT, StoreRecorder
from vlmchat.talk.session import ChatSession
from vlmchat.talk.turns.tree import Turn, copy_of_path

if TYPE_CHECKING:
    from vlmchat.store.store import Store

# Deleted conversations can be brought back for so long.
KEPT_SECONDS = 30 * 24 * 3600.0


class Conversations:
    """The saved conversations, seen from the session that shows one of them.

    Args:
        session: shows the present conversation.
        library: where they are kept.
        recorder: saves the present one.
    """

    def __init__(self, session: ChatSession, library: Library, recorder: StoreRecorder) -> None:
        self.library = library
        self._session = session
        self._recorder = recorder
        self._deleted: list[int] = []

    @property
    def current(self) -> int | None:
        """The number of the conversation that is shown; ``None`` while it is not saved."""
        return self._recorder.thread

    async def threads(self, archived: bool = False) -> list[Thread]:
        """Return the conversations, pinned first, then the newest."""
        return await self.library.run(lambda store: store.threads(archived=archived, limit=100_000))

    async def open(self, thread: int) -> None:
        """Show a conversation.

        Raises:
            StoreError: it cannot be read.
        """
        conversation = await self.library.run(lambda store: store.conversation(thread))
        await self._session.open(conversation, thread)

    async def turn_of(self, message: int) -> Turn | None:
        """Return the turn of this conversation that is saved under that number."""
        thread = self.current
        if thread is None:
            return None
        ids = await self.library.run(lambda store: store.message_ids(thread))
        uid = next((uid for uid, number in ids.items() if number == message), None)
        return self._session.tree.find(uid) if uid else None

    async def open_last(self) -> bool:
        """Show the conversation that was used last; false when there is none."""
        threads = [item for item in await self.threads() if item.tip is not None]
        if not threads:
            return False
        await self.open(max(threads, key=lambda item: item.updated).id)
        return True

    async def fork(self, turn: Turn) -> None:
        """Go on from `turn` in a conversation of its own; this one stays as it is.

        Raises:
            StoreError: it cannot be written.
        """
        whole = replace(self._session.value(), tip=turn.uid)
        title = f"{self._session.title} (fork)".strip()
        copy = copy_of_path(whole, title)
        (number,) = await self.library.run(lambda store: store.restore(copy))
        await self._session.open(copy, number)

    async def change(self, thread: int, **values: str | bool | float | None) -> None:
        """Rename, pin or archive a conversation.

        Raises:
            StoreError: it cannot be written.
        """
        if thread == self.current and "title" in values:
            self._session.title = str(values["title"])
        await self.library.run(lambda store: store.change_thread(thread, **values))

    async def delete(self, thread: int) -> None:
        """Delete a conversation, in a way that can be undone; leave it if it is shown.

        Raises:
            StoreError: it cannot be written.
        """
        if thread == self.current:
            await self._session.reset()
        await self.change(thread, deleted=time.time())
        self._deleted.append(thread)

    async def undelete(self) -> int:
        """Bring back the conversation that was deleted last, and return its number.

        Raises:
            UsageError: none was deleted.
            StoreError: it cannot be written.
        """
        if not self._deleted:
            raise UsageError("Nothing was deleted since the chat was opened.")
        thread = self._deleted.pop()
        await self.change(thread, deleted=None)
        return thread

    def clean(self) -> None:
        """Remove for good what was deleted long ago, soon."""

        def purge(store: "Store") -> None:
            store.purge(time.time() - KEPT_SECONDS)

        self.library.post(purge)

    # What was written before ------------------------------------------------------------------

    async def draft(self) -> str:
        """Return what stood in the composer of this conversation."""
        thread = self.current

        def read(store: "Store") -> str:
            if thread is None:
                return str(store.remembered(DRAFT) or "")
            return store.thread(thread).draft

        return await self.library.run(read)

    async def asked(self, limit: int, everywhere: bool) -> list[str]:
        """Return what the person asked, newest first, here or in all conversations."""
        thread = None if everywhere else self.current
        if thread is None and not everywhere:
            return []
        return await self.library.run(lambda store: store.asked(thread, limit))
