"""The person's own editor: what it gets, and what comes back."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.terminal import Terminal
from tests.tui.driving import chatting, remote


async def test_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "true")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.type("draft")
            await chat.pilot.press("ctrl+g")
            await chat.until(chat.errors)
            assert "cannot be given to an editor" in chat.errors()[0]
            assert chat.composer.text == "draft"
            monkeypatch.setenv("VISUAL", "no-such-editor-here")
            await chat.pilot.press("ctrl+g")
            await chat.until(lambda: len(chat.errors()) == 2)
            assert chat.composer.text == "draft"


_EDITOR = """
import os, stat, sys
file = sys.argv[-1]
with open(os.environ["SEEN"], "a") as seen:
    mode = stat.S_IMODE(os.stat(file).st_mode)
    folder = stat.S_IMODE(os.stat(os.path.dirname(file)).st_mode)
    print(sys.argv[1:-1], oct(mode), oct(folder), repr(open(file).read()), file, file=seen)
print("THE EDITOR HAS THE TERMINAL", flush=True)
word = input()
if word == "fail":
    sys.exit(3)
with open(file, "a") as stream:
    stream.write(" and " + word + "\\nsecond line\\n")
"""


@pytest.mark.slow
def test_in_a_real_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "my editor.py"
    editor.write_text(_EDITOR)
    seen = tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    monkeypatch.setenv("VISUAL", f"{shlex.quote(sys.executable)} {shlex.quote(str(editor))} --wait")
    replies = [Reply(["word "], delay=0.02, forever=True)]
    with (
        running(FakeEngine(Script(replies=replies))) as engine,
        Terminal("--engine-url", engine.url, home=tmp_path / "home") as terminal,
    ):
        terminal.wait("ready")
        terminal.send_line("go on")
        terminal.wait("word word")
        terminal.type("my draft")
        terminal.wait("my draft")
        terminal.child.send("\x07")
        screen = terminal.wait("THE EDITOR HAS THE TERMINAL")
        for _ in range(10):
            terminal.read(0.05)
        assert terminal.text == screen  # nothing is drawn over it, though words arrive
        terminal.child.send("\x03")  # Ctrl+C ends this editor, and not the chat
        terminal.wait("my draft")
        terminal.child.send("\x07")
        terminal.wait("THE EDITOR HAS THE TERMINAL")
        terminal.type("fail\r")
        terminal.wait("my draft")
        terminal.child.send("\x07")
        terminal.wait("THE EDITOR HAS THE TERMINAL")
        terminal.type("more\r")
        terminal.wait("my draft and more")
        terminal.wait("second line")
        terminal.type("!")
        terminal.wait("second line!")
        terminal.press("escape")
        terminal.wait("stopped")
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
    lines = seen.read_text().splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("['--wait'] 0o600 0o700 'my draft'")
        assert line.endswith(".md")
        assert not Path(line.rpartition(" ")[2]).parent.exists()
