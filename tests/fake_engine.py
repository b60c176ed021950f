"""A fake engine that speaks real HTTP, in a thread or as a child process.

Its answers are scripted: each chat request takes the next `Reply`; the last one is used again and
again. Requests and hang-ups are recorded.

As a program it stands in for ``python -m vlmchat.engine --child``: it prints its port, ends when
its standard input ends, and follows the script (a JSON object of `Script` fields) in the file that
``--script`` names. Replies count over its lives: a file beside the script remembers how many chat
requests there were.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

MODEL: dict[str, Any] = {
    "id": "fake-vlm",
    "meta": {
        "title": "Fake VLM",
        "quantization": "none",
        "device": "cpu",
        "context": 8192,
        "images": True,
    },
}


@dataclass
class Reply:
    """One scripted answer.

    Attributes:
        pieces: the text, in the pieces it is streamed in.
        delay: seconds before each piece.
        finish: the finish reason.
        status: HTTP status; other than 200 is answered with `body` at once.
        body: the body of an error, verbatim.
        break_after: the connection is cut after that many pieces.
        die_after: the process is killed after that many pieces.
        stamped: each piece is the time it is sent at instead, in milliseconds since 1970.
        forever: the last piece is repeated until the client hangs up.
        timings: what it says the answer took.
        progress: how far it says it has read before it speaks.
        told: what more it says of the answer.
    """

    pieces: list[str] = field(default_factory=lambda: ["Hello", " there."])
    delay: float = 0.0
    finish: str = "stop"
    status: int = 200
    body: str = ""
    break_after: int | None = None
    die_after: int | None = None
    stamped: bool = False
    forever: bool = False
    timings: dict[str, float] = field(default_factory=lambda: {"predicted_per_second": 31.25})
    progress: list[dict[str, Any]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)


@dataclass
class Script:
    """What the fake engine does.

    Attributes:
        replies: answers in order; the last repeats.
        loading: statuses shown before it is ready (``{"stage", "text", "done", "total"}``).
        hold_loading: stays at the last loading status until `FakeEngine.release`, or until the
            file of this name exists.
        failed: the sentence of a load that fails; empty for none.
        model: the row of ``/v1/models``.
        die_at_start: exit with code 3 before listening.
        adapters: whether it has the routes that load adapters; one in a folder whose name has
            ``misfit`` in it does not fit.
    """

    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    loading: list[dict[str, Any]] = field(default_factory=list)
    hold_loading: str = ""
    failed: str = ""
    model: dict[str, Any] = field(default_factory=lambda: deepcopy(MODEL))
    die_at_start: bool = False
    adapters: bool = False

    @classmethod
    def from_json(cls, text: str) -> "Script":
        row = json.loads(text)
        row["replies"] = [Reply(**reply) for reply in row.get("replies", [{}])]
        return cls(**row)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class _BrokenError(Exception):
    """Ends a response in the middle."""


class FakeEngine:
    """The HTTP app and what it saw."""

    def __init__(
        self, script: Script | None = None, token: str | None = None, seen: Path | None = None
    ) -> None:
        self.seen = seen
        self.script = script or Script()
        self.token = token
        self.requests: list[dict[str, Any]] = []
        self.hang_ups = 0
        self.released = threading.Event()
        self._shown = 0
        self.port = 0
        self.adapters: dict[str, str] = {}
        self.first = self.answers = ""
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                *(_adapter_routes(self) if self.script.adapters else ()),
            ]
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def release(self) -> None:
        self.released.set()

    def _refused(self, request: Request) -> Response | None:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"error": {"message": "no"}}, status_code=401)
        return None

    def _held(self) -> bool:
        flag = self.script.hold_loading
        return bool(flag) and not (self.released.is_set() or Path(flag).exists())

    async def _health(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        script = self.script
        if self._shown < len(script.loading):
            row = script.loading[self._shown]
            if self._shown + 1 < len(script.loading) or not self._held():
                self._shown += 1
            return JSONResponse({"done": 0, "total": 0, "model": None, **row})
        if script.failed:
            return JSONResponse(
                {"stage": "failed", "text": script.failed, "done": 0, "total": 0, "model": None},
                status_code=503,
            )
        return JSONResponse(
            {"stage": "ready", "text": "Ready", "done": 0, "total": 0, "model": self.row()}
        )

    async def _models(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        rows = [self.row(name) for name in self.adapters]
        return JSONResponse({"object": "list", "data": [self.script.model, *rows]})

    def row(self, adapter: str | None = None) -> dict[str, Any]:
        """Return the model as it is without being asked for, or with an adapter."""
        name, model = self.first if adapter is None else adapter, self.script.model
        if not name:
            return model
        meta = {**model["meta"], "adapter": f"{name}@{self.adapters[name]}"}
        known = {} if adapter is None else {"id": name, "parent": model["id"]}
        return {**model, **known, "meta": meta}

    def begin_with(self, adapter: str) -> None:
        self.first = Path(adapter).name
        self.adapters[self.first] = digest(Path(adapter))

    async def load(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        if "misfit" in body["lora_path"]:
            return JSONResponse({"error": {"message": "It does not fit [x]."}}, 400)
        # Of the files as they are now: they may be deleted later, and the engine has them loaded.
        self.adapters[body["lora_name"]] = digest(Path(body["lora_path"]))
        return JSONResponse({**self.row(body["lora_name"]), "remark": "A remark [y]."})

    async def unload(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        self.adapters.pop((await request.json())["lora_name"])
        return JSONResponse({})

    async def _chat(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        self.requests.append(await request.json())
        wanted = self.requests[-1].get("model", self.first)
        self.answers = (
            self.row(wanted)["meta"].get("adapter", "") if wanted in self.adapters else ""
        )
        asked = len(self.requests)
        if self.seen is not None:
            asked = 1 + (int(self.seen.read_text()) if self.seen.exists() else 0)
            self.seen.write_text(str(asked))
        number = min(asked, len(self.script.replies)) - 1
        reply = self.script.replies[number]
        if reply.status != 200 or reply.body:
            return Response(reply.body, reply.status, media_type="application/json")
        return StreamingResponse(self._stream(reply), media_type="text/event-stream")

    async def _stream(self, reply: Reply) -> AsyncIterator[str]:
        sent = 0
        try:
            for row in reply.progress:
                yield _event({"choices": [{"index": 0, "delta": {}}], "prompt_progress": row})
            for piece in _pieces(reply):
                await asyncio.sleep(reply.delay)
                if sent == reply.break_after:
                    raise _BrokenError
                if sent == reply.die_after:
                    os.kill(os.getpid(), 9)
                said = f"{time.time_ns() // 1_000_000} " if reply.stamped else piece
                yield _event({"choices": [{"index": 0, "delta": {"content": said}}]})
                sent += 1
            if sent in (reply.break_after, reply.die_after):
                if reply.die_after is not None:
                    os.kill(os.getpid(), 9)
                raise _BrokenError
        except asyncio.CancelledError:
            self.hang_ups += 1
            raise
        choice = {"index": 0, "delta": {}, "finish_reason": reply.finish}
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": sent,
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        yield _event({"choices": [choice]})
        said_too = {**({"adapter": self.answers} if self.script.adapters else {}), **reply.told}
        told = {"vlmchat": said_too} if said_too else {}
        yield _event({"choices": [], "usage": usage, "timings": reply.timings, **told})
        yield "data: [DONE]\n\n"


def _adapter_routes(engine: FakeEngine) -> list[Route]:
    return [
        Route("/v1/load_lora_adapter", engine.load, methods=["POST"]),
        Route("/v1/unload_lora_adapter", engine.unload, methods=["POST"]),
    ]


def digest(adapter: Path) -> str:
    """Return what stands behind the name of an adapter."""
    data = (adapter / "adapter_model.safetensors").read_bytes()
    return hashlib.sha256(data).hexdigest()[:12]


def _pieces(reply: Reply) -> Iterator[str]:
    yield from reply.pieces
    while reply.forever:
        yield reply.pieces[-1]


def _event(row: dict[str, Any]) -> str:
    return f"data: {json.dumps(row)}\n\n"


def _server(engine: FakeEngine) -> tuple[uvicorn.Server, socket.socket]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    engine.port = listener.getsockname()[1]
    config = uvicorn.Config(
        engine.app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config), listener


@contextlib.contextmanager
def running(engine: FakeEngine) -> Iterator[FakeEngine]:
    """Serve `engine` from a thread while the block runs."""
    server, listener = _server(engine)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield engine
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def main() -> None:
    """Be an engine process."""
    path = Path(sys.argv[sys.argv.index("--script") + 1])
    script = Script.from_json(path.read_text("utf-8"))
    print("fake engine starting", file=sys.stderr)
    if script.die_at_start:
        print("fake engine cannot start", file=sys.stderr)
        sys.exit(3)
    engine = FakeEngine(script, os.environ.get("VLMCHAT_ENGINE_TOKEN"), path.with_suffix(".seen"))
    if script.adapters and "--adapter" in sys.argv:
        engine.begin_with(sys.argv[sys.argv.index("--adapter") + 1])
    server, listener = _server(engine)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps({"port": engine.port}), flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
