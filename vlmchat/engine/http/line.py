"""The requests that wait for their answer: how many there may be, and how they end with the engine.

What computes the answers has an order of its own; here is only counted who was let in.
"""

import math
import threading
import time
from collections.abc import Container
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.http.errors import RefusedError, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

PLACE = "vlmchat.place"
"""Where a request's scope holds its place in the line."""
_LONGEST_RETRY = 60
_WEIGHT = 0.2  # of the newest answer in the average


class Place:
    """One request in the line."""

    def __init__(self) -> None:
        self.cut = False
        self._cancel: threading.Event | None = None

    def stopped_by(self, cancel: threading.Event) -> None:
        """Have `cancel` set when the engine cannot wait for this request any longer."""
        self._cancel = cancel
        if self.cut:
            cancel.set()

    def end(self) -> None:
        """Stop what is being computed for it."""
        self.cut = True
        if self._cancel is not None:
            self._cancel.set()


class Line:
    """Who was let in and is not answered yet.

    Args:
        most: how many that may be; 0 for any number.
    """

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.stopping = False
        self._places: set[Place] = set()
        self._seconds = 1.0
        self._moved = 0.0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places)

    def place(self) -> "AbstractContextManager[Place]":
        """Hold a place for the length of a block.

        Raises:
            RefusedError: there is none.
        """
        if self.stopping:
            raise stopping()
        if self.most and len(self._places) >= self.most:
            seconds = min(max(math.ceil(self._seconds), 1), _LONGEST_RETRY)
            raise RefusedError(
                429,
                f"{len(self._places)} requests wait for an answer already: ask again in "
                f"{seconds} {'second' if seconds == 1 else 'seconds'}.",
                "queue_full",
                seconds,
            )
        return self._held()

    @contextmanager
    def _held(self) -> "Iterator[Place]":
        place = Place()
        self._places.add(place)
        began = time.monotonic()
        try:
            yield place
        finally:
            self._places.discard(place)
            # How long the line takes to move on by one, however many are answered together.
            now = time.monotonic()
            self._seconds += _WEIGHT * (now - max(began, self._moved) - self._seconds)
            self._moved = now

    def cut(self) -> None:
        """End all answers that are under way; each says why."""
        for place in self._places:
            place.end()


def stopping() -> RefusedError:
    """Return what is said to those whom the engine cannot answer any more."""
    return RefusedError(
        503,
        "The engine is being stopped: ask again when it has been started anew.",
        "stopping",
    )


def why(request: "Request", problem: Exception) -> Exception:
    """Return what a client is told of `problem`: that the engine stops, where that is why."""
    place: Place | None = request.scope.get(PLACE)
    return stopping() if place and place.cut and isinstance(problem, CancelledError) else problem


class Turnstile:
    """Lets in as many requests as the line may hold.

    Args:
        app: what answers them.
        line: where they wait.
        paths: those whose requests wait for the model; others pass.
    """

    def __init__(self, app: ASGIApp, line: Line, paths: Container[str]) -> None:
        self._app = app
        self._line = line
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on one request; its place is its own until the last byte is sent."""
        if scope["type"] != "http" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        try:
            held = self._line.place()
        except RefusedError as problem:
            await refusal(problem)(scope, receive, send)
            return
        with held as place:
            scope[PLACE] = place
            await self._app(scope, receive, send)
