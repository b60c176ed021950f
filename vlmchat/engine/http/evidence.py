"""``POST /v1/evidence``: where an answer looked, and whether that mattered."""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.http.body import read_json
from vlmchat.engine.http.leaving import stopped_on_leaving
from vlmchat.engine.http.served import Served
from vlmchat.errors import UsageError
from vlmchat.media.windows import elsewhere, highest

if TYPE_CHECKING:
    from threading import Event

    import torch

    from vlmchat.chat.messages import Message
    from vlmchat.engine.caching.caches import Caches
    from vlmchat.engine.evidence import Looked, Seen, Spoken
    from vlmchat.engine.hiding import Hiding
    from vlmchat.engine.loading import LoadedModel
    from vlmchat.engine.requests import EvidenceRequest

_DIGITS = 5  # of what grids hold, behind the point


async def evidence(served: Served, request: Request) -> Response:
    """Answer ``POST /v1/evidence``.

    Raises:
        VlmchatError: the request cannot be answered.
        CancelledError: whoever asked hung up.
    """
    from vlmchat.engine.requests import EvidenceRequest, parse

    served.service.require()
    asked = parse(EvidenceRequest, await read_json(request))
    loaded = served.service.require(asked.model)
    async with stopped_on_leaving(request) as cancel:
        messages = await asyncio.to_thread(
            asked.conversation, served.resolver(), videos=loaded.video
        )

        def work(caches: "Caches") -> dict[str, Any]:
            if cancel.is_set():
                raise CancelledError
            return _found(loaded, messages, asked, cancel, caches)

        found = await served.service.compute(loaded, work, cancel)
    head = {"object": "evidence", "model": asked.model or loaded.id}
    return JSONResponse({**head, **found, "vlmchat": loaded.provenance()})


def _found(
    loaded: "LoadedModel",
    messages: "list[Message]",
    asked: "EvidenceRequest",
    cancel: "Event",
    caches: "Caches",
) -> dict[str, Any]:
    """Return the answer's body.

    Raises:
        UsageError: there is no answer, no picture before it, or no such word in it.
    """
    from vlmchat.engine.evidence import AGGREGATION, look
    from vlmchat.engine.hiding import Hiding

    answer = messages[-1]
    if answer.role != "assistant" or answer.media or not answer.text.strip():
        raise UsageError("The last message has to be the assistant's answer, as text.")
    before, text = messages[:-1], answer.text
    prompt = loaded.builder.build(before)
    (ids,) = loaded.builder.answers(before, [text], loaded.end_ids)
    looked = look(loaded, prompt, ids, text, cancel, caches)
    chosen = looked.spoken(*asked.word) if asked.word else looked.whole
    hiding = Hiding(loaded, prompt, ids, cancel, caches)
    plain = hiding.plain()
    body = {
        "text": text,
        "aggregation": AGGREGATION,
        "pictures": [
            {"rows": grid.shape[0], "cols": grid.shape[1]} for grid in looked.seen(chosen).heat
        ],
        "whole": _row(looked, looked.whole, plain),
        "words": [_row(looked, word, plain) for word in looked.words()],
        "chosen": _row(looked, chosen, plain),
        "hiding": None,
    }
    if asked.hide:
        seen = looked.seen(chosen)
        body["hiding"] = _hidden(hiding, seen, chosen, plain, prompt.images, asked.elsewhere)
    return body


def _row(looked: "Looked", spoken: "Spoken", plain: tuple[float, ...]) -> dict[str, Any]:
    seen = looked.seen(spoken)
    return {
        "begin": spoken.begin,
        "end": spoken.end,
        "logprob": _likelihood(spoken, plain),
        "share": round(seen.share, _DIGITS),
        "heat": [_values(grid) for grid in seen.heat],
        "raw": [_values(grid) for grid in seen.raw],
    }


def _values(grid: "torch.Tensor") -> list[list[float]]:
    return [[round(value, _DIGITS) for value in row] for row in grid.tolist()]


def _likelihood(spoken: "Spoken", logprobs: tuple[float, ...]) -> float:
    return sum(logprobs[index] for index in spoken.tokens)


def _hidden(
    hiding: "Hiding",
    seen: "Seen",
    chosen: "Spoken",
    plain: tuple[float, ...],
    images: tuple[Any, ...],
    count: int,
) -> dict[str, Any]:
    """Return what hiding the place that was looked at most does, and what hiding others does."""
    # Where nothing is left once the prompt's attention is taken off, what there was is all we have.
    left = any(float(grid.sum()) for grid in seen.heat)
    grids = [grid.tolist() for grid in (seen.heat if left else seen.raw)]
    picture, place = highest(grids)
    grid = grids[picture]
    others = elsewhere(grid, place, count, images[picture].sha256)
    boxes = [window.box(grid) for window in (place, *others)]
    found = [_likelihood(chosen, row) for row in hiding.hidden(picture, boxes)]
    return {
        "picture": picture,
        "box": [round(edge, _DIGITS) for edge in boxes[0]],
        "share": round(place.share(grid), _DIGITS),
        "logprob": _likelihood(chosen, plain),
        "hidden": found[0],
        "elsewhere": [
            {"box": [round(edge, _DIGITS) for edge in box], "hidden": value}
            for box, value in zip(boxes[1:], found[1:], strict=True)
        ],
    }
