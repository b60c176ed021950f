"""The caches over real HTTP: what is counted, told, stopped and kept apart."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_http import message_of, picture, text
from tests.engine_process import EngineProcess
from tests.pictures import encoded
from tests.tiny import CONTEXT, build_tiny


@pytest.fixture(scope="module")
def slow_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine whose model takes seconds to read a long prompt."""
    folder = tmp_path_factory.mktemp("slow")
    model = build_tiny(folder / "model", layers=60, intermediate=2048)
    with EngineProcess(model, folder) as engine:
        engine.wait_ready()
        yield engine


def turn(role: str, *content: Any) -> dict[str, Any]:
    return {"role": role, "content": list(content)}


def ask(engine: EngineProcess, messages: list[Any], **fields: Any) -> dict[str, Any]:
    body = {"messages": messages, "max_tokens": 8, **fields}
    response = engine.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def said(body: dict[str, Any]) -> str:
    content: str = body["choices"][0]["message"]["content"]
    return content


def cached(body: dict[str, Any]) -> int:
    count: int = body["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert count == body["timings"]["cache_n"]
    assert count + body["timings"]["prompt_n"] == body["usage"]["prompt_tokens"]
    return count


def test_the_second_question_reads_only_what_is_new(engine: EngineProcess) -> None:
    path = [turn("user", picture(encoded("PNG", 96, 65)), text("What is the secret here?"))]
    first = ask(engine, path)
    assert cached(first) < 20 and first["timings"]["vision_tiles"] > 1
    path += [turn("assistant", text(said(first))), turn("user", text("And now?"))]
    second = ask(engine, path)
    assert cached(second) >= first["usage"]["prompt_tokens"]
    assert second["timings"]["vision_tiles"] == 0
    path[2:] = [turn("user", picture(encoded("PNG", 29, 28)), text("And this?"))]
    third = ask(engine, path)
    assert cached(third) >= first["usage"]["prompt_tokens"]
    assert third["timings"]["vision_tiles"] == 1
    again = ask(engine, path)
    assert said(again) == said(third)
    assert cached(again) == again["usage"]["prompt_tokens"]


def test_conversations_that_interleave_stay_their_own(engine: EngineProcess) -> None:
    """Pictures of one name and one size, asked about by many at the same time."""
    pictures = [encoded("PNG", 70, 66, colour) for colour in ("red", "blue", "lime", "grey")]
    paths = [[turn("user", picture(data), text("What?"))] for data in pictures]
    alone = [said(ask(engine, path, temperature=1.0, seed=1)) for path in paths]
    assert len(set(alone)) > 1

    def work(index: int) -> None:
        body = ask(engine, paths[index % 4], temperature=1.0, seed=1)
        assert said(body) == alone[index % 4]
        assert cached(body) == body["usage"]["prompt_tokens"]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))


def test_progress_is_told_to_those_who_ask(engine: EngineProcess) -> None:
    row = engine.http.get("/v1/models").json()["data"][0]
    assert "return_progress" in row["meta"]["extensions"]
    content = [picture(encoded("PNG", 66, 130)), text("How far? " * 20)]
    events = [event for event in engine.stream(content, return_progress=True) if event]
    told = [event["prompt_progress"] for event in events if "prompt_progress" in event]
    assert told[0]["vision_tiles"] == 0 < told[0]["vision_tiles_total"]
    assert told[-1]["vision_tiles"] == told[-1]["vision_tiles_total"]
    assert told[0]["processed"] == told[0]["cache"] < told[0]["total"]
    assert all("prompt_progress" not in event for event in engine.stream(content) if event)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "pictures"])
def test_stop_is_heeded_while_the_prompt_is_read(slow_engine: EngineProcess, kind: str) -> None:
    content: list[Any] = [text(f"Read {kind} " + "a b c d e f " * 60)]
    if kind == "pictures":
        content = [picture(encoded("PNG", 120, 121 + row), "high") for row in range(12)]
    body = {"messages": [turn("user", *content)], "stream": True, "return_progress": True}
    slow_engine.chat("x", max_tokens=1)  # so that it is known, and takes no time of its own
    with slow_engine.http.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if "prompt_progress" in line:
                break
    began = time.perf_counter()
    slow_engine.chat("x", max_tokens=1)
    freed = time.perf_counter() - began
    began = time.perf_counter()
    slow_engine.chat("x", max_tokens=1)
    assert freed - (time.perf_counter() - began) < 0.2


def test_a_stopped_prompt_is_gone_on_with(engine: EngineProcess) -> None:
    content = [picture(encoded("PNG", 90, 91)), text("Stop me. " * 60)]
    messages = [turn("user", *content)]
    body = {"messages": messages, "stream": True, "return_progress": True}
    with engine.http.stream("POST", "/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
    answer = ask(engine, messages)
    with_nothing = ask(engine, [turn("user", *content, text("!"))])
    assert said(answer) and cached(with_nothing) >= answer["usage"]["prompt_tokens"] - 8


def test_the_oldest_turns_are_left_out_if_asked(engine: EngineProcess) -> None:
    system = turn("system", text("You are brief."))
    talk = [
        row
        for number in range(30)
        for row in (
            turn("user", text(f"Question {number} about the red circle on the left?")),
            turn("assistant", text("The picture shows a red circle on the left.")),
        )
    ]
    path = [system, *talk, turn("user", text("And the last?"))]
    refused = engine.http.post("/v1/chat/completions", json={"messages": path})
    assert refused.status_code == 400 and str(CONTEXT) in message_of(refused)
    body = ask(engine, path, when_full="drop oldest")
    dropped = body["vlmchat"]["dropped_turns"]
    assert 0 < dropped < 30 and body["usage"]["prompt_tokens"] < CONTEXT - 8
    # What is left is the system prompt and the newest turns, as if nothing else had been sent.
    short = ask(engine, [system, *talk[2 * dropped :], path[-1]])
    assert short["usage"]["prompt_tokens"] == body["usage"]["prompt_tokens"]
    assert said(short) == said(body) and "dropped_turns" not in short["vlmchat"]
    path += [turn("assistant", text("It is red.")), turn("user", text("Sure?"))]
    longer = ask(engine, path, when_full="drop oldest")
    assert longer["vlmchat"]["dropped_turns"] == dropped and cached(longer) > CONTEXT // 3
    alone = [turn("user", text("too long " * CONTEXT))]
    fields = {"messages": [*path[:-1], *alone], "when_full": "drop oldest"}
    assert engine.http.post("/v1/chat/completions", json=fields).status_code == 400


def test_adapters_and_limits_begin_anew(tiny_model: Path, tmp_path: Path) -> None:
    limits = ("--conversations-mib", "0", "--pictures-mib", "0", "--pictures-disk-mib", "5")
    messages = [turn("user", picture(encoded("PNG", 96, 65)), text("What is this?"))]
    with EngineProcess(tiny_model, tmp_path, *limits) as engine:
        engine.wait_ready()
        first = ask(engine, messages)
        again = ask(engine, messages)
        assert cached(first) == cached(again) == 0 and said(first) == said(again)
        assert (first["timings"]["vision_tiles"] > 1, again["timings"]["vision_tiles"]) == (True, 0)
        files = list((tmp_path / "home").rglob("*.safetensors"))
        assert len(files) == 1


def test_requests_that_wait_do_not_mix(engine: EngineProcess) -> None:
    """One who hangs up takes nobody else's entry along."""
    messages = [turn("user", picture(encoded("PNG", 50, 51)), text("Once more. " * 10))]
    whole = said(ask(engine, messages))
    stop = threading.Event()

    def leave() -> None:
        body = {"messages": messages, "stream": True, "max_tokens": 300}
        while not stop.is_set():
            with engine.http.stream("POST", "/v1/chat/completions", json=body) as response:
                next(response.iter_lines())

    with ThreadPoolExecutor(1) as pool:
        leaving = pool.submit(leave)
        for _ in range(5):
            assert said(ask(engine, messages)) == whole
        stop.set()
        leaving.result()
