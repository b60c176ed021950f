"""The engine over real HTTP, on the tiny model."""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.engine_process import EngineProcess
from tests.pictures import encoded, saved
from tests.tiny import CONTEXT, TOKENS_PER_TILE


def picture(data: bytes | None = None, detail: str = "auto") -> dict[str, Any]:
    text = base64.b64encode(encoded() if data is None else data).decode()
    url = f"data:image/png;base64,{text}"
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def message_of(response: httpx.Response) -> str:
    said: str = response.json()["error"]["message"]
    return said


def test_models_and_health(engine: EngineProcess) -> None:
    row = engine.http.get("/v1/models").json()["data"][0]
    assert row["object"] == "model" and row["id"].endswith("tiny-smolvlm")
    assert row["meta"]["context"] == CONTEXT and row["meta"]["device"] == "cpu"
    assert engine.health()["status"] == "ok"


def test_answer(engine: EngineProcess) -> None:
    body = engine.chat([picture(encoded(colour="gold")), text("What is this?")]).json()
    choice = body["choices"][0]
    assert body["object"] == "chat.completion" and choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 8
    assert body["usage"]["prompt_tokens"] > TOKENS_PER_TILE
    assert body["timings"]["predicted_n"] == 8 and body["timings"]["vision_tiles"] >= 1
    assert body["vlmchat"]["quantization"] == "8bit"


def test_stream_equals_whole(engine: EngineProcess) -> None:
    question = [picture(), text("Say a lot.")]
    whole = engine.chat(question, max_tokens=40).json()["choices"][0]["message"]["content"]
    events = list(engine.stream(question, max_tokens=40, stream_options={"include_usage": True}))
    assert events[-1] is None
    pieces = [c["delta"].get("content", "") for e in events[:-1] for c in e["choices"]]
    assert "".join(pieces) == whole and len(whole) > 20
    assert events[-2]["usage"]["completion_tokens"] == 40 and events[-2]["choices"] == []
    assert "usage" not in events[-3]


def test_the_first_text_says_what_it_is_made_with(engine: EngineProcess) -> None:
    question = "Say it."
    told = [e["vlmchat"] for e in engine.stream(question, max_tokens=9) if e and "vlmchat" in e]
    assert len(told) == 2 and told[0] == told[1]
    assert told[0]["way"] and 0 <= told[0]["seed"] < 2**31
    drawn = engine.stream(question, max_tokens=1, temperature=1.0)
    assert next(e for e in drawn if e and "vlmchat" in e)["vlmchat"]["seed"] != told[0]["seed"]


def test_detail_is_honoured(engine: EngineProcess) -> None:
    def tokens(detail: str) -> int:
        response = engine.chat([picture(encoded("PNG", 70, 70), detail), text("?")])
        count: int = response.json()["usage"]["prompt_tokens"]
        return count

    assert tokens("low") < tokens("auto") < tokens("high")


def test_seed_repeats_and_differs(engine: EngineProcess) -> None:
    def sample(seed: int | None) -> str:
        response = engine.chat("Tell me.", temperature=1.5, max_tokens=30, seed=seed)
        answer: str = response.json()["choices"][0]["message"]["content"]
        return answer

    assert sample(7) == sample(7)
    assert len({sample(seed) for seed in (1, 2, 3)}) == 3


def test_sampling_parameters_change_the_answer(engine: EngineProcess) -> None:
    def answer(**fields: Any) -> str:
        response = engine.chat("Go on.", max_tokens=40, **fields)
        assert response.status_code == 200, response.text
        said: str = response.json()["choices"][0]["message"]["content"]
        return said

    greedy = answer()
    free = answer(temperature=1.5, seed=3)
    assert len({greedy, free, answer(temperature=1.5, seed=3, top_k=2)}) == 3
    assert len({free, answer(temperature=1.5, seed=3, top_p=0.1)}) == 2
    assert len({free, answer(temperature=1.5, seed=3, min_p=0.9)}) == 2
    assert answer(repetition_penalty=5.0) != greedy
    assert answer(frequency_penalty=2.0, presence_penalty=2.0) != greedy


def test_stop_sequence_ends_the_answer(engine: EngineProcess) -> None:
    whole = engine.chat("Go.", max_tokens=40).json()["choices"][0]["message"]["content"]
    stop = whole[10:13]
    expected = whole[: whole.index(stop)]
    body = engine.chat("Go.", max_tokens=40, stop=[stop, "never said"]).json()
    assert body["choices"][0]["message"]["content"] == expected
    assert body["choices"][0]["finish_reason"] == "stop"
    pieces = [
        c["delta"].get("content", "")
        for e in engine.stream("Go.", max_tokens=40, stop=stop)
        if e
        for c in e["choices"]
    ]
    assert "".join(pieces) == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"logprobs": True}, "“logprobs” is not supported"),
        ({"tools": []}, "“tools” is not supported"),
        ({"n": 2}, "“n”"),
        ({"temperature": 9}, "“temperature”"),
        ({"temperature": "hot"}, "“temperature”"),
        ({"top_p": 0}, "“top_p”"),
        ({"max_tokens": 0}, "“max_tokens”"),
        ({"model": "gpt-4"}, "“gpt-4” is not served"),
        ({"messages": []}, "“messages”"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "“messages[0].role”"),
        ({"messages": [{"role": "user"}]}, "“messages[0].content” is missing"),
        (
            {"messages": [{"role": "user", "content": [{"type": "video_url"}]}]},
            "“messages[0].content[0]”",
        ),
        (
            {"messages": [{"role": "user", "content": [{**text("x"), "cache": 1}]}]},
            "“messages[0].content[0].cache” is not supported",
        ),
    ],
)
def test_bad_fields_are_refused_by_name(
    engine: EngineProcess, fields: dict[str, Any], words: str
) -> None:
    response = engine.chat("x", **fields)
    assert response.status_code == 400, response.text
    assert words in message_of(response)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "image_url", "image_url": {"url": "http://x/y.png"}}, "data: URL"),
        ({"type": "image_url", "image_url": {"url": "ftp://x"}}, "neither"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}, "base64"),
        ({"type": "image_url", "image_url": {"url": "data:image/png"}}, "comma"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "outside"),
        (picture(b"not a picture"), "not a picture"),
        (picture(b""), "empty"),
        (picture(encoded()[:60]), "damaged"),
    ],
)
def test_bad_pictures_are_refused(engine: EngineProcess, part: Any, words: str) -> None:
    response = engine.chat([part, text("?")])
    assert response.status_code == 400, response.text
    assert words in message_of(response)


def test_file_urls_under_the_root_only(engine: EngineProcess, tmp_path: Path) -> None:
    def ask(url: str) -> httpx.Response:
        return engine.chat([{"type": "image_url", "image_url": {"url": url}}, text("?")])

    inside = saved(engine.folder / "a picture.png")
    assert ask(inside.as_uri()).status_code == 200
    link = engine.folder / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to(saved(tmp_path / "outside.png"))
    for url in (link.as_uri(), f"file://{engine.folder}/../x.png", "file://host/a.png"):
        assert ask(url).status_code == 400


def test_context_overflow_names_both_numbers(engine: EngineProcess) -> None:
    began = time.perf_counter()
    response = engine.chat([picture(), text("word " * 3000)])
    assert response.status_code == 400 and time.perf_counter() - began < 5
    assert response.json()["error"]["code"] == "context_length_exceeded"
    said = message_of(response)
    assert str(CONTEXT) in said and "picture" in said and "remove" in said


def test_answer_is_clamped_to_the_context(engine: EngineProcess) -> None:
    body = engine.chat("a " * 450, max_tokens=5000).json()
    usage = body["usage"]
    assert usage["total_tokens"] <= CONTEXT
    assert body["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/v1/completions", 404)],
)
def test_other_routes(engine: EngineProcess, method: str, path: str, code: int) -> None:
    assert engine.http.request(method, path).status_code == code


def test_key_and_origin_are_checked(engine: EngineProcess) -> None:
    for path in ("/health", "/v1/models"):
        assert httpx.get(engine.url + path, trust_env=False).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert httpx.get(f"{engine.url}/health", headers=wrong, trust_env=False).status_code == 401
    web = engine.http.get("/health", headers={"Origin": "https://example.org"})
    assert web.status_code == 403


def test_body_that_is_no_json(engine: EngineProcess) -> None:
    response = engine.http.post("/v1/chat/completions", content=b"\xff{")
    assert response.status_code == 400 and "not JSON" in message_of(response)


def test_hanging_up_frees_the_engine(engine: EngineProcess) -> None:
    """A long answer that nobody reads any more does not keep the next one waiting."""
    began = time.perf_counter()
    whole = engine.chat("Long.", max_tokens=900).json()
    alone = time.perf_counter() - began
    assert whole["usage"]["completion_tokens"] == 900
    for event in engine.stream("Long.", max_tokens=900):
        if event["choices"][0]["delta"].get("content"):
            break
    began = time.perf_counter()
    assert engine.chat("Short.", max_tokens=1).status_code == 200
    assert time.perf_counter() - began < alone / 2


@pytest.mark.slow
def test_hanging_up_while_waiting(slow_engine: EngineProcess) -> None:
    """One who leaves the queue costs nothing."""
    engine = slow_engine
    stop = threading.Event()

    def hold() -> None:
        for _ in engine.stream("Long.", max_tokens=900):
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        with pytest.raises(httpx.TimeoutException):
            engine.http.post(
                "/v1/chat/completions",
                json={"messages": [{"role": "user", "content": "x"}], "max_tokens": 900},
                timeout=0.3,
            )
        stop.set()
        held.result()
    began = time.perf_counter()
    engine.chat("Short.", max_tokens=1)
    assert time.perf_counter() - began < 2


def test_answers_come_in_order_and_are_not_mixed(engine: EngineProcess) -> None:
    questions = [f"Question {index}" for index in range(8)]
    alone = [engine.chat(q, max_tokens=12).json()["choices"][0]["message"] for q in questions]
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(
                lambda q: engine.chat(q, max_tokens=12).json()["choices"][0]["message"], questions
            )
        )
    assert together == alone


def test_streamed_bytes_are_plain_events(engine: EngineProcess) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "stream": True}
    raw = engine.http.post("/v1/chat/completions", json=body)
    assert raw.headers["content-type"].startswith("text/event-stream")
    events = raw.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(e[6:])["object"] == "chat.completion.chunk" for e in events[:-1])
