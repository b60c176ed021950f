"""Selected text, with the mouse and the keyboard, and what Ctrl+C does."""

import sys
from pathlib import Path

import pytest
from textual.widget import Widget
from textual.widgets import Static

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote
from vlmchat.config_file import set_value
from vlmchat.tui.widgets.turns import AnswerTurn, QuestionTurn

ANSWER = ["The **boat** is [red].\n\n", "```python\nx = 1\n```\n"]


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the desktop's clipboard is."""
    if sys.platform in ("darwin", "win32"):
        pytest.skip("the program has another name there")
    programs, copied = tmp_path / "bin", tmp_path / "copied"
    programs.mkdir()
    tool = programs / "wl-copy"
    tool.write_text(f"#!/bin/sh\nexec /bin/cat > {copied}\n")
    tool.chmod(0o755)
    copied.write_text("")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-1")
    return copied


async def _drag(chat: Chat, begin: Widget, end: Widget) -> None:
    """Drag from the beginning of one widget to the end of another."""
    last = (end.size.width - 1, end.size.height - 1)
    await chat.pilot.mouse_down(begin, offset=(0, 0))
    await chat.pilot.hover(end, offset=last)
    await chat.pilot.mouse_up(end, offset=last)


def _toasts(chat: Chat) -> list[str]:
    return [item.message for item in chat.app._notifications]


def _text(turn: Widget) -> Widget:
    return turn.query_one(".turn-text", Static)


async def test_across_turns_by_the_mouse(desktop: Path) -> None:
    with running(FakeEngine(Script([Reply(ANSWER)]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("What is [this]?")
            await chat.answered()
            await chat.type("a draft")
            question = chat.screen.query_one(QuestionTurn)
            answer = chat.screen.query_one(AnswerTurn)
            await chat.until(lambda: "x = 1" in chat.text())
            await _drag(chat, _text(question), answer)
            await chat.until(chat.screen.get_selected_text)
            await chat.pilot.press("ctrl+c")
            await chat.until(lambda: "x = 1" in desktop.read_text())
            copied = chat.app.clipboard
            await chat.until(lambda: desktop.read_text() == copied)
            assert copied.startswith("What is [this]?\n")
            assert "The boat is [red]." in copied and "a draft" not in copied
            assert chat.screen.get_selected_text() is None
            assert chat.composer.text == "a draft"


async def test_in_the_composer_and_half_a_surrogate_pair(desktop: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.type("some word")
            await chat.pilot.press("ctrl+shift+left", "ctrl+c")
            await chat.until(lambda: desktop.read_text() == "word")
            await chat.pilot.press("ctrl+x")
            await chat.until(lambda: chat.composer.text == "some ")
            chat.app.copy_to_clipboard("half \ud800")
            await chat.until(lambda: desktop.read_text() == "half ?")


async def test_with_nothing_selected_it_stops_and_then_says_how_to_quit() -> None:
    script = Script([Reply(["On ", "and "], delay=0.02, forever=True)])
    with running(FakeEngine(script)) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("Go")
            await chat.until(lambda: "and" in "".join(turn.text for turn in chat.replies))
            await chat.type("a draft")
            await chat.pilot.press("ctrl+c")
            await chat.answered()
            assert chat.replies[0].state == "stopped"
            assert chat.composer.text == "a draft"
            await chat.pilot.press("ctrl+c")
            await chat.until(lambda: "Ctrl+Q quits." in _toasts(chat))
            assert chat.app.is_running and chat.composer.text == "a draft"


async def test_keys_are_named_as_they_are() -> None:
    set_value("keys.quit", "ctrl+t")
    set_value("keys.attach", "f12")
    set_value("keys.help", "")
    set_value("keys.stop", "f11")
    set_value("ui.enter", "newline")
    script = Script([Reply(["On "], delay=0.02, forever=True)])
    with running(FakeEngine(script)) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.until(lambda: "F12 or /attach adds a picture" in chat.text())
            assert "Ctrl+P finds every command, /help explains them" in chat.text()
            assert "Ctrl+S sends, Enter starts a new line." in chat.text()
            await chat.pilot.press("ctrl+c")
            await chat.until(lambda: "Ctrl+T quits." in _toasts(chat))
            await chat.type("Go")
            await chat.pilot.press("ctrl+s")
            await chat.until(lambda: any(turn.text for turn in chat.replies))
            await chat.type("/regenerate")
            await chat.pilot.press("ctrl+s")
            await chat.until(chat.errors)
            assert "stop it first (F11)." in chat.errors()[0]
            await chat.pilot.press("f11")
            await chat.answered()
            await chat.type("/new")
            await chat.pilot.press("ctrl+s")
            await chat.until(lambda: "F12 or /attach" in chat.text())
