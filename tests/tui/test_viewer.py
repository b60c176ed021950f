"""The picture on the whole screen, and in the desktop's own viewer."""

import os
import stat
import sys
from pathlib import Path

import pytest
from PIL import Image
from textual.widgets import Static

from tests.pictures import draw, encoded, saved
from tests.tui.driving import Chat
from tests.tui.test_pictures import of_bytes, show, talking
from vlmchat import paths
from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError
from vlmchat.media.images import load_media
from vlmchat.talk.desktop.open_external import copy_for_viewing, open_external, opener
from vlmchat.tui.screens.viewer import Viewer
from vlmchat.tui.widgets.canvas import Canvas


async def _open(chat: Chat, *media: Media, index: int = 0) -> Viewer:
    viewer = Viewer(media, index, facts=lambda item: f"tiles of {item.name}")
    chat.app.push_screen(viewer)
    await _shown(chat, viewer)
    return viewer


async def _shown(chat: Chat, viewer: Viewer) -> None:
    await chat.until(lambda: viewer.query(Canvas) and viewer.query_one(Canvas).drawn is not None)


def _colour(viewer: Viewer) -> object:
    """Return the colour in the middle of what is shown."""
    drawn = viewer.query_one(Canvas).drawn
    assert drawn is not None
    strip = drawn.strips[drawn.rows // 2]
    style = next(iter(strip.crop(drawn.columns // 2, drawn.columns // 2 + 1))).style
    return style and style.color and style.color.triplet


def _line(viewer: Viewer, name: str) -> str:
    return str(viewer.query_one(name, Static).render())


async def test_fitting_zooming_and_looking_around(tmp_path: Path) -> None:
    image = Image.new("RGB", (1600, 800), "white")
    image.paste("red", (0, 0, 400, 800))
    image.save(tmp_path / "wide.png")
    async with talking() as chat:
        viewer = await _open(chat, load_media(tmp_path / "wide.png"))
        canvas = viewer.query_one(Canvas)
        assert tuple(canvas.size) == (80, 20)
        assert _colour(viewer) == (255, 255, 255)
        await chat.pilot.press("plus", "plus", "plus")
        await chat.until(lambda: "×3.38" in _line(viewer, "#viewer-name"))
        await chat.until(lambda: canvas.size.height == 22)
        for _ in range(9):  # and no further than the edge
            await chat.pilot.press("left")
        await chat.until(lambda: _colour(viewer) == (255, 0, 0))
        await chat.pilot.press("right", "right", "right", "right", "up", "down")
        await chat.until(lambda: _colour(viewer) == (255, 255, 255))
        await chat.pilot.press("minus", "0")
        await chat.until(lambda: tuple(canvas.size) == (80, 20))
        await chat.pilot.resize_terminal(40, 24)
        await chat.until(lambda: tuple(canvas.size) == (40, 10))
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)


async def test_next_previous_and_facts(tmp_path: Path) -> None:
    media = [
        load_media(saved(tmp_path / f"{name} [b].png", colour=name)) for name in ("red", "blue")
    ]
    async with talking() as chat:
        viewer = await _open(chat, *media, index=1)
        assert _line(viewer, "#viewer-name") == "2/2  blue [b].png"
        await chat.until(lambda: _colour(viewer) == (0, 0, 255))
        await chat.pilot.press("right")
        assert _line(viewer, "#viewer-name") == "1/2  red [b].png"
        await _shown(chat, viewer)
        await chat.until(lambda: _colour(viewer) == (255, 0, 0))
        await chat.pilot.press("n", "p")
        assert "red" in _line(viewer, "#viewer-name")
        await chat.pilot.press("i")
        facts = _line(viewer, "#viewer-facts")
        for part in ("64 × 48 pixels", "image/png", media[0].sha256, "tiles of red"):
            assert part in facts
        assert "Facts" in chat.text()
        assert "Esc closes" in chat.text()


async def test_extreme_turned_and_broken_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (1, 5000), "red").save(tmp_path / "thin.png")
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(400, 200).save(tmp_path / "turned.jpg", exif=exif)
    good = [load_media(tmp_path / name) for name in ("thin.png", "dot.png", "turned.jpg")]
    broken = of_bytes(encoded("JPEG", 400, 300)[:1000], "cut [x].jpg", 400, 300)
    async with talking() as chat:
        viewer = await _open(chat, *good, broken)
        canvas = viewer.query_one(Canvas)
        assert tuple(canvas.size) == (1, 22)
        await chat.pilot.press("plus", "plus", "down", "n")
        await chat.until(lambda: canvas.drawn and tuple(canvas.size) == (1, 1))
        await chat.pilot.press("n")
        await chat.until(lambda: canvas.drawn and tuple(canvas.size) == (22, 22))
        await chat.pilot.press("n")
        await chat.until(lambda: "cut off" in _line(viewer, "#viewer-name"))
        assert canvas.drawn is None
        await chat.pilot.press("plus", "n")
        await chat.until(lambda: canvas.drawn)


async def test_media_that_come_without_their_bytes_are_fetched(tmp_path: Path) -> None:
    media = load_media(saved(tmp_path / "a.png"))
    about = (media.sha256, media.name, media.mime, media.width, media.height, media.size)

    def gone() -> bytes:
        raise UsageError("The picture is gone.")

    kept = Media(*about, lambda: media.data)
    missing = Media("0" * 64, "lost.png", "image/png", 10, 10, 5, gone)

    async with talking() as chat:
        viewer = Viewer([kept, missing])
        chat.app.push_screen(viewer)
        await _shown(chat, viewer)
        await chat.pilot.press("n")
        await chat.until(lambda: _line(viewer, "#viewer-name") == "The picture is gone.")


async def test_the_view_command(tmp_path: Path) -> None:
    async with talking() as chat:
        await chat.ask("/view")
        assert "no picture in this conversation" in chat.errors()[0]
        chat.screen.attach([saved(tmp_path / "a.png"), saved(tmp_path / "b.png", 30, 30)])
        await chat.until(lambda: len(chat.screen.attachments.media) == 2)
        await chat.ask("/view 1")
        await chat.until(lambda: isinstance(chat.app.screen, Viewer))
        assert "1/2  a.png" in chat.text()
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        await chat.ask("/view none.png")
        await chat.until(lambda: len(chat.errors()) == 2)
        assert "1 to 2" in chat.errors()[1]


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file in which a stand-in for xdg-open notes what it was given."""
    if sys.platform != "linux":
        pytest.skip("xdg-open is for Linux")
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "opened"
    program = folder / "xdg-open"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" > "{log}.new"\nmv "{log}.new" "{log}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    return log


async def test_the_desktop_gets_a_read_only_copy(tmp_path: Path, desktop: Path) -> None:
    media = load_media(saved(tmp_path / "$(touch owned); -x.jpg", 64, 48))
    async with talking() as chat:
        (picture,) = await show(chat, media)
        picture.focus()
        await chat.pilot.press("o")
        await chat.until(desktop.exists)
    _check_copy(media, desktop)


def _check_copy(media: Media, noted: Path) -> None:
    count, path = noted.read_text().splitlines()
    copy = Path(path)
    assert count == "1" and copy.suffix == ".jpg" and copy.read_bytes() == media.data
    assert stat.S_IMODE(copy.stat().st_mode) == 0o400
    assert copy.parent == paths.cache_dir() / "opened"
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert not (Path.cwd() / "owned").exists()
    os.utime(copy, (1, 1))
    assert copy_for_viewing(media) == copy and copy.exists()  # old copies go, and can be remade


async def test_no_desktop_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = load_media(saved(tmp_path / "a.png"))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform == "linux":
        with pytest.raises(UsageError, match="no desktop"):
            await open_external(media)
        async with talking() as chat:
            await _open(chat, media)
            await chat.pilot.press("o")
            # Tests run without the corner that shows it.
            await chat.until(lambda: list(chat.app._notifications))
            (told,) = chat.app._notifications
            assert "no desktop" in told.message
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError, match="xdg-utils"):
            opener()
    assert not (paths.cache_dir() / "opened").exists()


async def test_a_desktop_without_a_program_says_so(tmp_path: Path, desktop: Path) -> None:
    program = desktop.parent / "bin" / "xdg-open"
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UsageError, match="ended with 3"):
        await open_external(load_media(saved(tmp_path / "a.png")))
    odd = Media.held(b"MZ", "a.exe", "application/x-msdownload", 1, 1)
    with pytest.raises(UsageError, match="not opened"):
        await open_external(odd)
