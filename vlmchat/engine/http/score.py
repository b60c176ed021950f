"""``POST /v1/score``: how likely given answers are."""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.http.body import read_json
from vlmchat.engine.http.leaving import stopped_on_leaving
from vlmchat.engine.http.served import Served

if TYPE_CHECKING:
    from vlmchat.engine.caching.caches import Caches
    from vlmchat.engine.scoring import Scored


async def score(served: Served, request: Request) -> Response:
    """Answer ``POST /v1/score``.

    Raises:
        VlmchatError: the request cannot be answered.
        CancelledError: whoever asked hung up.
    """
    from vlmchat.engine.requests import ScoreRequest, parse

    served.service.require()
    asked = parse(ScoreRequest, await read_json(request))
    loaded = served.service.require(asked.model)
    async with stopped_on_leaving(request) as cancel:
        messages = await asyncio.to_thread(
            asked.conversation, served.resolver(), videos=loaded.video
        )
        loaded = await asyncio.to_thread(loaded.answering, messages)

        def work(caches: "Caches") -> "Scored":
            from vlmchat.engine.scoring import score as scored

            def check() -> None:
                if cancel.is_set():
                    raise CancelledError

            prompt = loaded.builder.build(messages)
            answers = loaded.builder.answers(messages, asked.continuations, loaded.end_ids, check)
            return scored(loaded, prompt, answers, cancel, caches)

        found = await served.service.compute(loaded, work, cancel)
    return JSONResponse(_as_json(found, asked.model or loaded.id, loaded.provenance()))


def _as_json(found: "Scored", model: str, provenance: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {"index": index, "logprob": sum(tokens), "tokens": len(tokens), "token_logprobs": tokens}
        for index, tokens in enumerate(found.logprobs)
    ]
    answered = sum(map(len, found.logprobs))
    usage = {
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": answered,
        "total_tokens": found.prompt_tokens + answered,
        "prompt_tokens_details": {"cached_tokens": found.cached_tokens},
    }
    return {
        "object": "list",
        "model": model,
        "data": rows,
        "usage": usage,
        "vlmchat": provenance,
    }
