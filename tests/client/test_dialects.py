"""vLLM, llama-server, Ollama and LM Studio: each one's models and errors, over real HTTP.

The answers are written after each project's documentation and sources: see
`vlmchat.client.dialects`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import encoded
from vlmchat.chat.messages import ImagePart, Media, Message, TextPart
from vlmchat.client.api import EngineClient
from vlmchat.client.protocol import Sampling, TextDelta
from vlmchat.errors import EngineError, NoAdaptersError, VlmchatError
from vlmchat.talk.commands.registry import find
from vlmchat.talk.engine_keeper import RemoteKeeper

CONTEXT = 8192


@dataclass
class Dialect:
    """What one server answers.

    Attributes:
        name: of the server.
        rows: of ``/v1/models``.
        beside: what stands beside ``data`` there.
        more: path of its own way to tell more, and the answer.
        blind: status and body when its model gets a picture and takes none.
        locked: body when the key is wrong.
        says: words of `blind` that a person should read.
        context: what is learnt of the context.
    """

    name: str
    rows: list[dict[str, Any]]
    beside: dict[str, Any]
    more: tuple[str, Any]
    blind: tuple[int, Any]
    locked: Any
    says: str
    context: int = CONTEXT


def permission() -> list[dict[str, Any]]:
    return [{"id": "modelperm-1", "object": "model_permission", "allow_sampling": True}]


DIALECTS = [
    Dialect(
        "vLLM",
        [
            {
                **{"id": "org/model", "object": "model", "created": 1, "owned_by": "vllm"},
                **{"root": "org/model", "parent": None, "max_model_len": CONTEXT},
                "permission": permission(),
            },
            {
                **{"id": "birds", "object": "model", "created": 1, "owned_by": "vllm"},
                **{"root": "/adapters/birds", "parent": "org/model", "max_model_len": None},
                "permission": permission(),
            },
        ],
        {},
        ("", None),
        (
            400,
            {
                "error": {
                    "message": "org/model is not a multimodal model",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                }
            },
        ),
        {"error": "Unauthorized"},
        "is not a multimodal model",
    ),
    Dialect(
        "llama-server",
        [
            {
                **{"id": "model.gguf", "object": "model", "created": 1, "owned_by": "llamacpp"},
                "meta": {"vocab_type": 2, "n_vocab": 49280, "n_ctx_train": 131072, "size": 1},
            }
        ],
        {"models": [{"name": "model.gguf", "model": "model.gguf", "capabilities": ["completion"]}]},
        (
            "/props",
            {
                "default_generation_settings": {"n_ctx": CONTEXT},
                "modalities": {"vision": False, "audio": False},
            },
        ),
        (
            500,
            {
                "error": {
                    "code": 500,
                    "message": "image input is not supported - hint: if this is unexpected, you "
                    "may need to provide the mmproj",
                    "type": "server_error",
                }
            },
        ),
        {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}},
        "provide the mmproj",
    ),
    Dialect(
        "Ollama",
        [{"id": "llama3.2:latest", "object": "model", "created": 1, "owned_by": "library"}],
        {},
        (
            "/api/show",
            {
                "details": {"quantization_level": "Q4_K_M"},
                "model_info": {"llama.context_length": 131072},
                "capabilities": ["completion", "tools"],
            },
        ),
        (
            400,
            {
                "error": {
                    "message": "this model does not support images",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                }
            },
        ),
        {"error": "unauthorized"},
        "does not support images",
        0,  # it says how long the model's may be, not what it was loaded with
    ),
    Dialect(
        "LM Studio",
        [{"id": "qwen2-1.5b", "object": "model", "owned_by": "organization_owner"}],
        {},
        (
            "/api/v0/models",
            {
                "object": "list",
                "data": [
                    {
                        **{"id": "qwen2-1.5b", "object": "model", "type": "llm", "arch": "qwen2"},
                        **{"state": "loaded", "max_context_length": 32768},
                        "loaded_context_length": CONTEXT,
                    }
                ],
            },
        ),
        (200, {"error": "Model does not support images. Please use a model that does."}),
        {"error": {"message": "Invalid API token", "type": "invalid_request_error"}},
        "use a model that does",
    ),
]


class Server:
    """Speaks one of them; a picture is refused, and what is asked is noted."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.requests: list[dict[str, Any]] = []
        self.shown: list[Any] = []
        self.path = "/" + dialect.name.replace(" ", "-")
        routes = [
            Route("/v1/models", self._list),
            Route("/v1/chat/completions", self._answer, methods=["POST"]),
        ]
        if path := dialect.more[0]:
            routes.append(Route(path, self._show, methods=["GET", "POST"]))
        if dialect.name == "LM Studio":
            routes.append(Route("/{rest:path}", self._unexpected, methods=["GET", "POST"]))
        self.mount = Mount(self.path, routes=routes)

    async def _list(self, request: Request) -> Response:
        if request.headers.get("authorization") == "Bearer wrong":
            return JSONResponse(self.dialect.locked, 401)
        return JSONResponse({"object": "list", "data": self.dialect.rows, **self.dialect.beside})

    async def _show(self, request: Request) -> Response:
        self.shown.append(json.loads(await request.body() or b"null"))
        return JSONResponse(self.dialect.more[1])

    async def _unexpected(self, request: Request) -> Response:
        where = f"({request.method} {request.url.path})"
        return JSONResponse({"error": f"Unexpected endpoint or method. {where}"})

    async def _answer(self, request: Request) -> Response:
        self.requests.append(await request.json())
        if not isinstance(self.requests[-1]["messages"][-1]["content"], str):
            status, body = self.dialect.blind
            return JSONResponse(body, status)
        events = b'data: {"choices": [{"delta": {"content": "Yes."}}]}\n\ndata: [DONE]\n\n'
        return Response(events, media_type="text/event-stream")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, tuple[Server, str]]]:
    """Return a server of each kind, with its address."""
    made = [Server(dialect) for dialect in DIALECTS]
    engine = FakeEngine()
    engine.app = Starlette(routes=[server.mount for server in made])
    with running(engine):
        yield {one.dialect.name: (one, engine.url + one.path) for one in made}


def looking() -> Message:
    picture = Media.held(encoded(), "a.png", "image/png", 64, 48)
    return Message("user", (ImagePart(picture, 5), TextPart("What?")))


async def said(client: EngineClient, message: Message) -> str:
    events = [event async for event in client.chat([message], Sampling(max_tokens=4))]
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_each_is_understood(dialect: Dialect, servers: dict[str, tuple[Server, str]]) -> None:
    server, url = servers[dialect.name]
    async with EngineClient(f"{url}/v1") as client:
        models = await client.models()
        assert [model.id for model in models] == [row["id"] for row in dialect.rows]
        model = await client.more(models[0])
        assert model.server == dialect.name and model.context == dialect.context
        assert model.images == (dialect.name == "vLLM")  # which does not say
        assert await said(client, Message("user", (TextPart("Hi"),))) == "Yes."
        with pytest.raises(VlmchatError, match=dialect.says):
            await said(client, looking())
        (picture, _) = server.requests[-1]["messages"][0]["content"]
        assert picture["image_url"]["detail"] == "auto"  # 5 tiles are this program's own
        own = {"repeat_guard", "prompt_lookup", "when_full", "return_progress"}
        assert not own & server.requests[-1].keys()
        with pytest.raises(NoAdaptersError):
            await client.load_adapter("birds", Path("/adapters/birds"))
    async with EngineClient(url, "wrong") as stranger:
        with pytest.raises(EngineError, match="refused the key"):
            await stranger.models()
    if dialect.name == "Ollama":
        assert server.shown == [{"model": "llama3.2:latest"}]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_what_it_cannot_do_is_said(
    dialect: Dialect, servers: dict[str, tuple[Server, str]]
) -> None:
    """What the palette and the completions show in the place of the help."""
    keeper = RemoteKeeper(servers[dialect.name][1])
    keeper.start()
    await keeper.wait_ready()
    assert keeper.model is not None and keeper.model.server == dialect.name
    front: Any = SimpleNamespace(session=SimpleNamespace(engine=keeper))
    for name in ("detail", "adapter", "quant", "judge", "finetune", "log"):
        reason = find(name).available(front)
        assert reason is not None and reason.endswith("."), name
    assert dialect.name in (find("detail").available(front) or "")
    if dialect.name != "vLLM":
        for name in ("attach", "frames", "describe", "locate"):
            assert "takes no pictures" in (find(name).available(front) or ""), name
    await keeper.close()


async def test_errors_in_other_forms() -> None:
    cases: list[tuple[int, Any, str]] = [
        (404, {"object": "error", "message": "The model `x` does not exist."}, "`x`"),
        (422, {"detail": "No such field."}, "No such field"),
        (503, {"error": {"message": "Loading model", "code": 503}}, "Loading model"),
        (429, {"error": {"message": "full", "code": "queue_full"}}, "ask again later"),
        (400, {"error": {"message": "bad [x] \x1b[31m"}}, r"bad \[x\] [^\x1b]*$"),
    ]
    replies = [Reply(status=status, body=json.dumps(body)) for status, body, _ in cases]
    with running(FakeEngine(Script(replies))) as engine:
        async with EngineClient(engine.url) as client:
            for _, _, words in cases:
                with pytest.raises(VlmchatError, match=words):
                    await said(client, Message("user", (TextPart("Hi"),)))
