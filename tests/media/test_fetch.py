"""Pictures from the web: only when allowed, only from where, only pictures. A real HTTP server."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2 as httpx
import pytest

from tests.pictures import encoded
from vlmchat.errors import MediaError
from vlmchat.media.fetch import NotAllowedError, _leads_to, fetch_picture, host_of
from vlmchat.media.permissions import RememberedPermissions
from vlmchat.media.rules import Limits


@dataclass
class Page:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True
    drip: float = 0.0


class Web(ThreadingHTTPServer):
    """A server, its pages by path, and the requests it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Web)
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        page = self.server.pages.get(self.path, Page(b"none", 404))
        self.send_response(page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.length:
            self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        try:
            for at in range(0, len(page.body), 4096):
                self.wfile.write(page.body[at : at + 4096])
                time.sleep(page.drip)
        except OSError:
            pass  # the other side has heard enough

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Person:
    """Who is asked."""

    def __init__(self, *refused: str) -> None:
        self.asked: list[str] = []
        self._refused = refused

    async def __call__(self, host: str) -> bool:
        self.asked.append(host)
        return host not in self._refused


async def test_a_picture(web: Web) -> None:
    web.pages["/my%20boat.png"] = Page(encoded(), headers={"Set-Cookie": "a=b"})
    person = Person()
    media = await fetch_picture(f"{web.url}/my%20boat.png", person)
    assert (media.name, media.mime, media.width) == ("my boat.png", "image/png", 64)
    assert person.asked == [web.host]
    _, headers = web.seen[0]
    assert not {"cookie", "referer", "authorization"} & set(headers)
    assert headers["accept-encoding"] == "identity"


async def test_a_refusal_sends_nothing(web: Web) -> None:
    with pytest.raises(NotAllowedError, match="Nothing was fetched from 127"):
        await fetch_picture(f"{web.url}/a.png", Person(web.host))
    assert web.seen == []


async def test_credentials_in_the_address_are_not_sent(web: Web) -> None:
    web.pages["/a"] = Page(encoded())
    await fetch_picture(f"http://me:secret@{web.host}/a#part", Person())
    assert "authorization" not in web.seen[0][1]


async def test_redirects_on_the_same_host_ask_once(web: Web) -> None:
    web.pages["/a"] = Page(status=302, headers={"Location": "/b", "Set-Cookie": "a=b"})
    web.pages["/b"] = Page(status=308, headers={"Location": f"{web.url}/c.jpg"})
    web.pages["/c.jpg"] = Page(encoded("JPEG"))
    person = Person()
    media = await fetch_picture(f"{web.url}/a", person)
    assert media.name == "c.jpg" and person.asked == [web.host]
    assert all("cookie" not in headers for _, headers in web.seen)
    web.pages["/round"] = Page(status=301, headers={"Location": "/round"})
    with pytest.raises(MediaError, match="one address to the next"):
        await fetch_picture(f"{web.url}/round", person)


async def test_a_redirect_to_another_host_asks_again(web: Web) -> None:
    other = f"localhost:{web.server_address[1]}"
    web.pages["/a"] = Page(status=302, headers={"Location": f"http://{other}/b"})
    web.pages["/b"] = Page(encoded())
    refusing = Person(other)
    with pytest.raises(NotAllowedError, match="localhost"):
        await fetch_picture(f"{web.url}/a", refusing)
    assert refusing.asked == [web.host, other]
    # Even when allowed: nobody typed it, and it is in a private network.
    with pytest.raises(MediaError, match="private network"):
        await fetch_picture(f"{web.url}/a", Person())
    assert [path for path, _ in web.seen] == ["/a", "/a"]
    with pytest.raises(MediaError, match="private network"):
        await fetch_picture(f"{web.url}/a", Person(), resolve=_private_among_public)
    # A typed private host is spoken to.
    assert (await fetch_picture(f"http://{other}/b", Person())).width == 64


async def _private_among_public(host: str, port: int) -> list[str]:
    return ["93.184.216.34", "10.0.0.1"]


@pytest.mark.parametrize(
    "literal",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"],
)
async def test_private_addresses(literal: str, web: Web) -> None:
    async def leads_there(host: str, port: int) -> list[str]:
        return [literal]

    web.pages["/a"] = Page(status=302, headers={"Location": "http://inner.example/b"})
    with pytest.raises(MediaError, match=r"inner\.example, which is in a private network"):
        await fetch_picture(f"{web.url}/a", Person(), resolve=leads_there)


async def test_a_redirect_connects_to_the_address_that_was_checked(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlmchat.media import fetch

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    port = web.server_address[1]
    web.pages["/a"] = Page(status=302, headers={"Location": f"http://pictures.example:{port}/b"})
    web.pages["/b"] = Page(encoded())
    monkeypatch.setattr(fetch, "_is_public", lambda literal: literal == "127.0.0.1")
    await fetch_picture(f"{web.url}/a", Person(), resolve=here)
    assert web.seen[1][1]["host"] == f"pictures.example:{port}"


async def test_what_is_no_picture(web: Web) -> None:
    web.pages["/page.png"] = Page(b"<html>", headers={"Content-Type": "image/png"})
    web.pages["/empty.png"] = Page()
    web.pages["/packed.png"] = Page(encoded(), headers={"Content-Encoding": "gzip"})
    for path, sentence in (
        ("page.png", "is not a picture"),
        ("empty.png", "empty"),
        ("packed.png", "compressed again"),
        ("missing.png", "404 Not Found"),
    ):
        with pytest.raises(MediaError, match=sentence):
            await fetch_picture(f"{web.url}/{path}", Person())


@pytest.mark.parametrize("length", [True, False])
async def test_what_is_too_large(web: Web, length: bool) -> None:
    web.pages["/big.png"] = Page(b"x" * 3_000_000, length=length)
    with pytest.raises(MediaError, match="larger than 1 MB"):
        await fetch_picture(f"{web.url}/big.png", Person(), Limits(max_bytes=1_000_000))


async def test_what_is_too_slow(web: Web) -> None:
    web.pages["/slow.png"] = Page(b"x" * 4096 * 100, drip=0.1)
    began = time.monotonic()
    with pytest.raises(MediaError, match=r"longer than 0\.5 seconds"):
        await fetch_picture(f"{web.url}/slow.png", Person(), seconds=0.5)
    assert time.monotonic() - began < 3


async def test_addresses_that_lead_nowhere() -> None:
    for url in ("ftp://x.org/a", "file:///etc/passwd", "https://", "no address", "http://x:port/"):
        with pytest.raises(MediaError, match="no web address"):
            await fetch_picture(url, Person())
    with pytest.raises(MediaError, match="cannot be reached"):
        await fetch_picture("http://127.0.0.1:9/a.png", Person())
    with pytest.raises(MediaError, match="no web address"):
        host_of("javascript:x")


def test_a_redirect_does_not_leave_encryption() -> None:
    start = httpx.URL("https://x.org/a")
    assert str(_leads_to(start, "/b")) == "https://x.org/b"
    assert str(_leads_to(start, "//y.org/b")) == "https://y.org/b"
    with pytest.raises(MediaError, match="without encryption"):
        _leads_to(start, "http://x.org/b")
    with pytest.raises(MediaError, match="no web address"):
        _leads_to(start, "file:///etc/passwd")


def test_hosts() -> None:
    assert host_of("https://X.org/a") == "x.org"
    assert host_of("https://x.org:443/a") == "x.org"
    assert host_of("http://me:pw@x.org:8080/") == "x.org:8080"
    assert host_of("https://ex\u0430mple.org/").startswith("xn--")


def test_permissions() -> None:
    permissions = RememberedPermissions()
    assert not permissions.allowed("x.org")
    permissions.allow("x.org")
    assert permissions.allowed("x.org") and not permissions.allowed("a.x.org")
