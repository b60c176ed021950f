"""Decodes pictures beside the event loop, few at a time.

The pool is its own, so that a hundred large pictures neither fill the memory at once nor stand in
the way of what saves and reads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from vlmchat.errors import MediaError, VlmchatError

_T = TypeVar("_T")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="pictures")


async def in_pool(work: Callable[[], _T]) -> _T:
    """Return what `work` returns, done in a worker thread.

    Raises:
        VlmchatError: `work` raised it, or the memory did not suffice.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(_pool(), work)
    except MemoryError:
        raise MediaError("The picture does not fit into memory.") from None


async def or_sentence(work: Callable[[], _T]) -> _T | str:
    """Return what `work` returns, or the sentence of its error."""
    try:
        return await in_pool(work)
    except VlmchatError as error:
        return str(error)
