"""Plain mode in a pseudo-terminal, as a person and a screen reader meet it."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved


class Person:
    """Types into plain mode and reads what it writes.

    Args:
        fake: the engine.
        term: kind of terminal.
        arguments: of the program.
    """

    def __init__(self, fake: FakeEngine, term: str, *arguments: object) -> None:
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "vlmchat.cli.main", "--engine-url", fake.url, *map(str, arguments)],
            env={**os.environ, "TERM": term},
            dimensions=(24, 500),
            timeout=30,
            encoding="utf-8",
        )
        self.seen = ""

    def wait(self, wanted: str) -> str:
        """Return what was written up to `wanted`."""
        self.child.expect_exact(wanted)
        text = str(self.child.before) + wanted
        self.seen += text
        return text

    def type(self, text: str) -> None:
        self.child.send(text)

    def ends(self) -> int:
        self.child.expect(pexpect.EOF)
        self.seen += str(self.child.before)
        self.child.close()
        assert "Traceback" not in self.seen
        code: int = self.child.exitstatus
        return code


Meet = Callable[..., Person]


@pytest.fixture(params=["dumb", "xterm-256color"])
def meet(request: pytest.FixtureRequest) -> Iterator[Meet]:
    people: list[Person] = []

    def begin(fake: FakeEngine, *arguments: object) -> Person:
        person = Person(fake, request.param, "--plain", *arguments)
        people.append(person)
        return person

    yield begin
    for person in people:
        if request.param == "dumb":
            assert "\x1b" not in person.seen
        # No alternate screen, no clearing, no colours, no cursor put anywhere.
        assert not re.search(r"\x1b\[[\d;?]*[HJhlmABCDsu]", person.seen)
        person.child.close(force=True)


def test_a_conversation(meet: Meet) -> None:
    with running(FakeEngine()) as fake:
        person = meet(fake)
        person.wait("Ready. Type a question, /help for commands.")
        person.wait("You: ")
        person.type("Hello\r")
        person.wait("Fake VLM: Hello there.\r\n")
        person.wait("You: ")
        person.type("/reg\t\r")
        person.wait("/regenerate")
        person.wait("Fake VLM: Hello there.\r\n")
        person.wait("You: ")
        person.type("\x04")
        assert person.ends() == 0


def test_questions_queue_and_the_second_interrupt_quits(meet: Meet) -> None:
    replies = [Reply(["Slow. "], delay=0.02, forever=True), Reply()]
    with running(FakeEngine(Script(replies=replies))) as fake:
        person = meet(fake)
        person.wait("Ready.")
        person.wait("You: ")
        person.type("First\r")
        person.wait("Fake VLM: Slow. Slow.")
        person.type("Second\r")
        person.wait("Second")
        person.wait("Slow. Slow.")
        person.type("/stop\r")
        person.wait("Note: Stopped.")
        person.wait("You: Second\r\nFake VLM: Hello there.\r\n")
        person.wait("You: ")
        person.type("\x03")
        person.wait("Ctrl+C once more quits.")
        person.type("\x03")
        assert person.ends() == 0
        assert len(fake.requests) == 2


def test_an_interrupt_stops_and_what_is_typed_meanwhile_stays(meet: Meet) -> None:
    reply = Reply(["Slow. "], delay=0.02, forever=True)
    with running(FakeEngine(Script(replies=[reply]))) as fake:
        person = meet(fake)
        person.wait("You: ")
        person.type("First\r")
        person.wait("Slow. Slow.")
        person.type("\x03")
        person.wait("Note: Stopped.")
        person.wait("You: ")
        person.type("/quit\r")
        assert person.ends() == 0


def test_tab_lists_commands_and_paths(meet: Meet, tmp_path: Path) -> None:
    saved(tmp_path / "one harbour.jpg")
    with running(FakeEngine()) as fake:
        person = meet(fake)
        person.wait("Ready.")
        person.wait("You: ")
        person.type("/de\t\t")
        person.wait("/detach [NUMBER | NAME | all]: Nothing is attached.")
        person.wait("You: /de")
        person.type("\x15/attach\r")
        person.wait("Path of a picture or video, or Enter for none: ")
        person.type(f"{tmp_path}/one\t")
        person.wait("harbour.jpg")
        person.type("\r")
        person.wait("With the next question goes: one harbour.jpg, JPEG")
        person.wait("You: ")
        person.type("/d\r")
        person.wait("Fake VLM: Hello there.")
        person.wait("You: ")
        person.type("\x04")
        assert person.ends() == 0


def test_the_editor_is_used_where_it_is_wanted(
    meet: Meet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf ' and more' >> \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    with running(FakeEngine()) as fake:
        person = meet(fake)
        person.wait("Ready.")
        person.wait("You: ")
        person.type("Hello\r")
        person.wait("Hello there.")
        person.wait("You: ")
        person.type("/edit\r")
        person.wait("or Enter to leave it: ")
        person.type("/editor\r")
        person.wait("Fake VLM: Hello there.")
        person.wait("You: ")
        person.type("/quit\r")
        assert person.ends() == 0
        assert "Hello and more" in str(fake.requests[-1]["messages"][-1])


def test_a_simple_terminal_gets_plain_lines_by_itself() -> None:
    with running(FakeEngine()) as fake:
        person = Person(fake, "dumb")
        person.wait("plain mode (the terminal can only show lines)")
        person.wait("You: ")
        person.type("\x04")
        assert person.ends() == 0
        assert "\x1b" not in person.seen
