"""The engine serves the stock ``openai`` client, and says in figures what it did."""

import asyncio
import json
import re
import time
from typing import Any

import openai
import pytest

from tests.engine.test_http import picture, text
from tests.engine_process import TOKEN, EngineProcess
from tests.pictures import encoded

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def client_of(engine: EngineProcess, key: str = TOKEN) -> Any:
    return openai.OpenAI(base_url=f"{engine.url}/v1", api_key=key, max_retries=0)


def question(colour: str = "red", words: str = "What is this?") -> Any:
    return [{"role": "user", "content": [picture(encoded(colour=colour)), text(words)]}]


def parsed(exposition: str) -> Samples:
    """Return the samples of Prometheus' text form 0.0.4; fail where it is not that."""
    samples: Samples = {}
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    assert exposition.endswith("\n")
    for line in exposition.splitlines():
        if line.startswith("# HELP "):
            name, words = line[7:].split(" ", 1)
            assert words and name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert kind in ("counter", "gauge") and name in helped and name not in kinds
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name, labels = match["name"], match["labels"] or ""
            assert LABEL.sub("", labels) == "" and name in kinds
            assert (kinds[name] == "counter") == name.endswith("_total")
            key = name, frozenset(LABEL.findall(labels))
            assert key not in samples
            samples[key] = float(match["value"])
    return samples


def figures(engine: EngineProcess) -> Samples:
    response = engine.http.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(response.text)


def figure(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def ended(engine: EngineProcess, outcome: str) -> float:
    labels = {"route": "/v1/chat/completions", "outcome": outcome}
    return figure(figures(engine), "vlmchat_requests_total", **labels)


def test_openai_client_whole_and_streamed(engine: EngineProcess) -> None:
    with client_of(engine) as client:
        (row,) = list(client.models.list())
        assert client.models.retrieve(row.id).id == row.id
        asked = {"model": row.id, "messages": question("gold"), "max_tokens": 12}
        whole = client.chat.completions.create(**asked)
        said = whole.choices[0].message.content
        assert said and whole.choices[0].finish_reason == "length"
        assert whole.usage.completion_tokens == 12 and whole.model == row.id
        *chunks, last = client.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}
        )
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == said
        assert chunks[-1].choices[0].finish_reason == "length" and not last.choices
        assert last.usage.total_tokens == whole.usage.total_tokens
        other = client.chat.completions.create(**{**asked, "messages": question("blue")})
        assert other.choices[0].message.content != said


def test_openai_client_async_and_cancelled(engine: EngineProcess) -> None:
    before = ended(engine, "cancelled")

    async def leave_early() -> str:
        async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key=TOKEN) as client:
            asked: Any = {"model": "", "messages": question(), "max_tokens": 900, "stream": True}
            stream: Any = await client.chat.completions.create(**asked)
            async with stream:
                async for chunk in stream:
                    if chunk.choices[0].delta.content:
                        return str(chunk.choices[0].delta.content)
        raise AssertionError("nothing was said")

    assert asyncio.run(leave_early())
    deadline = time.monotonic() + 20
    while ended(engine, "cancelled") == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert figure(figures(engine), "vlmchat_requests_in_line") == 0


def test_errors_are_the_clients_own(engine: EngineProcess) -> None:
    with client_of(engine, "wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with client_of(engine) as client:
        ask = client.chat.completions.create
        with pytest.raises(openai.BadRequestError, match="“logprobs” is not supported") as bad:
            ask(model="", messages=question(), logprobs=True)
        assert bad.value.type == "invalid_request_error" and bad.value.code == "invalid_request"
        with pytest.raises(openai.BadRequestError, match="not served here"):
            ask(model="gpt-4", messages=question())
        with pytest.raises(openai.NotFoundError, match="use /v1/chat/completions"):
            client.completions.create(model="", prompt="Once")
        with pytest.raises(openai.NotFoundError, match="“a/b” is not served here"):
            client.models.retrieve("a/b")


def test_metrics_count_what_was_done(engine: EngineProcess) -> None:
    before = figures(engine)
    body = engine.chat([picture(encoded(colour="green", width=80)), text("?")]).json()
    engine.chat("x", temperature=9)
    after = figures(engine)

    def grown(name: str, **labels: str) -> float:
        return figure(after, name, **labels) - figure(before, name, **labels)

    route = {"route": "/v1/chat/completions"}
    assert grown("vlmchat_requests_total", outcome="answered", **route) == 1
    assert grown("vlmchat_requests_total", outcome="refused", **route) == 1
    assert grown("vlmchat_prompt_tokens_total") == body["usage"]["prompt_tokens"]
    assert grown("vlmchat_answer_tokens_total") == 8
    seconds = body["timings"]
    vision, prompt = seconds["vision_ms"], seconds["prompt_ms"]
    assert grown("vlmchat_vision_seconds_total") == pytest.approx(vision / 1000, abs=1e-4)
    assert grown("vlmchat_prompt_seconds_total") == pytest.approx(
        (prompt - vision) / 1000, abs=1e-4
    )
    assert grown("vlmchat_decode_seconds_total") > 0
    assert grown("vlmchat_cache_bytes", cache="pictures") > 0
    assert figure(after, "process_resident_memory_bytes") > 1e8
    assert figure(after, "vlmchat_ready") == 1
    assert json.dumps(sorted(name for name, _ in after)).count("model_info") == 1


def test_metrics_need_the_key(engine: EngineProcess) -> None:
    response = engine.http.get("/metrics", headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401 and "vlmchat" not in response.text
