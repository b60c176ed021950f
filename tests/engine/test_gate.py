"""Strangers and what takes too much are refused, cheaply; on a real server without a model."""

import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx2 as httpx
import pytest

from tests.engine.test_http import picture
from tests.engine.test_serving import figure, parsed
from vlmchat.engine.http.app import EngineApp
from vlmchat.engine.http.gate import Rules
from vlmchat.engine.http.limits import MEBIBYTE, Limits
from vlmchat.engine.http.server import Server
from vlmchat.engine.loading import LoadedModel
from vlmchat.engine.service import EngineService

KEYS = ("first-key", "second-key")
PAGE = "https://example.org"
ASK = "/v1/chat/completions"


def _nothing(_: object) -> LoadedModel:
    raise AssertionError("nobody loads here")


class _Stubbed(EngineService):
    """Takes for its model what it is given."""

    async def load(self) -> None:
        """Load nothing."""


class Door:
    """A server in this process, whose model is there in name only."""

    def __init__(self, limits: Limits, rules: Rules) -> None:
        service = _Stubbed(_nothing)
        self.app = EngineApp(service, (), limits)
        stub: Any = SimpleNamespace(
            id="stub", names={"stub"}, base=None, video=False, meta=dict, adapter=""
        )
        service.loaded = stub
        self.server = Server(self.app, rules, quiet=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))

    def client(self, **headers: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEYS[0]}", **headers}
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, trust_env=False, timeout=20
        )

    def connect(self, sends: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(sends)
        return connection


@contextlib.contextmanager
def door(limits: Limits | None = None, rules: Rules | None = None) -> Iterator[Door]:
    one = Door(limits or Limits(), rules or Rules(KEYS, [PAGE], ()))
    one.thread.start()
    while not one.server.started:
        time.sleep(0.002)
    try:
        yield one
    finally:
        one.server.should_exit = True
        one.thread.join(20)
        one.listener.close()


@pytest.fixture(scope="module")
def shut() -> Iterator[Door]:
    with door(Limits(body_bytes=MEBIBYTE, pictures=2)) as one:
        yield one


def code_of(response: httpx.Response) -> str:
    code: str = response.json()["error"]["code"]
    return code


def test_any_of_the_keys_opens(shut: Door) -> None:
    with shut.client() as client:
        for given, status in (
            ("Bearer first-key", 200),
            ("bearer  second-key", 200),
            ("Bearer first-ke", 401),
            ("Bearer first-key2", 401),
            ("Basic first-key", 401),
            ("first-key", 401),
            ("", 401),
        ):
            answer = client.get("/v1/models", headers={"Authorization": given})
            assert answer.status_code == status, given
        assert code_of(answer) == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_pages_of_other_origins(shut: Door) -> None:
    with shut.client() as client:
        for origin in ("https://evil.example", "null", "http://example.org", PAGE + ".evil.org"):
            answer = client.get("/v1/models", headers={"Origin": origin})
            assert answer.status_code == 403 and code_of(answer) == "forbidden_origin", origin
            assert "access-control-allow-origin" not in answer.headers
        # A picture's address or a form: no Origin, but the browser says where it stands.
        assert client.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get("/v1/models", headers={"Sec-Fetch-Site": "none"}).status_code == 200
        answer = client.get("/v1/models", headers={"Origin": PAGE, "Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "origin" in answer.headers["vary"].lower()
        # What went wrong can be read by the page, too.
        answer = client.get("/v1/models", headers={"Origin": PAGE, "Authorization": "Bearer no"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == PAGE


def test_preflight_comes_without_a_key(shut: Door) -> None:
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os",
        "Access-Control-Request-Private-Network": "true",
    }
    with shut.client(Authorization="") as client:
        answer = client.options(ASK, headers=asks)
        assert answer.status_code == 204 and not answer.content
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
        assert answer.headers["access-control-allow-private-network"] == "true"
        answer = client.options(ASK, headers={**asks, "Origin": "https://evil.example"})
        assert answer.status_code == 403
        answer = client.options(ASK, headers={"Access-Control-Request-Headers": "a\x01b", **asks})
        assert answer.status_code in (204, 400)


def test_names_of_this_machine(shut: Door) -> None:
    with shut.client() as client:
        for name, status in (
            ("localhost:8000", 200),
            ("LOCALHOST.", 200),
            ("127.1.2.3", 200),
            ("[::1]:8000", 200),
            ("rebound.example:8000", 403),
            ("127.0.0.1.evil.example", 403),
            ("localhost.evil.example", 403),
            ("192.168.0.7", 403),
            ("", 403),
        ):
            assert client.get("/v1/models", headers={"Host": name}).status_code == status, name
    with door(rules=Rules(KEYS, (), ["proxy.example"])) as other, other.client() as client:
        assert client.get("/health", headers={"Host": "Proxy.example"}).status_code != 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b'{"messages": [' + b'{"a":' * 100_000,
        b"9" * 5000,
        b"null",
        b'"text"',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
        json.dumps({"messages": [{"role": "user", "content": [[]]}]}).encode(),
        json.dumps({"messages": [{"role": "user", "content": "\0"}], "seed": -1}).encode(),
    ],
)
def test_malformed_bodies(shut: Door, body: bytes) -> None:
    with shut.client() as client:
        answer = client.post(ASK, content=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_large_bodies_are_not_kept(shut: Door) -> None:
    size = 100 * MEBIBYTE
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    piece = b" " * MEBIBYTE
    with shut.client() as client:
        for headers in ({"Content-Length": str(size)}, {}):  # said beforehand; in chunks
            began = time.perf_counter()
            pieces = (piece for _ in range(size // len(piece)))
            answer = client.post(ASK, content=pieces, headers=headers)
            assert answer.status_code == 413 and code_of(answer) == "request_too_large"
            assert time.perf_counter() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 30 * 1024  # KiB


def test_slow_heads_and_bodies() -> None:
    head = f"POST {ASK} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEYS[0]}\r\n"
    sends = head + "Content-Length: 100\r\n\r\n{"
    with (
        door(Limits(body_seconds=0.2, head_seconds=0.2)) as hasty,
        hasty.connect(head.encode()[:20]) as slow,
        hasty.connect(sends.encode()) as other,
    ):
        assert slow.recv(100) == b""  # a head that never ends
        assert b" 408 " in other.recv(100)


def test_headers_are_bounded(shut: Door) -> None:
    with shut.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000) as large:
        assert b" 400 " in large.recv(100)


def test_number_of_pictures(shut: Door) -> None:
    body = {"messages": [{"role": "user", "content": [picture()] * 3}]}
    with shut.client() as client:
        answer = client.post(ASK, json=body)
    assert answer.status_code == 400 and "2 pictures and videos" in answer.text


def test_files_outside_the_roots(shut: Door) -> None:
    with shut.client() as client:
        for url in (
            "file:///etc/passwd",
            "file:///../../etc/passwd",
            "file://localhost/etc/passwd",
            "file:///%2e%2e/etc/passwd",
            "file:etc/passwd",
            "file:///proc/self/environ",
            "FILE:///etc/passwd%00.png",
        ):
            part = {"type": "image_url", "image_url": {"url": url}}
            answer = client.post(ASK, json={"messages": [{"role": "user", "content": [part]}]})
            assert answer.status_code == 400 and "root:" not in answer.text, url


def test_idle_connections_make_room() -> None:
    """However many connections somebody leaves open, who asks something is answered."""
    with door(Limits(connections=20)) as small, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(small.connect(b"GET / HT"))
        with small.client() as client:
            began = time.perf_counter()
            text = client.get("/metrics").text
            assert figure(parsed(text), "vlmchat_connections") <= 20
            assert time.perf_counter() - began < 5


def test_a_full_line_says_when_to_ask_again() -> None:
    with door(Limits(queue=1, body_seconds=5)) as one, one.client() as client:
        head = f"POST {ASK} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEYS[0]}\r\n"
        with one.connect((head + "Content-Length: 100\r\n\r\n{").encode()):
            while not len(one.app.line):
                time.sleep(0.002)
            answer = client.post(ASK, json={})
            assert answer.status_code == 429 and code_of(answer) == "queue_full"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert client.get("/v1/models").status_code == 200
        while len(one.app.line):
            time.sleep(0.002)
        assert client.post(ASK, json={}).status_code == 400
        samples = parsed(client.get("/metrics").text)
    for outcome in ("busy", "cancelled", "refused"):
        labels = {"route": ASK, "outcome": outcome}
        assert figure(samples, "vlmchat_requests_total", **labels) == 1, outcome


def test_who_takes_nothing_is_left() -> None:
    """A client that asks on and on and reads no answer does not hold its connection for ever."""
    asks = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEYS[0]}\r\n\r\n"
    with door(Limits(stall_seconds=0.2)) as one, socket.socket() as deaf:
        one.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(20)
        deaf.connect(("127.0.0.1", one.port))
        with pytest.raises(OSError):  # a reset, or a broken pipe
            while True:
                deaf.sendall(asks.encode() * 100)
        assert not len(one.app.crowd)
