"""What a client is told when a request is refused or fails, in OpenAI's form."""

import logging

from starlette.responses import JSONResponse

from vlmchat.engine.service import NotReadyError
from vlmchat.errors import UsageError, VlmchatError

log = logging.getLogger(__name__)


class RefusedError(VlmchatError):
    """A request is not taken, for a reason that has an HTTP status of its own.

    Args:
        status: the HTTP status.
        message: one sentence that says what to do.
        code: for programs.
        retry_after: seconds after which to ask again; ``None`` where that is of no use.
    """

    def __init__(
        self, status: int, message: str, code: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


def error(status: int, message: str, code: str) -> JSONResponse:
    """Return an answer with an ``error`` object."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": code}}, status
    )


def refusal(problem: Exception) -> JSONResponse:
    """Return the answer that tells a client of `problem`."""
    if isinstance(problem, RefusedError):
        response = error(problem.status, str(problem), problem.code)
        if problem.retry_after is not None:
            response.headers["Retry-After"] = str(problem.retry_after)
        return response
    if isinstance(problem, NotReadyError):
        return error(503, str(problem), problem.code)
    if isinstance(problem, UsageError):
        return error(400, str(problem), problem.code)
    if isinstance(problem, VlmchatError):
        return error(500, str(problem), problem.code)
    log.error("an answer failed", exc_info=problem)
    return error(500, f"The engine failed: {failure_text(problem)}", "internal_error")


def failure_text(problem: Exception) -> str:
    """Return one sentence for an error nobody foresaw."""
    if isinstance(problem, MemoryError) or "out of memory" in str(problem).lower():
        return "out of memory; use fewer or smaller pictures, or a smaller model."
    return f"{type(problem).__name__} (the details are in the engine's log)."
