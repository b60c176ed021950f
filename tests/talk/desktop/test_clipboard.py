"""What is read from the desktop's clipboard, and which programs do it."""

import sys
import time
from pathlib import Path

import pytest

from tests.clipboards import Desktop
from tests.pictures import encoded
from vlmchat.errors import MediaError
from vlmchat.talk.desktop import clipboard
from vlmchat.talk.desktop.clipboard import copying_tool, read_clipboard

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
