"""``vlmchat bench`` measures the tiny model beside transformers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from vlmchat.cli.bench import rows, times_faster

COMMAND = [sys.executable, "-m", "vlmchat.cli.main", "bench"]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.slow
def test_the_engine_alone(tiny_model: Path) -> None:
    done = run("--model", str(tiny_model), "--quant", "none", "--quick", "--no-library", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {"ours"}
    ours = result["ours"]
    assert ours["quantization"] == "none" and ours["way"] and ours["threads"] >= 1
    assert ours["load_s"] > 0 and ours["prefill_tokens_per_s"] > 0
    assert set(ours["first_token_s"]) == set(ours["encode_s_per_tile"]) == {"1"}
    assert set(ours["decode_tokens_per_s"]) == {"100"}  # the model takes 1024 tokens
    assert ours["peak_memory_bytes"] > 50e6
    agreed = ours["agreement"]
    assert agreed["tokens"] > 50 and agreed["top1"] > 0.9 and agreed["kl"] < 0.05
    assert "vlmchat: answering behind 100 tokens" in done.stderr


@pytest.mark.slow
def test_both_sides_as_a_table(tiny_model: Path) -> None:
    done = run("--model", str(tiny_model), "--quant", "none", "--quick", "--threads", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("cpu · 1 thread")
    assert lines[1].split() == ["vlmchat", "transformers", "better"]
    for start in ("load", "a tile of 1", "first token, 1 tile", "second question", "said behind"):
        (row,) = [line for line in lines if line.startswith(start)]
        assert len(row.split()) >= 4, row
    assert "unquantized model for" in done.stdout
    assert "transformers: a picture of 512×512 pixels" in done.stderr


def test_what_cannot_be_measured_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = run("--model", str(tmp_path / "nothing"), "--quick")
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("vlmchat: ")
    assert "Traceback" not in done.stderr


def test_a_configured_address_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMCHAT_ENGINE__URL", "http://127.0.0.1:1/v1")
    done = run()
    assert done.returncode == 2 and "--model" in done.stderr


def test_ctrl_c_ends_both(tiny_model: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--model", str(tiny_model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("vlmchat: ")
    children = psutil.Process(process.pid).children()
    assert children
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and out == "" and "Traceback" not in errors
    deadline = time.monotonic() + 10
    while any(child.is_running() for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(child.is_running() for child in children)


def side(**changes: Any) -> dict[str, Any]:
    return {
        "load_s": 1.25,
        "encode_s_per_tile": {"1": 0.2, "13": 0.18},
        "first_token_s": {"1": 0.3, "13": 3.0},
        "follow_up_s": {"1": 0.05, "13": 0.06},
        "prefill_tokens": 1024,
        "prefill_tokens_per_s": 4000.0,
        "decode_tokens_per_s": {"100": 400.0, "1200": 90.0},
        "peak_memory_bytes": 1_000_000_000,
    } | changes


def test_the_table_says_what_was_measured() -> None:
    ours = side()
    theirs = side(
        first_token_s={"1": 0.6, "13": 4.5}, decode_tokens_per_s={"100": 25.0, "1200": 24.0}
    )
    times = times_faster(ours, theirs)
    assert times["first_token_s"] == {"1": 2.0, "13": 1.5}
    assert times["decode_tokens_per_s"]["100"] == 16.0 and times["memory"] == 1.0
    table = {row[0]: row[1:] for row in rows(ours, theirs, times)}
    assert table["load"] == ("1.25 s", "1.25 s", "")
    assert table["first token, 1 tile"] == ("300 ms", "600 ms", "2.0×")
    assert table["said behind 100 tokens"] == ("400 tok/s", "25.0 tok/s", "16×")
    assert table["most memory"] == ("1 GB", "1 GB", "1.0×")
    alone = {row[0]: row[1:] for row in rows(ours, None, {})}
    assert alone["second question, 13 tiles"] == ("60 ms", "", "")
