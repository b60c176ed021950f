"""``vlmchat synth`` as a shell runs it."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.adapters import save_adapter
from tests.cli.test_ask import COMMAND, run
from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, running
from tests.finetune.logs import read
from tests.pictures import saved
from vlmchat.cli.main import main

COLOURS = ("red", "green", "blue")
# The tiny model says anything at all until it is stopped, and these come soon.
STOPS = '[sampling]\nstop = ["e", "t", "o", "i", " "]\n'
ANY = ["--max-new-tokens", 40, "--min-likelihood", -99, "--min-agreement", 0, "--repeats", 99]
ANY += ["--samples", 1, "--per-image", 2]
_MORE = 93


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = tmp_path / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(STOPS)
    (tmp_path / "pics").mkdir()
    for colour in COLOURS:
        saved(tmp_path / "pics" / f"{colour}.png", colour=colour)
    (tmp_path / "pics" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "pics"


@pytest.fixture
def at(engine: EngineProcess) -> list[str]:
    return ["--engine-url", engine.url, "--api-key", TOKEN]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["vlmchat", "synth", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_made_by_an_engine(
    at: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = folder.parent / "data.jsonl"
    arguments = [folder, *at, *ANY, "--kinds", "caption", "--out", out]
    assert called(monkeypatch, *arguments, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    kept, left_out = rows_of(out), rows_of(out.with_name("data.dropped.jsonl"))
    assert summary["finished"] and summary["kept"] == len(kept) > 0
    assert summary["made"] == len(kept) + len(left_out) == 6
    assert summary["dropped"] == Counter(row["why"] for row in left_out)
    [broken] = summary["unreadable"]
    assert "broken.png" in broken
    for row in kept:
        made = row["made"]
        assert row["messages"][0]["content"][0]["path"].startswith("pics/")
        assert made["kind"] == "caption" and made["seed"] == 0 and made["picture"]
        assert made["model"] and made["dtype"] and {"likelihood", "gain"} < set(made["scores"])
    examples, dropped = read(out)
    assert dropped == [] and len(examples) == len(kept)
    before = out.read_bytes()
    assert called(monkeypatch, *arguments) == 0 and out.read_bytes() == before
    assert f"6 made, {len(kept)} kept in" in capsys.readouterr().out
    assert called(monkeypatch, *arguments, "--seed", 3) == 2
    assert "was begun with “seed” 0" in capsys.readouterr().err


def test_engine_elsewhere_that_does_not_score(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "data.jsonl"
    arguments = ["--kinds", "caption,preference", "--per-image", 1, "--out", out, "--seed", 2]
    with running(FakeEngine()) as fake:
        assert called(monkeypatch, folder, "--engine-url", fake.url, *arguments) == 0
        assert "does not say how likely answers are" in capsys.readouterr().out
        assert {body["max_tokens"] for body in fake.requests} >= {256}
    rows = rows_of(out)
    assert all("likelihood" not in row["made"]["scores"] for row in rows)
    assert {row["made"]["seed"] for row in rows} == {2}


def test_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shapes.jsonl"
    order = ["--drawn", "shapes", 3, "--per-image", 2, "--out", out]
    assert called(monkeypatch, *order) == 0
    assert (
        capsys.readouterr().out == f"{len(rows_of(out))} made, {len(rows_of(out))} kept in {out}\n"
    )
    assert len(list((tmp_path / "shapes_pictures").iterdir())) == 3
    before = out.read_bytes()
    assert called(monkeypatch, *order) == 0 and out.read_bytes() == before
    assert called(monkeypatch, *order[:2], 3, "--out", out) == 2  # another number of questions


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name what to ask about"),
        (["none", "--out", "x.jsonl"], "is no folder"),
        (["empty", "--out", "x.jsonl"], "There is no picture"),
        (["pics", "--out", "x.jsonl", "--kinds", "poem"], "“poem” is no kind of row"),
        (["pics", "--out", "x.jsonl", "--level", "1"], "--level is about what is drawn"),
        (["--drawn", "text", "ten", "--out", "x.jsonl"], "“ten” is no number"),
        (["--drawn", "text", "3", "--out", "x.jsonl", "--evolve", "2"], "--evolve is about what"),
        (["pics", "--out", "x.jsonl", "--judge", "strict"], "add them to --kinds"),
        (["pics", "--out", "x.jsonl", "--prompts", "empty/none"], "--write-prompts makes one"),
        (
            ["pics", "--out", "x.jsonl", "--kinds", "preference", "--pair-adapters", "a", "a"],
            "two different ones",
        ),
    ],
)
def test_refused(
    arguments: list[str],
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    assert called(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.strip().splitlines()) == 1
    assert not Path("x.jsonl").exists()


def test_texts_are_written_and_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = folder.parent / "texts"
    assert called(monkeypatch, "--write-prompts", texts) == 0
    assert "captions.md" in capsys.readouterr().out
    (texts / "captions.md").write_text("Say a word.\n")
    with running(FakeEngine()) as fake:
        arguments = ["--engine-url", fake.url, "--kinds", "caption", "--prompts", texts]
        assert called(monkeypatch, folder, *arguments, "--out", folder.parent / "x.jsonl") == 0
        asked = {body["messages"][-1]["content"][-1]["text"] for body in fake.requests}
    assert asked == {"Say a word."}


@pytest.mark.slow
def test_killed_again_and_again(at: list[str], folder: Path) -> None:
    for number in range(_MORE):  # so many that a fast machine is not done before it is stopped
        saved(folder / f"more-{number}.png", 40 + number, 30, COLOURS[number % 3])
    out = folder.parent / "data.jsonl"
    command = [*COMMAND, "synth", folder, *at, *ANY, "--kinds", "caption", "--out", out]
    command += ["--in-flight", "1"]  # so that not all are done at once
    chance = random.Random(7)
    for number in range(3):
        child = subprocess.Popen(
            [str(one) for one in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        journal = out.with_name("data.journal.jsonl")
        many = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if journal.exists() and len(journal.read_bytes().splitlines()) > many + 1:
                break
            time.sleep(0.01)
        if number:
            time.sleep(chance.random() * 0.2)
        child.send_signal(signal.SIGKILL if number else signal.SIGINT)
        said, trouble = child.communicate(timeout=60)
        if number == 0:
            assert child.returncode == 130, trouble
            assert "the same command goes on" in said
    assert run(*command[3:]).returncode == 0
    found = [*rows_of(out), *rows_of(out.with_name("data.dropped.jsonl"))]
    asked = [(row["made"]["picture"], row["messages"][0]["content"][1]["text"]) for row in found]
    assert len(asked) == len(set(asked)) == 2 * (3 + _MORE)


@pytest.mark.slow
def test_two_adapters(
    at: list[str],
    tiny_model: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "broken.png").unlink()
    save_adapter(tiny_model, folder.parent / "a")
    out = folder.parent / "pairs.jsonl"
    arguments = [folder, *at, *ANY, "--kinds", "preference", "--evolve", 0, "--judge", "balanced"]
    arguments += ["--pair-adapters", folder.parent / "a", "none", "--out", out, "--json"]
    assert called(monkeypatch, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["finished"]
    rows = rows_of(out)
    for row in rows:
        ways = row["made"]["chosen"], row["made"]["rejected"]
        assert {way["adapter"] for way in ways} == {"synth-1-a", ""}
    examples, dropped = read(out)
    assert dropped == [] and {example.kind for example in examples} == {"preference"}
    assert len(examples) == len(rows) > 0
