"""How much of this machine the clients of one engine may take."""

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request, a connection and all of them together may take.

    Attributes:
        body_bytes: of one request's body.
        body_seconds: for a body to arrive.
        head_bytes: of a request's first line and headers.
        head_seconds: for them to arrive, and for a connection that asks nothing.
        stall_seconds: for a client to take what was sent to it.
        connections: open at once.
        pictures: pictures and videos in one request; 0 for any number.
        queue: requests that are admitted and not answered yet; 0 for any number.
        stop_seconds: for answers to end once the engine is told to stop.
    """

    body_bytes: int = 512 * MEBIBYTE
    body_seconds: float = 120.0
    head_bytes: int = 32 * 1024
    head_seconds: float = 10.0
    stall_seconds: float = 60.0
    connections: int = 1024
    pictures: int = 0
    queue: int = 0
    stop_seconds: float = 5.0
