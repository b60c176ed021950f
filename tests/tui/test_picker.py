"""The picker: folders, marks, filter, order, preview; quick in large folders."""

import os
import time
from pathlib import Path

import pytest
from PIL import Image
from textual.widgets import Input, Static

from tests.pictures import encoded, saved
from tests.tui.driving import Chat
from tests.tui.test_pictures import talking
from vlmchat.talk.desktop.folder import FileKind, scan
from vlmchat.tui.screens.picker import Picker
from vlmchat.tui.widgets.canvas import Canvas
from vlmchat.tui.widgets.file_list import FileList
from vlmchat.tui.widgets.file_preview import FilePreview

Result = list[Path] | None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of pictures and other things."""
    folder = tmp_path / "pictures"
    (folder / "albums").mkdir(parents=True)
    saved(folder / "albums" / "inside.png")
    for number, name in enumerate(("b2.png", "b10.png", "A1.jpg", "[x] cat.png")):
        os.utime(saved(folder / name, 320, 200), (1000 + number, 1000 + number))
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(encoded())
    (folder / "lost.png").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.png")
    return folder


async def _open(chat: Chat, picker: Picker) -> tuple[FileList, list[Result]]:
    results: list[Result] = []
    chat.app.push_screen(picker, results.append)
    await chat.until(lambda: picker.is_attached and picker.query(FileList))
    files = picker.query_one(FileList)
    await chat.until(lambda: "…" not in _line(picker, "#picker-folder"))
    files.focus()
    await chat.pilot.pause()
    return files, results


def _line(picker: Picker, name: str) -> str:
    return str(picker.query_one(name, Static).render())


def _labels(files: FileList) -> list[str]:
    return [entry.label for entry in files.entries]


async def test_one_folder_in_natural_order(folder: Path) -> None:
    async with talking() as chat:
        picker = Picker(folder)
        files, _ = await _open(chat, picker)
        ordered = ["..", "albums", "[x] cat.png", "A1.jpg", "b2.png", "b10.png"]
        assert _labels(files) == ordered
        assert "4 pictures and videos, by name" in _line(picker, "#picker-folder")
        await chat.pilot.press("s")
        assert _labels(files)[2:] == ["[x] cat.png", "A1.jpg", "b10.png", "b2.png"]
        assert "newest first" in _line(picker, "#picker-folder")
        await chat.pilot.press("s", "full_stop")
        assert ".hidden.png" in _labels(files)
        await chat.pilot.press("full_stop")
        assert _labels(files) == ordered


async def test_marks_and_what_enter_attaches(folder: Path) -> None:
    used: list[Path] = []
    async with talking() as chat:
        picker = Picker(folder, used=used.append)
        files, results = await _open(chat, picker)
        await chat.pilot.press("end", "enter")
        await chat.until(lambda: results == [[folder / "b10.png"]])
        assert used == [folder]

        picker = Picker(folder)
        files, results = await _open(chat, picker)
        await chat.pilot.press("space", "down", "down", "space", "space", "up", "space")
        assert list(files.marked) == [folder / "[x] cat.png"]
        assert "✓ [x] cat.png" in chat.text()
        assert "1 marked, Enter attaches it" in _line(picker, "#picker-facts")
        # Marks stay while one walks the folders.
        await chat.pilot.press("home", "down", "enter")
        await chat.until(lambda: _labels(files) == ["..", "inside.png"])
        await chat.pilot.press("end", "space")
        assert "2 marked" in _line(picker, "#picker-facts")
        await chat.pilot.press("enter")
        await chat.until(lambda: results)
        assert results == [[folder / "[x] cat.png", folder / "albums" / "inside.png"]]


async def test_walking_up_and_down(folder: Path) -> None:
    async with talking() as chat:
        files, results = await _open(chat, Picker(folder / "albums"))
        await chat.pilot.press("backspace")
        await chat.until(lambda: "albums" in _labels(files))
        # The cursor stands on the folder one came from.
        assert files.current is not None and files.current.label == "albums"
        await chat.pilot.press("enter")
        await chat.until(lambda: "inside.png" in _labels(files))
        await chat.pilot.press("home", "enter")
        await chat.until(lambda: "b2.png" in _labels(files))
        await chat.pilot.press("escape")
        await chat.until(lambda: results == [None])


async def test_the_filter(folder: Path) -> None:
    async with talking() as chat:
        picker = Picker(folder)
        files, results = await _open(chat, picker)
        await chat.pilot.press("slash", *"B1")
        assert _labels(files) == ["b10.png"]
        await chat.pilot.press("enter", "enter")
        await chat.until(lambda: results == [[folder / "b10.png"]])
        files, results = await _open(chat, Picker(folder))
        await chat.pilot.press("up", "x", "down", "escape")
        assert len(_labels(files)) == 6
        await chat.pilot.press("escape")
        await chat.until(lambda: results == [None])


async def test_the_preview(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 200), "red").save(folder / "z1 turned.jpg", exif=exif)
    (folder / "z2 broken.png").write_bytes(encoded()[:50])
    Image.new("RGB", (1, 5000), "red").save(folder / "z3 thin.png")
    async with talking(size=(120, 40)) as chat:
        picker = Picker(folder)
        await _open(chat, picker)
        canvas = picker.query_one(Canvas)
        await chat.pilot.press("end")
        await chat.until(lambda: canvas.drawn and canvas.drawn.columns == 1)
        await chat.pilot.press("up")
        await chat.until(lambda: canvas.drawn is None)
        await chat.until(lambda: "cut off" in _line(picker, "#picker-facts"))
        await chat.pilot.press("up")
        await chat.until(lambda: canvas.drawn and canvas.drawn.rows * 2 > canvas.drawn.columns)
        await chat.pilot.press("up")
        await chat.until(lambda: "b10.png  320×200" in _line(picker, "#picker-facts"))
        await chat.pilot.press("home")
        await chat.until(lambda: canvas.drawn is None)
        assert picker.query_one(FilePreview).display
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: not picker.query_one(FilePreview).display)
        await chat.pilot.press("end")
        await chat.until(lambda: "z3 thin.png  1×5000" in _line(picker, "#picker-facts"))


async def test_recent_folders(folder: Path) -> None:
    async with talking() as chat:
        picker = Picker(folder / "albums", recent=[folder, folder.parent])
        files, _ = await _open(chat, picker)
        await chat.pilot.press("r")
        assert _labels(files) == [str(folder), str(folder.parent)]
        await chat.pilot.press("escape")
        await chat.until(lambda: "inside.png" in _labels(files))
        await chat.pilot.press("r", "enter")
        await chat.until(lambda: "b2.png" in _labels(files))
        await chat.pilot.press("escape")
        picker = Picker(folder)
        await _open(chat, picker)
        await chat.pilot.press("r")
        assert "No folder was used yet" in _line(picker, "#picker-facts")


async def test_kinds(folder: Path) -> None:
    (folder / "film.mp4").write_bytes(b"x")
    kinds = (
        FileKind("pictures", frozenset({".png", ".jpg"})),
        FileKind("videos", frozenset({".mp4"})),
    )
    async with talking() as chat:
        picker = Picker(folder, kinds=kinds)
        files, _ = await _open(chat, picker)
        assert "film.mp4" in _labels(files) and "b2.png" in _labels(files)
        await chat.pilot.press("k")
        assert "film.mp4" not in _labels(files)
        await chat.pilot.press("k")
        assert _labels(files) == ["..", "albums", "film.mp4"]
        assert "1 videos" in _line(picker, "#picker-folder")


async def test_the_mouse(folder: Path) -> None:
    async with talking() as chat:
        files, results = await _open(chat, Picker(folder))
        await chat.pilot.click(files, offset=(5, 3))
        assert list(files.marked) == [folder / "A1.jpg"]
        await chat.pilot.click(files, offset=(5, 4), times=2)
        await chat.until(lambda: results)
        assert results == [[folder / "A1.jpg", folder / "b2.png"]]
        files, results = await _open(chat, Picker(folder))
        await chat.pilot.click(files, offset=(5, 1))
        await chat.until(lambda: "inside.png" in _labels(files))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Return a folder with names that are no text, or more than text."""
    odd = tmp_path / "odd"
    odd.mkdir()
    saved(odd / "a\x1b[31m\n[b]x.png")
    Path(os.fsdecode(os.fsencode(str(odd)) + b"/\xff.png")).write_bytes(encoded())
    return odd


async def test_names_that_are_no_good(odd: Path) -> None:
    async with talking() as chat:
        files, results = await _open(chat, Picker(odd))
        assert "\x1b" not in chat.text() and len(files.entries) == 3
        await chat.pilot.press("end", "enter")
        await chat.until(lambda: results)
    (chosen,) = results
    assert chosen is not None and os.fsencode(chosen[0]).endswith(b"\xff.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root enters everything")
async def test_a_folder_that_may_not_be_entered(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    async with talking() as chat:
        picker = Picker(closed)
        await _open(chat, picker)
        assert "cannot be read" in _line(picker, "#picker-facts")


async def test_ten_thousand_files_come_piece_by_piece(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.mkdir()
    for number in range(10_000):
        (large / f"{number}.png").touch()
    pieces: list[int] = []
    scan(large, frozenset({".png"}), lambda piece: pieces.append(len(piece)))
    assert sum(pieces) == 10_000 and pieces[0] <= 200 and len(pieces) < 30
    async with talking() as chat:
        began = time.perf_counter()
        picker = Picker(large)
        files, _ = await _open(chat, picker)
        assert time.perf_counter() - began < 5  # measured 0.5 s on an idle machine
        assert _labels(files)[1:4] == ["0.png", "1.png", "2.png"]
        await chat.pilot.press("end")
        assert files.current is not None and files.current.label == "9999.png"
        picker.query_one("#picker-filter", Input).value = "999"
        await chat.until(lambda: len(files.entries) == 19)
