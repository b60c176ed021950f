"""The store, used by the chat without waiting for it.

All work on the database is done by one thread of its own, in the order it was asked for.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from vlmchat.errors import VlmchatError
from vlmchat.store.store import Store
from vlmchat.text import visible_line

_T = TypeVar("_T")


class Library:
    """The conversations on this machine.

    Args:
        store: open; closed by `close`.
        trouble: told, once, the sentence of the first write that failed. From then on nothing is
            written any more, for what is half saved would only mislead.
    """

    def __init__(self, store: Store, trouble: Callable[[str], None]) -> None:
        self._store = store
        self._trouble = trouble
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._loop = asyncio.get_running_loop()
        self.broken = False

    async def run(self, work: Callable[[Store], _T]) -> _T:
        """Return what `work` makes of the store.

        Raises:
            StoreError: it cannot be read or written.
        """
        return await self._loop.run_in_executor(self._writer, work, self._store)

    def post(self, work: Callable[[Store], None]) -> None:
        """Have `work` done soon; what goes wrong is told to `trouble`."""

        def carefully() -> None:
            if self.broken:
                return
            try:
                work(self._store)
            except VlmchatError as error:
                self._break(str(error))
            except Exception as error:
                self._break(
                    "The conversation could not be saved "
                    f"({type(error).__name__}: {visible_line(str(error))})."
                )

        self._writer.submit(carefully)

    def _break(self, sentence: str) -> None:
        self.broken = True
        self._loop.call_soon_threadsafe(self._trouble, sentence)

    def media_data(self, sha256: str) -> bytes:
        """Return the bytes of a medium; blocking, but safe to call from any thread."""
        return self._store.media_data(sha256)

    def media_path(self, sha256: str) -> Path:
        """Return where a medium lies or would lie."""
        return self._store.media_path(sha256)

    async def close(self) -> None:
        """Write what is still to be written and close the store."""
        await asyncio.to_thread(self._writer.shutdown)
        self._store.close()
