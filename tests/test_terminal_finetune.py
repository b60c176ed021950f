"""The real program in a terminal, and the real trainer: from a log to an answer that changed."""

import re
import time
from pathlib import Path

import pytest

from tests.finetune.logs import asked, write_log
from tests.pictures import saved
from tests.terminal import Terminal
from vlmchat.finetune.job import list_jobs
from vlmchat.finetune.shelf import list_adapters


def give(terminal: Terminal, log: Path) -> None:
    """Begin with a log, whose path may be longer than a line."""
    terminal.type(f"/finetune {log}")
    terminal.wait(lambda screen: log.name in re.sub(r"[\s│]", "", screen))
    terminal.press("enter")


@pytest.mark.slow
def test_from_a_log_to_an_adapter(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "home"))
    folder, home = tmp_path / "logs", tmp_path / "home"
    folder.mkdir()
    saved(folder / "a.png", 64, 64)
    rows = [asked(f"What is {n}?", "A red circle.", "a.png") for n in range(24)]
    log = write_log(folder / "circles.jsonl", rows)
    with Terminal("--model", tiny_model, home=home, columns=80, rows=24) as terminal:
        terminal.wait("ready")
        give(terminal, log)
        terminal.wait("24 of 24 usable")
        terminal.press("enter")
        terminal.wait("of memory")
        terminal.press("right")  # the quick preset
        terminal.wait("A first look")
        terminal.wait("Start (Ctrl+S)")
        terminal.type("\x13")
        terminal.wait("3 Run")
        terminal.wait(lambda screen: re.search(r"step [1-9]\d* of \d", screen), 120)
        terminal.wait("training loss")
        moved = terminal.text
        terminal.wait(lambda screen: screen != moved)
        terminal.wait("Done (step", 120)
        assert "◆ validation loss" in terminal.text
        terminal.type("a")
        terminal.wait("Fine-tune", absent=True)
        terminal.wait("adapter circles", 60)
        terminal.wait("ready")
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
    (job,) = list_jobs()
    assert job.state() == "finished"
    (adapter,) = list_adapters()
    assert adapter.card.job == job.id and adapter.card.rows == job.spec().rows


@pytest.mark.slow
def test_the_job_outlives_a_chat_that_is_killed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "home"))
    home = tmp_path / "home"
    rows = [asked(f"What is {n}?", "A red circle.") for n in range(40)]
    log = write_log(tmp_path / "circles.jsonl", rows)
    with Terminal("--model", tiny_model, home=home, columns=100, rows=30) as terminal:
        terminal.wait("ready")
        give(terminal, log)
        terminal.wait("40 of 40 usable")
        terminal.press("enter")
        terminal.wait("Start (Ctrl+S)")
        terminal.type("\x13")
        terminal.wait(lambda screen: re.search(r"step [1-9]\d* of \d", screen), 120)
        terminal.kill()
    (job,) = list_jobs()
    deadline = time.monotonic() + 120
    while job.state() == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert job.state() == "finished" and not list_adapters()
    with Terminal("--model", tiny_model, home=home, columns=100, rows=30) as terminal:
        terminal.wait("The job “circles” is done")
        assert len(list_adapters()) == 1
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
