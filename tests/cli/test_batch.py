"""``vlmchat batch`` as a shell runs it: all rows, in order, once, whatever happens on the way."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.batch_kills import until_done
from tests.cli.test_ask import COMMAND, refused, run
from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved

SCHEMA = {"type": "object", "properties": {"cats": {"type": "integer"}}, "required": ["cats"]}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        saved(folder / f"{number:03}.png", 40 + number, 40)
    return folder


@pytest.fixture(scope="module")
def at(engine: EngineProcess) -> list[str]:
    """Return the options that name the running engine."""
    return ["--engine-url", engine.url, "--api-key", TOKEN]


def test_a_row_each_and_on_where_it_was(at: list[str], tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "pics", 6), tmp_path / "out.jsonl"
    (folder / "003.png").write_bytes(b"broken")
    command = ["batch", folder, "--prompt", "What is it?", "--max-new-tokens", 6, "--out", out]
    done = run(*command, *at)
    assert done.returncode == 1, done.stderr
    assert done.stdout == "" and "6 of 6" in done.stderr and "1 with an error" in done.stderr
    found = rows(out)
    assert [row["source"] for row in found] == [str(p) for p in sorted(folder.iterdir())]
    assert [row["index"] for row in found] == list(range(6))
    broken = found.pop(3)
    assert broken["answer"] is None and "003.png" in broken["error"]
    for row in found:
        assert row["answer"] and row["error"] is None and row["finish_reason"] == "length"
        assert row["usage"]["completion_tokens"] == 6 and row["timings"]["total_ms"] > 0
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) // 2])
    again = run(*command, *at, "--in-flight", 2)
    assert again.returncode == 1 and "Going on behind" in again.stderr
    same = [(row["source"], row["answer"], row["error"]) for row in rows(out)]
    before = [
        (row["source"], row["answer"], row["error"]) for row in map(json.loads, whole.splitlines())
    ]
    assert same == before
    assert "another prompt" in refused(2, *command[:3], "Why?", *command[4:], *at)
    picture = (folder / "000.png").read_bytes()
    refused(2, *command[:-1], folder / "000.png", *at)
    assert (folder / "000.png").read_bytes() == picture


@pytest.mark.slow
def test_the_answer_is_that_of_a_question_alone(at: list[str], tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "pics", 5), tmp_path / "out.jsonl"
    run("batch", "-", "-p", "What?", "--max-new-tokens", 8, "--out", out, *at,
        stdin="\n".join(str(path) for path in sorted(folder.iterdir())))  # fmt: skip
    alone = run("ask", "-a", folder / "004.png", "--max-new-tokens", 8, "--json", *at, "What?")
    assert rows(out)[4]["answer"] == json.loads(alone.stdout)["text"]


def test_json_of_a_shape_with_one_more_try(tmp_path: Path) -> None:
    picture, out = saved(tmp_path / "a.png"), tmp_path / "out.jsonl"
    schema = tmp_path / "shape.json"
    schema.write_text(json.dumps(SCHEMA))
    replies = ["Two cats.", '```json\n{"cats": 2}\n```', '{"cats": 1}', '{"cats": "no"}', "{}"]
    with running(FakeEngine(Script([Reply([text]) for text in replies]))) as fake:
        done = run("batch", picture, picture, picture, "-p", "How many?", "--schema", schema,
                   "--out", out, "--in-flight", 1, "--engine-url", fake.url)  # fmt: skip
        assert done.returncode == 1, done.stderr
        asked = [request["messages"] for request in fake.requests]
    first, second, third = rows(out)
    assert first["json"] == {"cats": 2} and first["attempts"] == 2 and first["error"] is None
    assert second["json"] == {"cats": 1} and second["attempts"] == 1
    assert third["json"] is None and "lacks “cats”" in third["error"] and third["answer"] == "{}"
    assert '"required": ["cats"]' in str(asked[0]) and [len(one) for one in asked] == [
        1,
        3,
        1,
        1,
        3,
    ]
    assert "there is no JSON in it" in str(asked[1][-1])
    schema.write_text('{"if": {}}')
    at = ["--out", tmp_path / "o", "--engine-url", "http://127.0.0.1:9"]
    said = refused(2, "batch", picture, "-p", "x", "--schema", schema, *at)
    assert "“if” at # cannot be checked" in said


@pytest.mark.slow
def test_a_busy_engine_is_waited_for_and_a_dead_one_is_not(tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "pics", 3), tmp_path / "out.jsonl"
    command = ["batch", folder, "-p", "What?", "--out", out, "--in-flight", 1]
    busy = Reply(status=429, body='{"error": {"message": "too many"}}')
    with running(FakeEngine(Script([Reply(["one"]), busy, Reply(["two"])]))) as fake:
        done = run(*command, "--engine-url", fake.url)
        assert done.returncode == 0, done.stderr
    assert [row["answer"] for row in rows(out)] == ["one", "two", "two"]
    long = Reply(status=400, body='{"error": {"message": "too long"}}')
    with running(FakeEngine(Script([long]))) as fake:
        done = run(*command[:5], tmp_path / "refused.jsonl", "--engine-url", fake.url)
        assert done.returncode == 1
    assert {row["error"] for row in rows(tmp_path / "refused.jsonl")} == {"too long"}


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_there(tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "pics", 4), tmp_path / "out.jsonl"
    command = ["batch", str(folder), "-p", "What?", "--out", str(out), "--in-flight", "1"]
    slow = Reply(["x"], delay=60)
    with running(FakeEngine(Script([Reply(["one"]), slow]))) as fake:
        at = ["--engine-url", fake.url]
        process = subprocess.Popen([*COMMAND, *command, *at], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not (out.exists() and out.read_bytes().endswith(b"\n")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "Stopped behind 1 of 4" in said and "Traceback" not in said
    assert [row["answer"] for row in rows(out)] == ["one"]


@pytest.mark.slow
def test_killed_at_random_moments(tiny_model: Path, tmp_path: Path) -> None:
    kills = until_done(tiny_model, tmp_path, pictures=40, kills=4, seed=int(os.getpid()))
    assert kills >= 3  # of a run that is so short, the last may come too late
