"""Adapters are laid over the model, and taken away, while the engine runs (as in vLLM)."""

from ipaddress import ip_address
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmchat.engine.http.body import read_json
from vlmchat.engine.http.errors import error
from vlmchat.engine.http.models import row
from vlmchat.engine.http.served import Served
from vlmchat.errors import ModelError, UsageError


async def load(served: Served, request: Request) -> Response:
    """Answer ``POST /v1/load_lora_adapter``."""
    from vlmchat.engine.requests import LoadAdapter, parse

    _check_near(served, request)
    asked = parse(LoadAdapter, await read_json(request))
    try:
        loaded = await served.service.load_adapter(
            asked.lora_name, Path(asked.lora_path), replace=asked.load_inplace
        )
    except ModelError as problem:  # what was asked for is wrong, not this engine
        return error(400, str(problem), problem.code)
    return JSONResponse({**row(served, loaded, asked.lora_name), "remark": loaded.remark})


async def unload(served: Served, request: Request) -> Response:
    """Answer ``POST /v1/unload_lora_adapter``."""
    from vlmchat.engine.requests import UnloadAdapter, parse

    _check_near(served, request)
    asked = parse(UnloadAdapter, await read_json(request))
    served.service.require()
    served.service.unload_adapter(asked.lora_name)
    return JSONResponse({"id": asked.lora_name, "object": "model", "deleted": True})


def _check_near(served: Served, request: Request) -> None:
    """Let only who knows the key, on this machine, say what is loaded from its disk.

    Raises:
        UsageError: says why not.
    """
    if not served.has_key:
        raise UsageError("Adapters are loaded for those with a key: serve with --api-key.")
    host = request.client.host if request.client else ""
    if not ip_address(host or "0.0.0.0").is_loopback:  # noqa: S104 - nobody's address
        raise UsageError("Adapters are loaded from this machine only: use 127.0.0.1.")
