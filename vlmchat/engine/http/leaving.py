"""Clients that hang up before they have their answer."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

from starlette.requests import Request

from vlmchat.engine.http.line import PLACE, Place


async def until_gone(request: Request, cancel: threading.Event) -> None:
    """Set `cancel` when the client hangs up, or the engine cannot wait for the answer any longer.

    The request's body must have been read.
    """
    place: Place | None = request.scope.get(PLACE)
    if place is not None:
        place.stopped_by(cancel)
    while (await request.receive())["type"] != "http.disconnect":
        pass
    cancel.set()


@contextlib.asynccontextmanager
async def stopped_on_leaving(request: Request) -> AsyncIterator[threading.Event]:
    """Give an event that is set when the client hangs up, also while its work waits its turn.

    The request's body must have been read. The event is set at the end, too, however it came.
    """
    cancel = threading.Event()
    watcher = asyncio.create_task(until_gone(request, cancel))
    try:
        yield cancel
    finally:
        watcher.cancel()
        cancel.set()
