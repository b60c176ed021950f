"""The desktop's clipboard in the chat: pasting and copying."""

import os
import sys
import time
from pathlib import Path

import pytest
from textual import events

from tests.clipboards import Desktop
from tests.fake_engine import FakeEngine, running
from tests.pictures import encoded, saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.talk.desktop import clipboard

pytestmark = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="Pillow reads it there")


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desktop:
    folder = tmp_path / "desktop"
    folder.mkdir()
    return Desktop(folder, monkeypatch)


async def _attached(chat: Chat, count: int) -> list[str]:
    await chat.until(lambda: len(chat.screen.attachments.media) == count)
    return [media.name for media in chat.screen.attachments.media]


async def test_pasting_into_the_chat(desktop: Desktop, tmp_path: Path) -> None:
    photo = saved(tmp_path / "my photo.png", colour="blue")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("/paste")
            await chat.until(chat.errors)
            assert "attach a picture by its path" in chat.errors()[-1]
            desktop.wayland()
            await chat.pilot.press("alt+v")
            await chat.until(lambda: "no picture on the clipboard" in chat.errors()[-1])

            desktop.hold("image/png", encoded())
            await chat.pilot.press("ctrl+v")
            (name,) = await _attached(chat, 1)
            assert name.startswith("clipboard-") and name.endswith(".png") and len(name) == 20
            desktop.hold("text/uri-list", photo.as_uri().encode())
            # Some terminals send an empty paste for whatever is not text.
            chat.composer.post_message(events.Paste(""))
            assert (await _attached(chat, 2))[1] == "my photo.png"

            desktop.hold("image/png", b"not a picture")
            await chat.ask("/paste-image")
            await chat.until(lambda: "is not a picture" in chat.errors()[-1])

            await chat.type("see: ")
            desktop.hold("text/plain", b"some [red] text")
            await chat.pilot.press("ctrl+v")
            await chat.until(lambda: chat.composer.text == "see: some [red] text")
            before = len(chat.errors())
            await chat.pilot.press("alt+v")
            await chat.until(lambda: len(chat.errors()) > before)
            assert chat.composer.text == "see: some [red] text"


async def test_pasting_what_was_copied_inside(desktop: Desktop) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.type("word")
            await chat.pilot.press("shift+home", "ctrl+c", "end", "ctrl+v")
            await chat.until(lambda: chat.composer.text == "wordword")
            assert chat.errors() == []


@pytest.mark.parametrize("kind", ["wayland", "x11"])
async def test_copying(kind: str, desktop: Desktop) -> None:
    getattr(desktop, kind)()
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            chat.app.copy_to_clipboard("ein [red] Gruß\n")
            assert chat.app.clipboard == "ein [red] Gruß\n"
            await chat.until(lambda: desktop.copied == "ein [red] Gruß\n")
            await chat.type("cut me")
            await chat.pilot.press("ctrl+x")
            await chat.until(lambda: desktop.copied.rstrip("\n") == "cut me")
            assert chat.composer.text == ""


async def test_copying_with_a_program_that_hangs(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clipboard, "SECONDS", 0.2)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    pid = tmp_path / "pid"
    desktop.install("wl-copy", f"echo $$ > {pid}; exec sleep 60")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            began = time.monotonic()
            chat.app.copy_to_clipboard("x" * 10_000_000)
            assert time.monotonic() - began < 1
            await chat.until(lambda: pid.exists() and pid.read_text().strip())
            await chat.until(lambda: _is_gone(int(pid.read_text())))
            assert chat.errors() == []


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
