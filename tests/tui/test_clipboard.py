"""The desktop's clipboard, through small programs that speak the real ones' arguments."""

import os
import sys
import time
from pathlib import Path

import pytest
from textual import events

from tests.fake_engine import FakeEngine, running
from tests.pictures import encoded, saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.errors import MediaError
from vlmchat.talk.desktop import clipboard
from vlmchat.talk.desktop.clipboard import copying_tool, read_clipboard

# The content lies in a folder, one file a kind, its name with ! for the slash.
_WL_PASTE = """
kinds() { for f in "$CLIP"/*; do [ -e "$f" ] && basename "$f" | tr '!' '/'; done; }
case "$*" in
  "--list-types") [ -n "$(kinds)" ] || { echo "Nothing is copied" >&2; exit 1; }; kinds ;;
  "--no-newline --type "*) cat "$CLIP/$(echo "$3" | tr '/' '!')" ;;
  *) exit 64 ;;
esac
"""
_WL_COPY = 'cat > "$CLIP/copied"'
_XCLIP = """
case "$*" in
  "-selection clipboard -t TARGETS -o")
    echo TARGETS; echo MULTIPLE
    for f in "$CLIP"/*; do [ -e "$f" ] && basename "$f" | tr '!' '/'; done ;;
  "-selection clipboard -t "*" -o") cat "$CLIP/$(echo "$4" | tr '/' '!')" ;;
  "-selection clipboard") cat > "$CLIP/copied" ;;
  *) exit 64 ;;
esac
"""


class Desktop:
    """A clipboard, and the programs that are installed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs, self.clip = folder / "bin", folder / "clip"
        self.programs.mkdir()
        self.clip.mkdir()
        self._set = monkeypatch.setenv
        monkeypatch.setenv("CLIP", str(self.clip))
        monkeypatch.setenv("PATH", str(self.programs))
        for name in ("WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME"):
            monkeypatch.delenv(name, raising=False)
        for tool in ("cat", "tr", "basename", "sleep", "head"):
            (self.programs / tool).symlink_to(f"/usr/bin/{tool}")

    def install(self, name: str, body: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    def wayland(self) -> None:
        self._set("WAYLAND_DISPLAY", "wayland-1")
        self.install("wl-paste", _WL_PASTE)
        self.install("wl-copy", _WL_COPY)

    def x11(self) -> None:
        self._set("DISPLAY", ":0")
        self.install("xclip", _XCLIP)

    def hold(self, kind: str, data: bytes) -> None:
        for old in self.clip.iterdir():
            old.unlink()
        self.add(kind, data)

    def add(self, kind: str, data: bytes) -> None:
        (self.clip / kind.replace("/", "!")).write_bytes(data)

    @property
    def copied(self) -> str:
        file = self.clip / "copied"
        return file.read_text("utf-8") if file.exists() else ""


pytestmark = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="Pillow reads it there")


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desktop:
    folder = tmp_path / "desktop"
    folder.mkdir()
    return Desktop(folder, monkeypatch)


@pytest.mark.parametrize("kind", ["wayland", "x11"])
async def test_what_it_holds(kind: str, desktop: Desktop, tmp_path: Path) -> None:
    getattr(desktop, kind)()
    assert (await read_clipboard()).is_empty
    png = encoded()
    desktop.hold("image/png", png)
    desktop.add("image/jpeg", encoded("JPEG"))
    desktop.add("text/html", b"<img>")
    assert (await read_clipboard()).picture == png
    jpeg = encoded("JPEG")
    desktop.hold("image/jpeg", jpeg)
    assert (await read_clipboard()).picture == jpeg
    photo = tmp_path / "a b.png"
    listed = f"# a comment\r\n{photo.as_uri()}\r\nhttps://x.org/c.png\r\n"
    desktop.hold("text/uri-list", listed.encode())
    desktop.add("text/plain", str(photo).encode())
    assert (await read_clipboard()).files == [photo]
    desktop.hold("text/plain", "zwei\r\nZeilen ü".encode())
    assert (await read_clipboard()).text == "zwei\nZeilen ü"
    assert (await read_clipboard(with_text=False)).is_empty


async def test_what_is_missing(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MediaError, match="no desktop"):
        await read_clipboard()
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(MediaError, match="install xclip"):
        await read_clipboard()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(MediaError, match="install wl-clipboard"):
        await read_clipboard()
    # Wayland sessions have an X server too, for programs like this one.
    desktop.x11()
    desktop.hold("image/png", b"x")
    assert (await read_clipboard()).picture == b"x"


async def test_programs_that_hang_or_flood(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setattr(clipboard, "SECONDS", 0.3)
    monkeypatch.setattr(clipboard, "MOST_BYTES", 1_000_000)
    desktop.install("wl-paste", "exec sleep 60")
    began = time.monotonic()
    with pytest.raises(MediaError, match="did not answer"):
        await read_clipboard()
    assert time.monotonic() - began < 5
    desktop.install(
        "wl-paste", 'case "$1" in --list*) echo image/png;; *) exec cat /dev/zero;; esac'
    )
    monkeypatch.setattr(clipboard, "SECONDS", 20.0)
    with pytest.raises(MediaError, match="larger than 1 MB"):
        await read_clipboard()


def test_which_program_copies(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert copying_tool() == ()
    monkeypatch.setenv("DISPLAY", ":0")
    assert copying_tool() == ()
    desktop.install("xsel", "")
    assert copying_tool() == ("xsel", "--clipboard", "--input")
    desktop.x11()
    assert copying_tool() == ("xclip", "-selection", "clipboard")
    desktop.wayland()
    assert copying_tool() == ("wl-copy",)
    monkeypatch.delenv("WAYLAND_DISPLAY")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv("WSL_DISTRO_NAME", "Debian")
    desktop.install("clip.exe", "")
    assert copying_tool() == ("clip.exe",)


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
