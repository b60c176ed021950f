"""Connections: no more than there is room for, and none that keeps one waiting.

uvicorn bounds neither how many connections idle nor how long a request's head may take, so that a
few lines of anybody's script would keep everybody else out. Here a connection that asks nothing
makes room for the newest as soon as there are too many, whoever opened it.
"""

import asyncio
import contextlib
import sys
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from vlmchat.engine.http.limits import MEBIBYTE, Limits

_SPARE_FILES = 64
# Of a body that was refused before it was read: who sends it reads the refusal only afterwards.
_MOST_DISCARDED = 256 * MEBIBYTE
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)
_FULL_BODY = (
    b'{"error": {"message": "Too many connections are open: ask again soon.", '
    b'"type": "server_error", "param": null, "code": "too_many_connections"}}'
)


class Crowd:
    """All connections of one engine.

    Args:
        limits: how many, and how long they may idle.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._most = min(limits.connections, max(_files() - _SPARE_FILES, 1))
        self._open: set[Guarded] = set()
        # Those that ask nothing now, the longest first: who never asked, and who did.
        self._strangers: dict[Guarded, None] = {}
        self._idle: dict[Guarded, None] = {}

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def enter(self, one: "Guarded") -> bool:
        """Take in a connection, in the place of one that idles where there are too many."""
        if len(self._open) >= self._most:
            oldest = next(iter(self._strangers), None) or next(iter(self._idle), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.transport.abort()
        self._open.add(one)
        return True

    def idles(self, one: "Guarded", *, stranger: bool) -> None:
        """Note that a connection asks nothing."""
        if one in self._open and one not in self._strangers and one not in self._idle:
            (self._strangers if stranger else self._idle)[one] = None

    def asks(self, one: "Guarded") -> None:
        """Note that a connection has a request that is being answered."""
        self._strangers.pop(one, None)
        self._idle.pop(one, None)

    def leave(self, one: "Guarded") -> None:
        """Forget a connection."""
        self._open.discard(one)
        self.asks(one)


def _files() -> int:
    """Return how many files and connections this process may have open."""
    if sys.platform == "win32":
        return 1 << 16  # its event loop has no such bound
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 16 if soft == resource.RLIM_INFINITY else soft


class Guarded(H11Protocol):
    """One connection, with an end to its patience."""

    crowd: ClassVar[Crowd]

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **named)
        self._patience: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in = False
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it in, or say that there is no room."""
        super().connection_made(transport)
        self._in = self.crowd.enter(self)
        if self._in:
            self._note()
            return
        self.connections.discard(self)
        transport.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        for timer in (self._patience, self._stalled):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        self.crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless nobody wants it any more."""
        if not self._in or self.transport.is_closing():
            return
        if self._lingers():
            self._discarded += len(data)
            if self._discarded > _MOST_DISCARDED:
                self.transport.abort()
                return
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._discarded = 0
        self._note()

    def _lingers(self) -> bool:
        """Whether the rest of a body arrives that was refused before it was read."""
        cycle = self._asked()
        return (
            cycle is not None and cycle.response_complete and self.conn.their_state is h11.SEND_BODY
        )

    def _asked(self) -> RequestResponseCycle | None:
        """Return the last request and its answer; ``None`` before the first."""
        return self.cycle

    def _note(self) -> None:
        cycle = self._asked()
        if cycle is not None and not cycle.response_complete:
            self.crowd.asks(self)
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            return
        self.crowd.idles(self, stranger=cycle is None)
        if self._patience is None:
            # Not begun anew by each byte: a head, or what is left of a body, has this long in all.
            seconds = self.crowd.limits.head_seconds
            self._patience = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._patience = None
        self.transport.abort()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not take what it asked for."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.crowd.limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def shutdown(self) -> None:
        """Close it, or have it closed behind the answer that is under way."""
        with contextlib.suppress(h11.LocalProtocolError):  # in the middle of a refused body
            super().shutdown()
            return
        self.transport.close()


def guarded(crowd: Crowd) -> type[Guarded]:
    """Return the protocol of an engine's connections."""
    return type("GuardedBy", (Guarded,), {"crowd": crowd})
