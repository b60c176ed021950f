"""The real program in a terminal, against an engine that says what it is told to."""

import random
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.small_disk import small_disk
from tests.terminal import Terminal
from vlmchat.store.store import Store

pytestmark = pytest.mark.slow

__all__ = ["small_disk"]

STORY = Reply(["Once ", "upon ", "a time. "], delay=0.03, forever=True)
ALLOWED = 0.25


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    with running(FakeEngine()) as engine:
        yield engine


def opened(fake: FakeEngine, home: Path, *arguments: object, rows: int = 40) -> Terminal:
    return Terminal("--engine-url", fake.url, *arguments, home=home, rows=rows)


def leave(terminal: Terminal) -> None:
    terminal.press("ctrl+q")
    assert terminal.wait_exit() == 0


def is_sound(home: Path) -> bool:
    with sqlite3.connect(home / "data" / "chats.sqlite3") as database:
        sound = database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    return sound


@pytest.mark.parametrize("form", ["{0}", "'{0}'", '"{0}"', "file://{1}"])
def test_a_pasted_path_is_attached(form: str, fake: FakeEngine, home: Path, tmp_path: Path) -> None:
    photo = saved(tmp_path / "my photo [1].png")
    pasted = form.format(photo, photo.as_uri().removeprefix("file://"))
    with opened(fake, home) as terminal:
        terminal.wait("ready")
        terminal.paste(pasted)
        terminal.wait("my photo [1].png")
        terminal.send_line("What is this?")
        terminal.wait("Hello there.")
        leave(terminal)
    kinds = [part["type"] for part in fake.requests[0]["messages"][0]["content"]]
    assert kinds == ["image_url", "text"]


def test_stopping_keeps_what_was_said(fake: FakeEngine, home: Path) -> None:
    fake.script = Script(replies=[STORY, Reply(["Yes."])])
    with opened(fake, home) as terminal:
        terminal.wait("ready")
        terminal.send_line("Tell me a story.")
        terminal.wait("Once upon a time.")
        terminal.press("escape")
        terminal.wait("stopped")
        assert "Once upon a time." in terminal.text
        terminal.send_line("Is that all?")
        terminal.wait("Yes.")
        leave(terminal)
    assert fake.hang_ups == 1
    said = fake.requests[1]["messages"][1]["content"]
    assert said.startswith("Once upon a time.")


def test_a_fork_leaves_the_original_as_it_was(fake: FakeEngine, home: Path) -> None:
    fake.script = Script(replies=[Reply(["Red."]), Reply(["Blue."]), Reply(["Green."])])
    with opened(fake, home) as terminal:
        terminal.wait("ready")
        terminal.send_line("First colour?")
        terminal.wait("Red.")
        terminal.send_line("Second colour?")
        terminal.wait("Blue.")
        terminal.wait("ready")
        for _ in range(3):  # the last answer, its question, the first answer
            terminal.press("alt+up")
        terminal.wait("ork")  # the footer offers it for the turn that has the focus
        terminal.type("f")
        screen = terminal.wait("This is a fork")
        assert "Red." in screen and "Blue." not in screen
        terminal.send_line("Another colour?")
        terminal.wait("Green.")
        terminal.press("ctrl+b")
        screen = terminal.wait("First colour? (fork)")
        assert screen.count("First colour?") >= 2
        leave(terminal)
    assert [row["content"] for row in fake.requests[2]["messages"]] == [
        "First colour?",
        "Red.",
        "Another colour?",
    ]
    with Store(home / "data") as store:
        original, fork = sorted(store.threads(), key=lambda thread: thread.id)
        said = [node.message.text for node in store.path(original.id)]
        assert said == ["First colour?", "Red.", "Second colour?", "Blue."]
        assert fork.title == "First colour? (fork)"


def test_a_hit_is_jumped_to(fake: FakeEngine, home: Path) -> None:
    lines = Reply([f"Line {number}.\n\n" for number in range(60)])
    fake.script = Script(replies=[Reply(["A purple needle."]), lines])
    with opened(fake, home, rows=24) as terminal:
        terminal.wait("ready")
        terminal.send_line("Where is it?")
        terminal.wait("A purple needle.")
        terminal.send_line("/new")
        terminal.wait("A purple needle.", absent=True)
        terminal.send_line("Count for me.")
        terminal.wait("Line 59.")
        terminal.wait("ready")
        terminal.press("ctrl+f")
        terminal.wait("Search all conversations")
        terminal.type("purple")
        terminal.wait("1 found")
        terminal.press("enter")
        screen = terminal.wait(lambda text: "Search all" not in text and "A purple needle." in text)
        assert "Line 59." not in screen
        leave(terminal)


@pytest.mark.parametrize("number", range(5))
def test_killed_in_mid_answer(number: int, fake: FakeEngine, home: Path) -> None:
    fake.script = Script(replies=[Reply([""], delay=0.005, stamped=True, forever=True)])
    with opened(fake, home, rows=60) as terminal:
        terminal.wait("ready")
        terminal.send_line("What time is it?")
        terminal.wait(lambda screen: len(re.findall(r"\b\d{13}\b", screen)) > 4)
        until = time.monotonic() + random.Random(number).uniform(0.2, 1.5)
        while time.monotonic() < until:
            terminal.read(0.01)
        killed = time.time()
        terminal.kill()
    assert is_sound(home)
    with Store(home / "data") as store:
        (thread,) = store.threads()
        _, reply = store.path(thread.id)
    stamps = [int(word) / 1000 for word in reply.message.text.split()]
    assert stamps == sorted(stamps)
    assert killed - stamps[-1] <= ALLOWED
    with opened(fake, home, "--resume", rows=60) as terminal:
        last = reply.message.text.split()[-1]
        terminal.wait(lambda screen: last in screen and "stopped" in screen)
        leave(terminal)
    assert is_sound(home)


def test_two_chats_on_one_database(fake: FakeEngine, home: Path) -> None:
    fake.script = Script(replies=[Reply(["One ", "by ", "one."], delay=0.05)])
    with opened(fake, home) as one, opened(fake, home) as other:
        for terminal in (one, other):
            terminal.wait("ready")
        for number in range(3):
            for name, terminal in (("left", one), ("right", other)):
                terminal.send_line(f"{name} {number}")
            for terminal in (one, other):
                terminal.wait(partial(_counts, "One by one.", number + 1))
        for terminal in (one, other):
            leave(terminal)
            assert "not saved" not in terminal.text
    assert is_sound(home)
    with Store(home / "data") as store:
        paths = [store.path(thread.id) for thread in store.threads()]
    said = sorted([node.message.text for node in path[::2]] for path in paths)
    assert said == [[f"{name} {number}" for number in range(3)] for name in ("left", "right")]
    assert all(node.state == "complete" for path in paths for node in path)


def on_disk(home: Path, folder: Path) -> None:
    """Have the conversations lie in `folder`."""
    home.mkdir()
    (home / "data").symlink_to(folder)


def test_a_disk_that_cannot_be_written_is_said(
    small_disk: Callable[[int], Path], fake: FakeEngine, home: Path
) -> None:
    folder = small_disk(1_000_000)
    on_disk(home, folder)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with opened(fake, home, rows=24) as terminal:
        terminal.wait("goes on in memory")
        terminal.wait("ready")
        terminal.send_line("Hello?")
        terminal.wait("Hello there.")
        assert "goes on in memory" in terminal.text
        leave(terminal)


def test_a_disk_that_fills_up_is_said(
    small_disk: Callable[[int], Path], fake: FakeEngine, home: Path
) -> None:
    folder = small_disk(600_000)
    on_disk(home, folder)
    fake.script = Script(replies=[Reply(["Fine."]), STORY, Reply(["Still here."])])
    with opened(fake, home, rows=24) as terminal:
        terminal.wait("ready")
        terminal.send_line("Hello?")
        terminal.wait("Fine.")
        (folder / "filler").write_bytes(bytes(max(0, shutil.disk_usage(folder).free - 4096)))
        terminal.send_line("Tell me a story.")
        terminal.wait("goes on in memory")
        terminal.wait("a time.")  # stopped before it is asked, the engine would still owe the story
        terminal.press("escape")
        terminal.wait("stopped")
        terminal.send_line("Are you there?")
        terminal.wait("Still here.")
        assert "goes on in memory" in terminal.text
        leave(terminal)
    (folder / "filler").unlink()
    assert is_sound(home)


def test_the_window_changes_its_size(fake: FakeEngine, home: Path) -> None:
    fake.script = Script(replies=[STORY])
    with Terminal("--engine-url", fake.url, home=home, columns=80, rows=24) as terminal:
        terminal.wait("ready")
        terminal.send_line("Tell me a story.")
        terminal.wait("Once upon a time.")
        terminal.type("half a thought")
        terminal.wait("half a thought")
        for columns, rows in ((120, 40), (40, 12), (80, 24), (20, 5), (80, 24)):
            terminal.resize(columns, rows)
            if columns >= 40:
                terminal.wait(partial(_fills, columns))
                terminal.wait("half a thought")
        for _ in range(3):  # back before the program can ask how large the window is
            terminal.resize(20, 5)
            terminal.resize(80, 24)
            terminal.wait(lambda screen: partial(_fills, 80)(screen) and "answering" in screen, 5)
        terminal.press("escape")
        terminal.wait("stopped")
        terminal.type(" more")
        terminal.wait("half a thought more")
        leave(terminal)


def _counts(text: str, times: int, screen: str) -> bool:
    return screen.count(text) == times


def _fills(columns: int, screen: str) -> bool:
    """Return whether the composer's frame reaches both sides of a window so wide."""
    return any(columns - 6 <= len(line) <= columns for line in screen.splitlines() if "╭" in line)
