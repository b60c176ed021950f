"""The body of a request."""

import asyncio
import json
from typing import Any

from starlette.requests import Request

from vlmchat.engine.http.errors import RefusedError
from vlmchat.engine.http.limits import MEBIBYTE, Limits
from vlmchat.errors import UsageError

_QUICK = MEBIBYTE  # what is parsed within a few milliseconds, on the event loop


async def read_json(request: Request) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return the request's JSON body.

    Raises:
        RefusedError: too large, or not sent in time.
        UsageError: not JSON.
    """
    limits: Limits = request.scope.get(LIMITS) or Limits()
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limits.body_bytes:
        raise _too_large(limits)  # before a byte of it is kept
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        raise RefusedError(
            408,
            f"The request's body did not arrive within {limits.body_seconds:g} seconds: send it "
            "again, with fewer or smaller pictures.",
            "body_timeout",
        ) from None
    try:
        if len(body) <= _QUICK:
            return json.loads(body)
        return await asyncio.to_thread(json.loads, body)
    except (ValueError, RecursionError):
        raise UsageError("The request's body is not JSON.") from None


LIMITS = "vlmchat.limits"
"""Where a request's scope holds the limits of its engine."""


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(
        413,
        f"The request is larger than {limits.body_bytes / MEBIBYTE:g} MiB: send fewer or smaller "
        "pictures.",
        "request_too_large",
    )
