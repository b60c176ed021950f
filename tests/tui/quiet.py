"""Lets the pilot wait until the app is quiet, and no longer.

Textual's own pilot looks at the processor's time in steps of 20 ms, and begins anew for a
millisecond of work, be it a server's thread that the test itself runs: a key press takes 60 to
100 ms, and up to a second while an answer streams. Here the steps are short, the screen is painted
soon, and work that was handed to a thread counts as long as it lasts, even when it only waits for
the disk.
"""

import asyncio
from time import monotonic, process_time
from typing import Any

import textual.app
import textual.pilot
import textual.screen

FRAME = 1 / 250
"""Seconds between two paintings of a screen; Textual's own is 1/60."""
_STEP = 0.005
_STEPS = 2
_WORK = 0.0005
_THREADS = 0.3
"""The longest time in seconds that threads are waited for: some only listen."""


def _threads_at_work() -> bool:
    """Return whether a thread of `asyncio.to_thread` or of a worker has something to do."""
    executor: Any = getattr(asyncio.get_running_loop(), "_default_executor", None)
    if executor is None:
        return False
    idle: int = executor._idle_semaphore._value
    return bool(executor._work_queue.qsize() or len(executor._threads) > idle)


async def until_quiet(min_sleep: float = 0, max_sleep: float = 1) -> None:
    """Wait until the process has had next to nothing to do for two steps in a row.

    Args:
        min_sleep: seconds it takes at least.
        max_sleep: seconds it takes at most.
    """
    began = monotonic()
    steps = 0
    while monotonic() - began < max_sleep:
        worked = process_time()
        await asyncio.sleep(_STEP)
        busy = process_time() - worked > _WORK
        took = monotonic() - began
        if busy or (took < _THREADS and _threads_at_work()):
            steps = 0
        else:
            steps += 1
        if steps >= _STEPS and took > min_sleep:
            break


def install() -> None:
    """Have every pilot wait so."""
    textual.screen.UPDATE_PERIOD = FRAME  # type: ignore[misc]
    for module in (textual.app, textual.pilot):
        module.wait_for_idle = until_quiet  # type: ignore[attr-defined]
