"""The real binary, the real engine and a tiny model in a real terminal, used as a person would."""

import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.pictures import saved
from tests.terminal import Terminal
from tests.tiny import build_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model that is slow enough for an answer to be stopped."""
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny-vlm", layers=16, intermediate=8192)


def engine_of(terminal: Terminal) -> psutil.Process:
    (child,) = psutil.Process(terminal.child.pid).children()
    assert "vlmchat.engine" in child.cmdline()
    return child


def words_after(screen: str, question: str) -> list[str]:
    """Return the words of the answer to `question` that are on the screen."""
    below = screen.rpartition(question)[2].partition("╭")[0]
    return below.split()[2:] if "tiny-vlm" in below else []


def is_speaking(question: str) -> Callable[[str], bool]:
    """Return a test for some words of the answer to `question` being on the screen."""
    return lambda screen: len(words_after(screen, question)) >= 4


def footnotes(screen: str) -> int:
    return len(re.findall(r"first token \d\S* s · \d\S* tokens/s · \d", screen))


def test_a_whole_conversation(model: Path, tmp_path: Path) -> None:
    photo = saved(tmp_path / "my photo.jpg")
    with Terminal("--model", model, home=tmp_path / "home", rows=60) as terminal:
        terminal.wait("Ask something", 10)
        # Typed while the model loads: it waits in line and goes out by itself.
        terminal.send_line("/set max_tokens 12")
        terminal.send_line(f"/attach '{photo}'")
        terminal.wait("my photo.jpg")
        terminal.send_line("What is in the picture?")
        terminal.wait(lambda screen: footnotes(screen) == 1)
        # A long answer, stopped: what was said stays.
        terminal.send_line("/set max_tokens 900")
        terminal.send_line("Tell me more.")
        terminal.wait(is_speaking("Tell me more."))
        terminal.press("escape")
        terminal.wait("stopped")
        # A follow-up is answered, and a path that is dropped becomes a chip.
        terminal.send_line("/set max_tokens 5")
        terminal.paste(str(photo).replace(" ", "\\ "))
        terminal.wait(lambda screen: screen.count("my photo.jpg") >= 2)
        terminal.send_line("And this one?")
        terminal.wait(lambda screen: "ready" in screen and footnotes(screen) >= 2)
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0


@pytest.mark.slow
def test_killed_engine_in_mid_answer(model: Path, tmp_path: Path) -> None:
    with Terminal("--model", model, home=tmp_path / "home", rows=60) as terminal:
        terminal.wait("Ask something", 10)
        terminal.send_line("/set max_tokens 900")
        terminal.send_line("Tell me a long story.")
        before = terminal.wait(is_speaking("Tell me a long story."))
        terminal.type("half a thought")
        engine = engine_of(terminal)
        os.kill(engine.pid, signal.SIGKILL)
        terminal.wait("was killed")
        assert "half a thought" in terminal.wait("ready")
        said = words_after(before, "Tell me a long story.")[:3]
        assert all(word in terminal.text for word in said)
        assert engine_of(terminal).pid != engine.pid
        for _ in "half a thought":
            terminal.press("backspace")
        # Where the machine is slow, the first answer has all but filled the little model's context.
        terminal.send_line("/new")
        terminal.send_line("/set max_tokens 5")
        terminal.send_line("Are you there?")
        terminal.wait(lambda screen: re.search(r"\d+ tokens", screen.split("Are you there?")[-1]))
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
    assert not psutil.pid_exists(engine.pid) or engine.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_killed_chat_in_mid_answer_is_brought_back(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Terminal("--model", model, home=home, rows=60) as terminal:
        terminal.wait("Ask something", 10)
        terminal.send_line("/set max_tokens 900")
        terminal.send_line("Tell me a long story.")
        terminal.wait(is_speaking("Tell me a long story."))
        time.sleep(0.25)  # what is seen is on the disk by then
        seen = words_after(terminal.text, "Tell me a long story.")[:3]
        os.kill(terminal.child.pid, signal.SIGKILL)
    with Terminal("--model", model, "--resume", home=home, rows=60) as terminal:
        terminal.wait("Tell me a long story.", 20)
        screen = terminal.wait("ready")
        assert len(seen) == 3 and all(word in screen for word in seen)
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
    database = sqlite3.connect(home / "data" / "chats.sqlite3")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


@pytest.mark.slow
def test_failed_load_leaves_the_chat_usable(tmp_path: Path) -> None:
    with Terminal("--model", tmp_path, home=tmp_path / "home", columns=80, rows=24) as terminal:
        terminal.wait("config.json")
        terminal.send_line("hello")
        terminal.wait("hello")
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
