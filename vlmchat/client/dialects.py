"""What other servers say of themselves beside the standard, and what they cannot do.

Sources of names and forms: vLLM's ``ModelCard`` and ``ErrorResponse`` (its OpenAI-compatible
server), SGLang's likewise; llama.cpp's ``tools/server/README.md`` (``/v1/models``, ``/props``);
Ollama's API reference (``/v1/models``, ``/api/show``); LM Studio's REST API (``/v1/models``,
``/api/v0/models``). Who stands behind an address is told by ``owned_by``, which all of them set.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from vlmchat.client.protocol import OWN_FIELDS, ModelInfo

OURS: Final = "vlmchat"
_OWNERS = {
    "vlmchat": OURS,
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama-server",
    "library": "Ollama",
    "organization_owner": "LM Studio",
}
# A server's own way to tell more of a model: method, path and body, with the model's name put in.
QUESTIONS: Mapping[str, tuple[str, str, str]] = {
    "llama-server": ("GET", "/props", ""),
    "Ollama": ("POST", "/api/show", "model"),
    "LM Studio": ("GET", "/api/v0/models", ""),
}


def models_of(body: Mapping[str, Any]) -> list[ModelInfo]:
    """Return what an answer to ``GET /v1/models`` tells of each model.

    Args:
        body: the answer, whose ``data`` is a list of objects.
    """
    capable = {
        str(row.get("model") or row.get("name")): row.get("capabilities")
        for row in _rows(body.get("models"))
    }
    found = []
    for row in _rows(body.get("data")):
        info = ModelInfo.from_json(dict(row))
        server = _OWNERS.get(str(row.get("owned_by")), "")
        changes: dict[str, Any] = {"server": server}
        if server not in ("", OURS):
            meta = row.get("meta")
            sizes = (row.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else 0)
            changes["context"] = next((x for x in map(_count, sizes) if x), info.context)
            told = capable.get(info.id)
            if isinstance(told, list) and server == "llama-server":
                changes["images"] = "multimodal" in told
        found.append(replace(info, **changes))
    return found


def told(model: ModelInfo, body: object) -> ModelInfo:
    """Return a model with what its server's own answer to `QUESTIONS` adds."""
    if not isinstance(body, dict):
        return model
    if model.server == "llama-server":
        modalities = body.get("modalities")
        settings = body.get("default_generation_settings")
        images = modalities.get("vision") if isinstance(modalities, dict) else None
        size = _count(settings.get("n_ctx") if isinstance(settings, dict) else 0)
        return _with(model, images, size)
    if model.server == "Ollama":
        abilities = body.get("capabilities")
        details = body.get("details")
        level = details.get("quantization_level") if isinstance(details, dict) else None
        if isinstance(level, str):
            model = replace(model, quantization=level)
        return _with(model, "vision" in abilities if isinstance(abilities, list) else None, 0)
    for row in _rows(body.get("data")):  # LM Studio's
        if row.get("id") == model.id:
            kind = row.get("type")
            size = _count(row.get("loaded_context_length")) or _count(row.get("max_context_length"))
            return _with(model, kind == "vlm" if kind in ("vlm", "llm") else None, size)
    return model


def _with(model: ModelInfo, images: object, context: int) -> ModelInfo:
    if isinstance(images, bool):
        model = replace(model, images=images)
    return replace(model, context=context) if context else model


def _count(value: object) -> int:
    return value if type(value) is int and 0 < value < 1 << 40 else 0


def _rows(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def cannot(model: ModelInfo | None, what: str) -> str | None:
    """Return why the server of `model` cannot do something, as one sentence.

    Args:
        model: what answers; ``None`` while nobody knows.
        what: ``detail``, ``adapter``, or one of `vlmchat.client.protocol.OWN_FIELDS`.

    Returns:
        ``None`` where it can, or where nobody knows what it can.
    """
    server = model.server if model is not None else ""
    if what == "adapter" and server:
        return (
            f"{server} at the other end has adapters of its own: /model lists them; they cannot be "
            "changed from here."
        )
    if what == "detail" and server not in ("", OURS):
        return f"{server} cuts pictures in its own way, and does not ask how finely."
    if what in OWN_FIELDS and server not in ("", OURS):
        return f"{server} does not know {what}: it is left out of requests."
    return None


def standard_details(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages whose details are those of the standard: low, auto and high.

    The most tiles as a number are this program's own, and refused by servers that check.
    """

    def part(given: Any) -> Any:  # noqa: ANN401 - JSON may be anything
        picture = given.get("image_url") if isinstance(given, dict) else None
        if not isinstance(picture, dict) or picture.get("detail") in (None, "low", "auto", "high"):
            return given
        return {**given, "image_url": {**picture, "detail": "auto"}}

    return [
        {**row, "content": [part(given) for given in row["content"]]}
        if isinstance(row.get("content"), list)
        else row
        for row in messages
    ]


def error_text(body: object) -> str:
    """Return the sentence in an error's body: the standard's, and other ways to say it.

    ``{"error": {"message": …}}`` as OpenAI, llama-server and Ollama have it; ``{"error": …}`` of
    LM Studio; ``{"object": "error", "message": …}`` of older vLLMs; ``{"detail": …}`` of servers
    that let their framework answer.
    """
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    if error is None and body.get("object") == "error":
        error = body.get("message")
    if error is None:
        error = body.get("detail")
    return error if isinstance(error, str) else ""
