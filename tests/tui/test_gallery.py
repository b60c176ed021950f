"""The gallery: every picture at each place where it was used."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from textual.widgets import Input, Static

from tests.pictures import encoded, saved
from tests.tui.driving import Chat
from tests.tui.test_pictures import talking
from vlmchat.errors import VlmchatError
from vlmchat.store.records import MediaUse
from vlmchat.tui.screens.gallery import AttachAgain, Gallery, GalleryChoice, JumpTo
from vlmchat.tui.screens.viewer import Viewer
from vlmchat.tui.widgets.media_grid import MediaGrid
from vlmchat.tui.widgets.picture import Picture

DAY = 86_400.0
NOON = 1_790_000_000.0


class Source:
    """Media in memory."""

    def __init__(self) -> None:
        self.kept: list[MediaUse] = []
        self.bytes: dict[str, bytes] = {}
        self.reads: list[str] = []

    def add(
        self, name: str, data: bytes, thread: int, created: float, size: tuple[int, int] = (64, 48)
    ) -> MediaUse:
        sha256 = hashlib.sha256(data).hexdigest()
        self.bytes[sha256] = data
        use = MediaUse(sha256, name, "image/png", *size, len(data), len(self.kept), thread, created)
        self.kept.insert(0, use)
        return use

    async def uses(self) -> list[MediaUse]:
        return self.kept

    async def titles(self) -> Mapping[int, str]:
        return {1: "The [red] house", 2: "Birds"}

    def data(self, sha256: str) -> bytes:
        self.reads.append(sha256)
        if sha256 not in self.bytes:
            raise VlmchatError("The picture is gone.")
        return self.bytes[sha256]

    def path(self, sha256: str) -> Path:
        raise AssertionError("only videos lie in files")


def _filled() -> Source:
    source = Source()
    source.add("house.png", encoded(colour="red"), 1, NOON)
    source.add("door.png", encoded(colour="blue"), 1, NOON + 1)
    source.add("owl.png", encoded(colour="green"), 2, NOON + 2)
    source.add("house.png", encoded(colour="red"), 2, NOON + DAY)
    source.add("nest [x].png", encoded(colour="black"), 1, NOON + 2 * DAY)
    return source


async def _open(chat: Chat, source: Source) -> tuple[MediaGrid, list[GalleryChoice]]:
    results: list[GalleryChoice] = []
    chat.app.push_screen(Gallery(source), results.append)
    await chat.until(lambda: isinstance(chat.app.screen, Gallery))
    grid = chat.app.screen.query_one(MediaGrid)
    await chat.until(lambda: len(grid.uses) == len(source.kept))
    return grid, results


def _names(grid: MediaGrid) -> list[str]:
    return [use.name for use in grid.uses]


def _facts(chat: Chat) -> str:
    return str(chat.app.screen.query_one("#gallery-facts", Static).render())


async def test_groups_by_conversation_and_by_date() -> None:
    async with talking(size=(80, 50)) as chat:
        grid, _ = await _open(chat, _filled())
        expected = ["nest [x].png", "door.png", "house.png", "house.png", "owl.png"]
        assert _names(grid) == expected
        await chat.until(lambda: "▀" in chat.text())
        text = chat.text()
        assert "The [red] house" in text and "Birds" in text
        assert "5 places, by conversation" in _facts(chat)
        await chat.pilot.press("g")
        assert _names(grid) == ["nest [x].png", "house.png", "owl.png", "door.png", "house.png"]
        date = time.strftime("%d %B %Y", time.localtime(NOON)).lstrip("0")
        assert date in chat.text() and "by date" in _facts(chat)


async def test_enter_goes_where_it_was_used() -> None:
    source = _filled()
    async with talking(size=(80, 50)) as chat:
        grid, results = await _open(chat, source)
        await chat.pilot.press("right", "right", "down")
        assert grid.current is not None and grid.current.name == "owl.png"
        await chat.pilot.press("up", "home", "down", "enter")
        await chat.until(lambda: results)
        (choice,) = results
        assert isinstance(choice, JumpTo) and choice.use == grid.uses[3]


async def test_the_filter() -> None:
    async with talking() as chat:
        grid, results = await _open(chat, _filled())
        await chat.pilot.press("slash", *"HOU")
        assert _names(grid) == ["house.png", "house.png"]
        assert "2 of 5 places" in _facts(chat)
        # Enter leads into the grid, and letters are letters until then.
        await chat.pilot.press("enter", "right", "enter")
        await chat.until(lambda: results)
        assert isinstance(results[0], JumpTo) and results[0].use.thread == 1
        grid, results = await _open(chat, _filled())
        await chat.pilot.press("up", *"zzz")
        assert chat.app.screen.query_one(Input).value == "zzz" and _names(grid) == []
        await chat.pilot.press("down", "down", "space", "a", "escape")
        assert len(_names(grid)) == 5
        await chat.pilot.press("escape")
        await chat.until(lambda: results == [None])


async def test_seeing_it_large_and_attaching_it() -> None:
    source = _filled()
    async with talking() as chat:
        grid, results = await _open(chat, source)
        await chat.pilot.press("right", "space")
        await chat.until(lambda: isinstance(chat.app.screen, Viewer))
        await chat.until(lambda: "2/5  door.png" in chat.text())
        await chat.pilot.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, Gallery))
        await chat.pilot.press("a")
        await chat.until(lambda: results)
        (choice,) = results
        assert isinstance(choice, AttachAgain) and choice.media.name == "door.png"
        assert choice.media.data == source.bytes[choice.media.sha256]
        assert grid.uses


async def test_what_cannot_be_read_or_is_oddly_shaped(tmp_path: Path) -> None:
    source = Source()
    for number, size in enumerate(((1, 1), (1, 5000), (5000, 1))):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", size, "red").save(path)
        source.add(f"odd{number}", path.read_bytes(), 1, NOON, size)
    source.add("cut.png", encoded()[:60], 1, NOON)
    gone = source.add("gone.png", b"never", 1, NOON)
    del source.bytes[gone.sha256]
    async with talking(size=(80, 40)) as chat:
        _, results = await _open(chat, source)
        await chat.until(lambda: chat.text().count("not readable") == 2)
        await chat.until(lambda: chat.text().count("▀") >= 1 + 6 + 20)
        await chat.pilot.press("home", "a")
        await chat.until(lambda: "The picture is gone." in _facts(chat))
        assert results == []


async def test_no_pictures_yet() -> None:
    async with talking() as chat:
        _, results = await _open(chat, Source())
        assert _facts(chat) == "No picture or video was attached yet."
        await chat.pilot.press("enter", "space", "a", "down", "pagedown", "escape")
        await chat.until(lambda: results == [None])


async def test_thousands_open_at_once_and_only_what_is_seen_is_read() -> None:
    source = Source()
    data = [encoded(width=40 + n, height=30) for n in range(50)]
    for number in range(5_000):
        source.add(f"{number}.png", data[number % 50], number % 300, NOON + number, (40, 30))
    async with talking() as chat:
        began = time.perf_counter()
        grid, _ = await _open(chat, source)
        took = time.perf_counter() - began
        assert took < 1.5  # measured 0.2 s on an idle machine
        await chat.until(lambda: "▀" in chat.text())
        assert len(set(source.reads)) < 20
        await chat.pilot.press("end")
        assert grid.current is not None and grid.cursor == 4_999
        await chat.until(lambda: "▸" + grid.uses[-1].name in chat.text())
        await chat.pilot.press("pageup", "pageup", "home")
        assert grid.cursor == 0


async def test_the_mouse() -> None:
    async with talking(size=(80, 40)) as chat:
        grid, _ = await _open(chat, _filled())
        await chat.pilot.click(grid, offset=(25, 3))
        assert grid.cursor == 1
        await chat.pilot.click(grid, offset=(25, 3), times=2)
        await chat.until(lambda: isinstance(chat.app.screen, Viewer))


async def test_from_the_store_by_command(tmp_path: Path) -> None:
    async with talking(size=(80, 30)) as chat:
        await chat.until(lambda: chat.session.recorder is not None)
        chat.screen.attach([saved(tmp_path / "cat.png")])
        await chat.until(lambda: len(chat.screen.attachments.media) == 1)
        await chat.ask("What is it?")
        await chat.answered()
        await chat.ask("/gallery")
        await chat.until(lambda: isinstance(chat.app.screen, Gallery))
        grid = chat.app.screen.query_one(MediaGrid)
        await chat.until(lambda: _names(grid) == ["cat.png"])
        assert "What is it?" in chat.text()
        await chat.until(lambda: "▀" in chat.text())
        await chat.pilot.press("a")
        await chat.until(lambda: chat.app.screen is chat.screen)
        assert [media.name for media in chat.screen.attachments.media] == ["cat.png"]
        await chat.ask("/gallery")
        await chat.until(lambda: isinstance(chat.app.screen, Gallery))
        grid = chat.app.screen.query_one(MediaGrid)
        await chat.until(lambda: _names(grid) == ["cat.png"])
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.screen.query(Picture).first().has_focus)


async def test_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMCHAT_CHAT__SAVE", "false")
    async with talking() as chat:
        await chat.ask("/gallery")
        await chat.until(chat.errors)
        assert "not kept" in chat.errors()[0]
