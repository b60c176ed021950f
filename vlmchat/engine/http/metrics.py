r"""``/metrics``: what the engine has done and what it holds, for Prometheus.

The text form is version 0.0.4 of Prometheus' exposition format: ``# HELP`` and ``# TYPE`` lines
before the samples of each metric, one sample a line, label values with ``\``, ``"`` and line feeds
escaped. Counters count from the engine's start. All names are documented by their ``# HELP``.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import psutil
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from vlmchat.engine.events import Answer
    from vlmchat.engine.http.served import Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOME = "vlmchat.outcome"
"""Where a request's scope holds how it ended, where its HTTP status does not say so."""
_HUNG_UP = 499  # as other servers note a client that left before its answer
Samples = Iterable[tuple[Mapping[str, str], float]]


class Counts:
    """What was counted since the engine began."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.totals: dict[str, float] = dict.fromkeys(_TOTALS, 0.0)

    def ended(self, route: str, outcome: str) -> None:
        """Count a request."""
        self.requests[route, outcome] += 1

    def answered(self, answer: "Answer") -> None:
        """Count what an answer took."""
        timings = answer.timings
        self.totals["prompt_tokens"] += answer.prompt_tokens
        self.totals["cached_prompt_tokens"] += answer.cached_tokens
        self.totals["answer_tokens"] += answer.completion_tokens
        self.totals["vision_seconds"] += timings.vision_ms / 1000
        self.totals["prompt_seconds"] += max(timings.prompt_ms - timings.vision_ms, 0) / 1000
        self.totals["decode_seconds"] += timings.predicted_ms / 1000


_TOTALS = {
    "prompt_tokens": "Tokens of the prompts of whole answers.",
    "cached_prompt_tokens": "Those of them that had been read for an earlier answer.",
    "answer_tokens": "Tokens of whole answers.",
    "vision_seconds": "Seconds spent looking at pictures.",
    "prompt_seconds": "Seconds spent reading prompts, pictures apart.",
    "decode_seconds": "Seconds from the first token of an answer to its last.",
}


class Observer:
    """Counts requests by how they ended.

    Args:
        app: what answers them.
        counts: where they are counted.
        routes: paths that are counted by their names; all others are ``other``.
    """

    def __init__(self, app: ASGIApp, counts: Counts, routes: frozenset[str]) -> None:
        self._app = app
        self._counts = counts
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request and note its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = _HUNG_UP

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._counts.ended(self._named(scope["path"]), scope.get(OUTCOME) or _outcome(status))

    def _named(self, path: str) -> str:
        """Return the route of a path: one label for all names of models, and for all else."""
        if path in self._routes:
            return path
        patterns = (route for route in self._routes if "{" in route)
        return next((one for one in patterns if path.startswith(one.partition("{")[0])), "other")


def _outcome(status: int) -> str:
    if status == _HUNG_UP:
        return "cancelled"
    if status == 429:
        return "busy"
    return "answered" if status < 400 else "refused" if status < 500 else "failed"


async def metrics(served: "Served", _: Request) -> Response:
    """Answer ``GET /metrics``."""
    return Response(exposition(served), headers={"Content-Type": CONTENT_TYPE})


def exposition(served: "Served") -> str:
    """Return all metrics in Prometheus' text form."""
    counts, line, service = served.counts, served.line, served.service
    process = psutil.Process()
    requests = [
        ({"route": route, "outcome": outcome}, float(count))
        for (route, outcome), count in sorted(counts.requests.items())
    ]
    caches = [({"cache": name}, float(size)) for name, size in service.kept_bytes().items()]
    loaded = service.loaded
    names = [] if loaded is None else [(loaded.base or loaded).id, *service.adapters]
    models = [({"model": name}, 1.0) for name in names]
    parts = [
        _metric(
            "requests_total", "counter", "Requests that have ended, by route and how.", requests
        ),
        *(
            _plain(f"{name}_total", "counter", _TOTALS[name], x)
            for name, x in counts.totals.items()
        ),
        _plain("requests_in_line", "gauge", "Requests let in and not answered yet.", len(line)),
        _plain("requests_in_line_limit", "gauge", "The most of them; 0 for any.", line.most),
        _plain("connections", "gauge", "Connections that are open.", served.connections()),
        _metric("cache_bytes", "gauge", "Memory that what is kept for later takes.", caches),
        _plain("ready", "gauge", "1 when the model is loaded.", service.state.stage == "ready"),
        _metric("model_info", "gauge", "The names that requests may ask for.", models),
        _plain(
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the engine's process.",
            process.memory_info().rss,
            prefix="",
        ),
        _plain(
            "process_start_time_seconds",
            "gauge",
            "When the process began, in seconds since 1970.",
            process.create_time(),
            prefix="",
        ),
        _plain(
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the process.",
            time.process_time(),
            prefix="",
        ),
    ]
    return "".join(parts)


def _plain(name: str, kind: str, text: str, value: float, prefix: str = "vlmchat_") -> str:
    return _metric(name, kind, text, [({}, float(value))], prefix)


def _metric(name: str, kind: str, text: str, samples: Samples, prefix: str = "vlmchat_") -> str:
    name = prefix + name
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        named = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        lines.append(f"{name}{{{named}}} {value!r}" if named else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
