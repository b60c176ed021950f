"""Several pieces of work in flight at once, their results in the order of the items."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    work: Callable[[T], Awaitable[R]], items: Iterable[T], in_flight: int
) -> AsyncGenerator[R]:
    """Yield `work(item)` for each item in the items' order, at most `in_flight` at a time.

    Items are taken one by one when there is room, so that a list of millions may be a generator;
    a result that is done waits for those before it and keeps its place, so memory stays bounded
    by `in_flight`. Whoever stops reading early (`aclosing`, a `break`, Ctrl-C) cancels the rest.

    Args:
        work: What is done with an item. Errors are its own to catch: one that escapes ends the
            whole run, and cancels what is in flight.
        items: What to work on.
        in_flight: How many may be under way at once, at least 1.

    Yields:
        The results, in the order of the items.
    """
    if in_flight < 1:
        raise ValueError("at least one item must be in flight")
    waiting: deque[asyncio.Task[R]] = deque()
    rest = iter(items)

    async def run(item: T) -> R:
        return await work(item)

    try:
        more = True
        while more or waiting:
            while more and len(waiting) < in_flight:
                try:
                    item = next(rest)
                except StopIteration:
                    more = False
                else:
                    waiting.append(asyncio.create_task(run(item)))
            if waiting:
                await asyncio.wait((waiting[0],))
                yield waiting.popleft().result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def gathered(
    work: Callable[[T], Awaitable[R]], items: Iterable[T], in_flight: int
) -> list[R]:
    """All results of `in_order` as a list, for work that fits in memory."""
    async with aclosing(in_order(work, items, in_flight)) as results:
        return [result async for result in results]
