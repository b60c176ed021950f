"""``vlmchat ask`` and its kin as a shell runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import encoded, saved

COMMAND = [sys.executable, "-m", "vlmchat.cli.main"]


def run(
    *arguments: object, stdin: str | bytes = "", seconds: float = 180
) -> subprocess.CompletedProcess[str]:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=data,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def refused(code: int, *arguments: object, stdin: str | bytes = "") -> str:
    """Run what must fail with `code` and one sentence on standard error; return the sentence."""
    done = run(*arguments, stdin=stdin)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("vlmchat: "), done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def at(engine: EngineProcess) -> list[str]:
    """Return the options that name the running engine."""
    return ["--engine-url", engine.url, "--api-key", TOKEN]


def test_local_engine_answers(tiny_model: Path, tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.jpg")
    done = run("ask", "--model", tiny_model, "-a", photo, "--max-new-tokens", 12, "What is it?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and done.stderr == ""


@pytest.mark.slow
def test_json(tiny_model: Path, tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.jpg")
    options = ["--model", tiny_model, "--max-new-tokens", 5, "--temperature", 1, "--seed", 4]
    done = run("ask", *options, "-a", photo, "-a", photo, "--json", "Compare.")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert set(row) == {
        *("text", "model", "revision", "quantization", "adapter", "device", "dtype", "seed"),
        *("finish_reason", "usage", "timings", "sent"),
    }
    assert row["seed"] == 4 and row["finish_reason"] == "length" and row["adapter"] == ""
    assert row["usage"]["completion_tokens"] == 5 and row["usage"]["cached_tokens"] == 0
    assert row["timings"]["vision_tiles"] == 3  # both are the same picture
    assert row["timings"]["first_token_ms"] <= row["timings"]["total_ms"]


def test_prompt_from_standard_input(at: list[str]) -> None:
    for arguments in (["-"], []):
        done = run("ask", *at, "--max-new-tokens", 3, *arguments, stdin="Größe?\n")
        assert done.returncode == 0 and done.stdout.strip()


def test_system_and_sampling_reach_the_engine() -> None:
    with running(FakeEngine()) as fake:
        done = run(
            *("ask", "--engine-url", fake.url, "--system", "Be brief.", "--temperature", 0.5),
            *("--top-p", 0.9, "--top-k", 7, "--min-p", 0.1, "--repetition-penalty", 1.1),
            *("--max-new-tokens", 9, "--seed", 3, "Hi"),
        )
    assert done.returncode == 0 and done.stdout == "Hello there.\n", done.stderr
    body = fake.requests[-1]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    expected: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1}
    expected |= {"repetition_penalty": 1.1, "max_tokens": 9, "seed": 3, "model": "fake-vlm"}
    assert {name: body[name] for name in expected} == expected


@pytest.mark.slow
def test_address_and_model_of_the_configuration_belong_together(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = tmp_path / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    with running(FakeEngine()) as fake:
        config.write_text('[engine]\nmodel = "smolvlm2-500m"\n')
        assert run("ask", "--engine-url", fake.url, "Hi").returncode == 0
        assert fake.requests[-1]["model"] == "fake-vlm"
        config.write_text(f'[engine]\nurl = "{fake.url}"\nmodel = "its-own"\n')
        assert run("ask", "Hi").returncode == 0
        assert fake.requests[-1]["model"] == "its-own"
        asked = len(fake.requests)
        assert run("ask", "--model", tiny_model, "--max-new-tokens", 2, "Hi").returncode == 0
        assert len(fake.requests) == asked


def test_bad_pictures(tmp_path: Path) -> None:
    files = {
        "text.jpg": b"hello",
        "empty.png": b"",
        "cut.jpg": encoded("JPEG", 400, 300)[:1500],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert name in refused(2, "ask", "-a", tmp_path / name, "What?")
    assert "is a folder" in refused(2, "ask", "-a", tmp_path, "What?")
    assert "does not exist" in refused(2, "ask", "-a", tmp_path / "none.png", "What?")


@pytest.mark.parametrize("prompt", ["   ", "\n\t"])
def test_no_question(prompt: str) -> None:
    assert "no question" in refused(2, "ask", prompt)
    assert "no question" in refused(2, "ask", "-", stdin=prompt)
    assert "not UTF-8" in refused(2, "ask", "-", stdin=b"\xff\xfe")


def test_bad_usage() -> None:
    assert run("ask", "--temperature", "hot", "x").returncode == 2
    assert run("ask", "--quant", "3bit", "x").returncode == 2
    assert run("ask", "--nonsense", "x").returncode == 2
    assert run("nonsense").returncode == 2
    local = refused(2, "ask", "--engine-url", "http://127.0.0.1:9", "--quant", "4bit", "x")
    assert "local engine only" in local
    assert "must start with http" in refused(2, "ask", "--engine-url", "localhost:80", "x")


def test_typed_markup_and_control_sequences(at: list[str]) -> None:
    done = run("ask", *at, "--max-new-tokens", 3, "[/red] \x1b[31m \u202e <image>")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=401, body="{}"), "refused the key"),
        (Reply(status=404, body="<html>"), "no chat-completions API"),
        (Reply(status=500, body='{"error": {"message": "boom"}}'), "failed (HTTP 500): boom"),
        (Reply(status=200, body="<html>hi"), "does not speak"),
        (Reply(pieces=["a", "b", "c"], break_after=0), "engine"),
    ],
    ids=["401", "404", "500", "garbage", "cut"],
)
def test_bad_servers(reply: Reply, words: str) -> None:
    with running(FakeEngine(Script(replies=[reply]))) as fake:
        assert words in refused(3, "ask", "--engine-url", fake.url, "x")


def test_nothing_listens() -> None:
    assert "does not answer" in refused(3, "ask", "--engine-url", "http://127.0.0.1:9/v1", "x")


@pytest.mark.slow
def test_unknown_model_and_bad_model_folders(tiny_model: Path, tmp_path: Path) -> None:
    assert "There is no model" in refused(3, "ask", "--model", "smolvlm-9b", "x")
    said = refused(3, "ask", "--model", "HuggingFaceTB/none", "x")
    assert "HuggingFaceTB/none" in said
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in tiny_model.iterdir():
        data = file.read_bytes()
        (damaged / file.name).write_bytes(data[:-100] if file.suffix == ".safetensors" else data)
    assert "model.safetensors" in refused(3, "ask", "--model", damaged, "x")
    (damaged / "model.safetensors").rename(damaged / "pytorch_model.bin")
    assert "pickle" in refused(3, "ask", "--model", damaged, "x")


def test_answer_cut_by_the_engines_death_is_kept(tmp_path: Path) -> None:
    reply = Reply(pieces=["one ", "two "], break_after=2)
    with running(FakeEngine(Script(replies=[reply]))) as fake:
        done = run("ask", "--engine-url", fake.url, "x")
    assert done.returncode == 3 and done.stdout == "one two ", done.stderr


def test_reader_that_leaves_is_no_error(slow_engine: EngineProcess) -> None:
    at = ["--engine-url", slow_engine.url, "--api-key", TOKEN]
    child = subprocess.Popen(
        [*COMMAND, "ask", *at, "--max-new-tokens", "900", "Long."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert child.stdout and child.stderr
    child.stdout.read(1)
    child.stdout.close()
    assert child.wait(30) == 141
    assert child.stderr.read() == b""
    child.stderr.close()


def test_interrupt_ends_at_once(slow_engine: EngineProcess) -> None:
    at = ["--engine-url", slow_engine.url, "--api-key", TOKEN]
    child = subprocess.Popen(
        [*COMMAND, "ask", *at, "--max-new-tokens", "900", "Long."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert child.stdout and child.stderr
    child.stdout.read(1)
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 130
    assert b"Traceback" not in child.stderr.read()
    child.stdout.close()
    child.stderr.close()


def test_serve(tiny_model: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--api-key", "k", "--model", str(tiny_model)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr
    try:
        line = next(line for line in child.stderr if "http://" in line)
        url = line[line.index("http://") :].split()[0].removesuffix("/v1")
        headers = {"Authorization": "Bearer k"}
        deadline = time.monotonic() + 60
        while httpx.get(f"{url}/health", headers=headers).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        done = run("ask", "--engine-url", f"{url}/v1", "--api-key", "k", "--max-new-tokens", 3, "x")
        assert done.returncode == 0, done.stderr
        assert "refused the key" in refused(3, "ask", "--engine-url", url, "x")
        child.send_signal(signal.SIGINT)
        assert child.wait(15) in (0, 130, -signal.SIGINT)
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


@pytest.mark.slow
def test_serve_refuses(tmp_path: Path) -> None:
    assert "--api-key" in refused(2, "serve", "--host", "0.0.0.0")
    done = run("serve", "--model", tmp_path, "--port", 0)
    assert done.returncode == 3 and "config.json" in done.stderr.splitlines()[-1]


def test_help_and_version() -> None:
    assert run("--version").stdout.startswith("vlmchat ")
    assert run("chat", "--version").stdout == run("--version").stdout  # the same without its name
    assert "--attach" in run("chat", "--help").stdout
    listed = run("--help").stdout
    assert all(name in listed for name in ("ask", "serve", "models", "doctor", "demo-pictures"))


def test_chat_process_stays_light() -> None:
    """Nothing heavy is imported by any light room, also not at second hand."""
    rooms = ["cli.parser", "cli.chat", "tui.app", "client.supervisor", "settings", "models.resolve"]
    rooms += [
        "media.images",
        "media.tiles",
        "chat.openai",
        "demo.pictures",
        "cli.ask",
        "cli.models",
    ]
    for room in rooms:
        code = (
            f"import sys, vlmchat.{room}; "
            "print([m for m in ('torch', 'transformers', 'trl', 'peft') if m in sys.modules])"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == "[]", room


def test_first_paint_imports_nothing_heavy() -> None:
    code = (
        "import sys, vlmchat.tui.app; "
        "print([m for m in ('PIL', 'numpy', 'httpx2', 'av') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_engine_ends_with_a_killed_parent(tiny_model: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from vlmchat.client.supervisor import *\n"
        "async def main():\n"
        "    engine = LocalEngine(EngineOptions(sys.argv[1]))\n"
        "    await engine.start()\n"
        "    print(engine.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tiny_model)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    engine = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{engine}").exists() and "Z" not in _state(engine):
        assert time.monotonic() < deadline, "the engine outlived its parent"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"
