"""Answers that were not streamed: what is in them, and which errors bad ones mean."""

import contextlib
from typing import Any

import httpx2 as httpx

from vlmchat.client.dialects import error_text
from vlmchat.errors import EngineBusyError, EngineError, UsageError
from vlmchat.text import visible_line

_EXCERPT = 200


def json_of(response: httpx.Response, root: str) -> dict[str, Any]:
    """Return the JSON object of a good answer.

    Args:
        response: read to its end.
        root: the server's address.

    Raises:
        UsageError: the request was at fault.
        EngineBusyError: another time it may go.
        EngineError: the engine failed, or is none.
    """
    code = response.status_code
    try:
        body = response.json()
    except ValueError:
        body = None
    said = said_in(body)
    where = visible_line(root)
    if code in (401, 403):
        raise EngineError(
            f"The engine at {where} refused the key (HTTP {code}): give the right one."
        )
    if code == 404 and not said:
        raise EngineError(
            f"The server at {where} has no chat-completions API (HTTP 404): "
            "check the address; it usually ends in /v1."
        )
    if code in (400, 404, 413, 422):
        raise UsageError(said or f"The engine at {where} refused the request (HTTP {code}).")
    if code == 429:
        after = response.headers.get("retry-after", "")
        when = f"in {after} seconds" if after.isdecimal() else "later"
        raise _busy(response, f"The engine at {where} has no time now: ask again {when}.")
    if code == 503:
        raise _busy(response, said or f"The engine at {where} is busy (HTTP 503).")
    if code != 200:
        detail = f": {said}" if said else "."
        raise EngineError(f"The engine at {where} failed (HTTP {code}){detail}")
    if not isinstance(body, dict):
        raise garbage(response, root)
    return body


def garbage(response: httpx.Response, root: str) -> EngineError:
    """Return what is said of a server that answers something else."""
    excerpt = visible_line(response.text[:_EXCERPT]).strip()
    return EngineError(
        f"The server at {visible_line(root)} does not speak the chat-completions API "
        f"(it answered “{excerpt or 'nothing'}”): check the address."
    )


def _busy(response: httpx.Response, sentence: str) -> EngineBusyError:
    error = EngineBusyError(sentence)
    with contextlib.suppress(ValueError):  # it may be a date, which nobody sends
        error.after = max(0.0, float(response.headers.get("retry-after", "0")))
    return error


def reason(error: Exception) -> str:
    """Return in a few words what went wrong."""
    return visible_line(str(error)).strip().rstrip(".") or type(error).__name__


def said_in(body: object) -> str:
    """Return the sentence in the body of an error, empty if there is none."""
    return visible_line(error_text(body))
