"""Pictures from the web, when the person allows it.

Nothing is fetched from a host that was not allowed, redirects included; no cookies, no
credentials, no referrer are sent, and what arrives is checked as any file that nobody vouches for.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from vlmchat.chat.messages import Media
from vlmchat.errors import MediaError
from vlmchat.media.images import media_from_bytes
from vlmchat.media.rules import Limits, limits_or_rules
from vlmchat.text import human_bytes, visible_line

if TYPE_CHECKING:
    import httpx2 as httpx

SECONDS = 60.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


Ask: TypeAlias = Callable[[str], Awaitable[bool]]
Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]


class NotAllowedError(MediaError):
    """The person did not want it fetched."""


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of `host` as the system knows them.

    Raises:
        OSError: it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def host_of(url: str) -> str:
    """Return the host that `url` names, as it is asked for: with its port unless that is usual.

    Raises:
        MediaError: it is no web address.
    """
    return _label(_parsed(url))


async def fetch_picture(
    url: str,
    may: Ask,
    limits: Limits | None = None,
    seconds: float = SECONDS,
    resolve: Resolve = resolve,
) -> Media:
    """Fetch the picture at `url`.

    Args:
        url: what the person typed; its host may be a private one, that of a redirect not.
        may: asked before each host is first spoken to.
        limits: what the picture may cost.
        seconds: how long it may take, without the time that `may` takes.
        resolve: finds the addresses of a host.

    Raises:
        NotAllowedError: `may` said no.
        MediaError: not reachable, not found, too large, too slow, no picture.
    """
    import httpx2 as httpx

    limits = limits_or_rules(limits)
    address, typed = _parsed(url), _parsed(url).host
    asked: set[str] = set()
    left = seconds
    clock = asyncio.get_running_loop().time
    # Neither proxies nor .netrc: credentials are not for hosts that a picture names.
    async with httpx.AsyncClient(trust_env=False, timeout=min(seconds, 20.0)) as client:
        for _ in range(_MOST_REDIRECTS + 1):
            if _label(address) not in asked and not await may(_label(address)):
                raise NotAllowedError(f"Nothing was fetched from {_label(address)}.")
            asked.add(_label(address))
            began = clock()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    found = await _get(client, address, address.host != typed, limits, resolve)
            except TimeoutError:
                raise MediaError(_too_slow(address, seconds)) from None
            except httpx.TimeoutException:
                raise MediaError(_too_slow(address, min(seconds, 20.0))) from None
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                why = re.sub(r"^\[Errno -?\d+\] ", "", visible_line(str(error))).rstrip(".")
                why = why or type(error).__name__
                raise MediaError(f"{_label(address)} cannot be reached ({why}).") from error
            left -= clock() - began
            if isinstance(found, bytes):
                return await asyncio.to_thread(media_from_bytes, found, _name(address), limits)
            address = found
    raise MediaError(f"{_label(address)} sends from one address to the next: give the last one.")


def _parsed(url: str) -> "httpx.URL":
    import httpx2 as httpx

    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise MediaError(f"“{visible_line(url)}” is no web address: it begins with https://.")
    return address.copy_with(username=None, password=None, fragment=None)


def _label(address: "httpx.URL") -> str:
    # The ASCII form: look-alike letters of other scripts do not pass for a known name.
    return address.netloc.decode("ascii")


def _name(address: "httpx.URL") -> str:
    last = unquote(address.path).rstrip("/").rpartition("/")[2]
    return last[:120] or address.host


def _too_slow(address: "httpx.URL", seconds: float) -> str:
    return f"{_label(address)} took longer than {seconds:g} seconds: try again, or save the file."


async def _get(
    client: "httpx.AsyncClient",
    address: "httpx.URL",
    redirected: bool,
    limits: Limits,
    resolve: Resolve,
) -> "bytes | httpx.URL":
    """Return the body, or where it is to be found instead."""
    headers = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "vlmchat"}
    target, extensions = address, {}
    if redirected:
        # Connecting to the very address that was checked leaves no time to change the name.
        literal = await _public_address(address, resolve)
        headers["Host"] = _label(address)
        target = address.copy_with(host=literal)
        extensions = {"sni_hostname": address.raw_host.decode("ascii")}
    client.cookies.clear()
    request = client.build_request("GET", target, headers=headers, extensions=extensions)
    response = await client.send(request, stream=True, follow_redirects=False)
    try:
        if response.status_code in _REDIRECTS and (where := response.headers.get("location")):
            return _leads_to(address, where)
        if response.status_code != 200:
            raise MediaError(
                f"{_label(address)} answered with {response.status_code} "
                f"{visible_line(response.reason_phrase)}: check the address."
            )
        return await _body(response, _label(address), limits)
    finally:
        await response.aclose()


def _leads_to(address: "httpx.URL", location: str) -> "httpx.URL":
    found = _parsed(str(address.join(location)))
    if address.scheme == "https" and found.scheme == "http":
        raise MediaError(
            f"{_label(address)} sends on to {_label(found)} without encryption: "
            "give that address itself if you trust it."
        )
    return found


async def _public_address(address: "httpx.URL", resolve: Resolve) -> str:
    port = address.port or (443 if address.scheme == "https" else 80)
    found = await resolve(address.host, port)
    if not found or not all(_is_public(one) for one in found):
        raise MediaError(
            f"The address leads to {_label(address)}, which is in a private network: "
            "give that address itself if you trust it."
        )
    return found[0]


def _is_public(literal: str) -> bool:
    number = ipaddress.ip_address(literal.partition("%")[0])
    inner = getattr(number, "ipv4_mapped", None) or getattr(number, "sixtofour", None)
    return (inner or number).is_global and not number.is_multicast


async def _body(response: "httpx.Response", host: str, limits: Limits) -> bytes:
    too_large = MediaError(
        f"The picture at {host} is larger than {human_bytes(limits.max_bytes)}: "
        "make it smaller first."
    )
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_bytes:
        raise too_large
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaError(f"{host} sent the picture compressed again: save it and attach the file.")
    taken = bytearray()
    async for chunk in response.aiter_raw():
        taken += chunk
        if len(taken) > limits.max_bytes:
            raise too_large
    return bytes(taken)
