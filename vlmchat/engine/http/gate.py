"""Who is let in: the right machine name, the right web page, the right key."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlmchat.engine.http.errors import error

_PREFLIGHT_SECONDS = 600
# Names of headers, as a browser lists those that a page wants to send.
_NAMES = re.compile(rb"[A-Za-z0-9_-]+(?: *, *[A-Za-z0-9_-]+)*", re.ASCII)
_MOST_NAMES = 2000


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is let in.

    Attributes:
        keys: bearer tokens, any of which opens; none asks for none.
        origins: of web pages that may ask (``https://example.org``); ``*`` for all.
        hosts: names that requests may call this machine by, besides its loopback names; ``*`` for
            all, which is right where other machines are served.
    """

    keys: Sequence[str] = ()
    origins: Sequence[str] = ()
    hosts: Sequence[str] = ("*",)


class Gatekeeper:
    """Refuses strangers before anything of their request is read.

    A browser tells each server which page makes a request (``Origin``, ``Sec-Fetch-Site``), and
    by which name it reached the server (``Host``): a page whose own name was made to lead to this
    machine (DNS rebinding) is known by that name.

    Args:
        app: what is guarded.
        rules: who is let in.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules
        # Hashed, so that the time a comparison takes tells nothing of a key's length either.
        self._keys = [_hashed(key.encode()) for key in rules.keys]
        self._origins = {origin.lower().rstrip("/") for origin in rules.origins}
        self._hosts = {host.lower() for host in rules.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        refused = self._stranger(headers, origin)
        if refused is not None:
            await refused(scope, receive, send)
            return
        if origin:
            send = _open_to(origin, send)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            # It comes without a key: it asks whether a request with one may be made.
            await _preflight(headers)(scope, receive, send)
        elif not self._knows_key(headers.get(b"authorization", b"")):
            refused = error(401, "The API key is missing or wrong.", "invalid_api_key")
            refused.headers["WWW-Authenticate"] = "Bearer"
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _stranger(self, headers: dict[bytes, bytes], origin: str) -> Response | None:
        if not self._is_ours(headers.get(b"host", b"").decode("latin-1")):
            return error(
                403,
                "This engine is not called by that name: use 127.0.0.1 or localhost, or start it "
                "with --allow-host.",
                "forbidden_host",
            )
        site = headers.get(b"sec-fetch-site", b"none")
        foreign = bool(origin) or site not in (b"none", b"same-origin")
        if foreign and "*" not in self._origins and origin.lower() not in self._origins:
            return error(
                403,
                "Requests from web pages are not allowed: start the engine with --allow-origin.",
                "forbidden_origin",
            )
        return None

    def _is_ours(self, host: str) -> bool:
        if "*" in self._hosts:
            return True
        name = host.rpartition(":")[0] if re.search(r":\d*\Z", host) else host
        name = name.strip("[]").lower().rstrip(".")
        if name == "localhost" or name in self._hosts:
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    def _knows_key(self, authorization: bytes) -> bool:
        if not self._keys:
            return True
        scheme, _, given = authorization.partition(b" ")
        digest = _hashed(given.strip())
        # All of them, whichever it is: the time it takes does not say which.
        found = [secrets.compare_digest(digest, key) for key in self._keys]
        return any(found) and scheme.lower() == b"bearer"


def _hashed(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _preflight(headers: dict[bytes, bytes]) -> Response:
    """Return what tells a browser that the page may ask (the Fetch standard, section 3.3)."""
    response = Response(status_code=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, POST"
    response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
    wanted = headers.get(b"access-control-request-headers", b"")
    if len(wanted) <= _MOST_NAMES and _NAMES.fullmatch(wanted):
        response.headers["Access-Control-Allow-Headers"] = wanted.decode()
    if headers.get(b"access-control-request-private-network") == b"true":
        response.headers["Access-Control-Allow-Private-Network"] = "true"
    return response


def _open_to(origin: str, send: Send) -> Send:
    """Let the page of `origin` read what is sent to it."""

    async def opened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
            headers.add_vary_header("Origin")
        await send(message)

    return opened
