"""Several pieces of work in flight: order, bounds, errors, stopping."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from vlmchat.batch.flight import gathered, in_order


async def test_results_keep_the_order_whatever_finishes_first() -> None:
    gates = [asyncio.Event() for _ in range(6)]
    started: list[int] = []
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    async def work(number: int) -> int:
        started.append(number)
        if number + 1 < len(gates):
            await gates[number].wait()  # the last of the three ends first, the first last
        gates[number - 1].set()
        return number * 10

    async def first_three() -> list[int]:
        gates[2].set()
        async with aclosing(in_order(work, items(), 3)) as results:
            return [await anext(results) for _ in range(3)]

    assert await first_three() == [0, 10, 20]
    assert max(taken) <= 5 and started[:3] == [0, 1, 2]
    assert len(taken) <= 5, "no more than three beyond what was read"


async def test_stopping_early_cancels_what_is_in_flight() -> None:
    ended: list[int] = []

    async def work(number: int) -> int:
        try:
            if number:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(number)
            raise
        return number

    async with aclosing(in_order(work, range(100), 4)) as results:
        assert await anext(results) == 0
        await asyncio.sleep(0)
    assert ended == [1, 2, 3]


async def test_an_error_that_escapes_ends_the_run_and_cancels_the_rest() -> None:
    ended: list[int] = []

    async def work(number: int) -> int:
        if number == 1:
            await asyncio.sleep(0)  # the others have begun
            raise OSError("gone")
        try:
            await asyncio.sleep(0 if number == 0 else 60)
        except asyncio.CancelledError:
            ended.append(number)
            raise
        return number

    with pytest.raises(OSError, match="gone"):
        await gathered(work, range(10), 3)
    assert ended == [2, 3]
    with pytest.raises(ValueError, match="at least one"):
        await gathered(work, range(2), 0)
