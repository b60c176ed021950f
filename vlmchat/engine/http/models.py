"""``/v1/models`` and ``/health``: what is served, and whether it is ready."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmchat.engine.events import EXTENSIONS
from vlmchat.engine.http.errors import error
from vlmchat.engine.http.served import Served
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel


def rows(served: Served) -> list[dict[str, Any]]:
    """Return what is served: first what answers whoever names nothing, then the model bare."""
    service = served.service
    first = service.loaded
    if first is None:
        return []
    base = first.base or first
    others = {id(one): (name, one) for name, one in service.adapters.items()}
    named = [others.pop(id(first), ("", first)), *([] if first is base else [("", base)])]
    return [row(served, one, name) for name, one in (*named, *others.values())]


def row(served: Served, loaded: "LoadedModel", adapter: str = "") -> dict[str, Any]:
    """Return a row of ``/v1/models``, of an adapter by its own name."""
    return {
        "id": adapter or loaded.id,
        "object": "model",
        "created": served.created,
        "owned_by": "vlmchat",
        "parent": loaded.id if adapter else None,
        "meta": {**loaded.meta(), "extensions": list(EXTENSIONS)},
    }


async def models(served: Served, _: Request) -> Response:
    """Answer ``GET /v1/models``."""
    served.service.require()  # else it would seem to have none
    return JSONResponse({"object": "list", "data": rows(served)})


async def model(served: Served, request: Request) -> Response:
    """Answer ``GET /v1/models/{name}``."""
    served.service.require()
    name = request.path_params["name"]
    for known in rows(served):
        if known["id"] == name:
            return JSONResponse(known)
    names = "”, “".join(visible_line(known["id"]) for known in rows(served))
    return error(
        404,
        f"The model “{visible_line(name)}” is not served here; this engine has “{names}”.",
        "model_not_found",
    )


async def health(served: Served, _: Request) -> Response:
    """Answer ``GET /health``."""
    state, loaded = served.service.state, served.service.loaded
    ready = state.stage == "ready" and not served.line.stopping
    body = {
        "status": "ok"
        if ready
        else "stopping"
        if served.line.stopping
        else "error"
        if state.stage == "failed"
        else "loading",
        "stage": state.stage,
        "text": state.text,
        "done": state.done,
        "total": state.total,
        "model": row(served, loaded) if ready and loaded else None,
    }
    return JSONResponse(body, 200 if ready else 503)
