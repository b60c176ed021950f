"""Videos: the storyboard, the screen of frames, /frames, the conversation, and what is sent."""

import asyncio
import base64
import io
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from textual import events
from textual.widgets import Input, Static

from tests.fake_engine import FakeEngine, running
from tests.media.video.making import film, number_of
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.chat.messages import VideoPart
from vlmchat.media.frames import frames_of
from vlmchat.tui.screens.frames import FramesScreen
from vlmchat.tui.screens.gallery import Gallery
from vlmchat.tui.screens.picker import Picker
from vlmchat.tui.screens.viewer import Viewer
from vlmchat.tui.widgets.file_list import FileList
from vlmchat.tui.widgets.frame_grid import FrameGrid
from vlmchat.tui.widgets.storyboard import Storyboard, VideoStrip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video of 12 seconds, two frames a second, numbered from 0."""
    return film(tmp_path_factory.mktemp("clips") / "my [red] clip.mp4", count=24, fps=2)


def _part(chat: Chat) -> VideoPart:
    (part,) = chat.screen.attachments.items
    assert isinstance(part, VideoPart)
    return part


def _times(chat: Chat) -> list[float]:
    return [round(time, 2) for time in _part(chat).clip.times]


async def _attach(chat: Chat, clip: Path) -> None:
    await chat.ready()
    chat.composer.post_message(events.Paste(f"'{clip}'"))
    await chat.until(lambda: chat.screen.attachments.items and not chat.screen.attachments.reading)


async def _settled(chat: Chat, command: str) -> None:
    """Give a command about frames and wait until it has done its work."""
    before, errors = chat.screen.attachments.items, len(chat.errors())
    await chat.ask(command)
    await chat.until(
        lambda: (
            not chat.screen.attachments.reading
            and (chat.screen.attachments.items != before or len(chat.errors()) > errors)
        )
    )


def _sent(request: dict[str, Any]) -> list[Image.Image]:
    """Return the pictures of a request."""
    found: list[Image.Image] = []
    for message in request["messages"]:
        for part in message["content"]:
            if isinstance(part, dict) and part["type"] == "image_url":
                data = part["image_url"]["url"].partition(",")[2]
                found.append(Image.open(io.BytesIO(base64.b64decode(data))))
    return found


def _numbers(pictures: Iterable[Image.Image]) -> list[int]:
    return [number_of(picture) for picture in pictures]


async def test_the_storyboard_and_what_the_engine_gets(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await _attach(chat, clip)
            board = chat.screen.query_one(Storyboard)
            await chat.until(lambda: board.display and chat.text().count("▀") > 40)
            text = chat.text()
            assert board.size.height == 4 and "0:00" in text and "12 frames" in text
            assert "+" in text and "F8 chooses" in text
            await _settled(chat, "/frames drop 3 5")
            assert len(_times(chat)) == 10 and "10 frames" in chat.text()
            part = _part(chat)
            await chat.ask("What happens?")
            await chat.answered()
            assert not board.display
            strip = chat.screen.query_one(VideoStrip)
            assert "my [red] clip.mp4  160×120 · 0:12 · 10 frames" in strip.label
            await chat.until(lambda: "my [red] clip.mp4" in chat.text())
            (notice,) = [x for x in chat.notices() if "learned" in x]
            assert (
                "Fake VLM has not learned videos: it gets 10 pictures with their times." in notice
            )
            await chat.ask("And then?")
            await chat.answered(2)
            assert len([x for x in chat.notices() if "learned" in x]) == 1
    pictures = _sent(engine.requests[0])
    kept = [Image.open(io.BytesIO(frame.data)) for frame in frames_of(part)]
    assert [image.tobytes() for image in pictures] == [image.tobytes() for image in kept]
    assert _numbers(pictures) == [round(2 * time) for time in part.clip.times]


async def test_frames_by_words(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), size=(100, 40)) as chat:
            await _attach(chat, clip)
            await _settled(chat, "/frames 4")
            assert len(_times(chat)) == 4 and _times(chat)[0] == 0
            await _settled(chat, "/frames from 0:05 to 0:08")
            assert len(_times(chat)) == 4 and (_times(chat)[0], _times(chat)[-1]) == (5, 8)
            await _settled(chat, "/frames fps 2")
            assert len(_times(chat)) == 6 and (_times(chat)[0], _times(chat)[-1]) == (5, 8)
            await _settled(chat, "/frames my [red] clip.mp4 2 from start to end")
            assert _times(chat) == [0, 11.5]
            await _settled(chat, "/frames of 1 add 0:07 3.5s")
            assert _times(chat) == [0, 3.5, 7, 11.5]
            await _settled(chat, "/frames drop 1 2")
            assert _times(chat) == [7, 11.5]
            await _settled(chat, "/frames 3 scenes")
            assert _times(chat)[0] == 0
            await _settled(chat, "/frames keyframes 2")
            assert len(_times(chat)) == 2
            for wrong, said in (
                ("drop 9", "There is no frame 9"),
                ("drop 1 2", "One frame has to stay"),
                ("from 0:30", "lies behind the end"),
                ("from 0:05 to 0:01", "must not lie before"),
                ("add 1:00", "The video ends at 0:12"),
                ("add [x]", "“[x]” is no time"),
                ("sideways", "Frames cannot be “sideways”"),
                ("fps", "is missing"),
                ("of [y] 3", "No video that is attached is called “[y]”"),
            ):
                await _settled(chat, f"/frames {wrong}")
                assert said in chat.errors()[-1], wrong
            assert len(_times(chat)) == 2


async def _open(chat: Chat) -> FrameGrid:
    await chat.pilot.press("f8")
    await chat.until(lambda: isinstance(chat.app.screen, FramesScreen))
    return chat.app.screen.query_one(FrameGrid)


def _facts(chat: Chat) -> str:
    return str(chat.app.screen.query_one("#frames-facts", Static).render())


def _stands(chat: Chat, fact: str) -> bool:
    return fact in _facts(chat) and "…" not in _facts(chat)


async def test_the_screen_of_frames(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await _attach(chat, clip)
            await _settled(chat, "/frames 6")
            first = _times(chat)
            grid = await _open(chat)
            await chat.until(lambda: chat.text().count("▀") > 40)
            assert "my [red] clip.mp4" in chat.text() and "6 frames" in _facts(chat)
            await chat.pilot.press("right", "space", "space")
            assert "4 frames · 2 dropped" in _facts(chat) and "×" in chat.text()
            await chat.pilot.press("left", "space")
            assert "5 frames · 1 dropped" in _facts(chat)
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.app.screen is chat.screen)
            assert _times(chat) == first
            grid = await _open(chat)
            await chat.pilot.press("right", "space", "enter")
            await chat.until(lambda: chat.app.screen is chat.screen)
            assert _times(chat) == [first[0], *first[2:]]
            grid = await _open(chat)
            await chat.pilot.press("plus")
            await chat.until(lambda: "6 frames" in _facts(chat) and "…" not in _facts(chat))
            await chat.pilot.press("minus", "minus")
            await chat.until(lambda: "4 frames" in _facts(chat) and "…" not in _facts(chat))
            await chat.pilot.press("right", "i")
            await chat.until(lambda: "0:03–0:12" in _facts(chat))
            await chat.until(lambda: grid.part.clip.times[0] > 3 and "…" not in _facts(chat))
            await chat.pilot.press("end", "left", "o")
            await chat.until(lambda: grid.part.clip.times[-1] < 10 and "…" not in _facts(chat))
            await chat.pilot.press("w")
            await chat.until(lambda: grid.part.clip.times[0] == 0 and "…" not in _facts(chat))
            for name in ("scenes", "keyframes", "even"):
                await chat.pilot.press("m")
                await chat.until(partial(_stands, chat, name))
            await chat.pilot.press("home", "a", *"0:01", "enter")
            await chat.until(lambda: 1.0 in grid.part.clip.times)
            assert grid.current == 1.0
            await chat.pilot.press("a", *"9:00", "enter")
            await chat.until(lambda: "The video ends at 0:12" in _facts(chat))
            count = len(grid.part.clip.times)
            await chat.pilot.press("a")
            assert chat.app.screen.query_one(Input).has_focus
            await chat.pilot.press("enter")
            await chat.until(lambda: len(grid.part.clip.times) == count + 1)
            await chat.pilot.press("v")
            await chat.until(lambda: isinstance(chat.app.screen, Viewer))
            await chat.pilot.press("escape", "a", "escape", "enter")
            await chat.until(lambda: chat.app.screen is chat.screen)
            assert 1.0 in _times(chat) and len(_times(chat)) == count + 1


async def test_one_frame_stays(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await _attach(chat, clip)
            await _settled(chat, "/frames 1")
            await _open(chat)
            await chat.pilot.press("space")
            assert "One frame has to stay" in _facts(chat)


async def test_a_click_on_the_storyboard_opens_it(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await _attach(chat, clip)
            await chat.until(lambda: chat.screen.query_one(Storyboard).size.height)
            await chat.pilot.click(Storyboard)
            await chat.until(lambda: isinstance(chat.app.screen, FramesScreen))
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.composer.has_focus)


async def test_the_strip_leads_to_the_frames(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    async def opening(media: Any) -> None:
        opened.append(media.mime)

    monkeypatch.setattr("vlmchat.talk.desktop.open_external.open_external", opening)
    picture = saved(tmp_path / "photo.png")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), size=(100, 40)) as chat:
            await chat.ready()
            chat.screen.attach([picture, clip])
            await chat.until(lambda: len(chat.screen.attachments.items) == 2)
            await chat.ask("What is it?")
            await chat.answered()
            strip = chat.screen.query_one(VideoStrip)
            strip.focus()
            await chat.until(lambda: chat.text().count("▀") > 40)
            await chat.pilot.press("enter")
            await chat.until(lambda: isinstance(chat.app.screen, Viewer))
            await chat.until(lambda: "2/13  my [red] clip.mp4 0:00" in chat.text())
            await chat.pilot.press("n")
            await chat.until(lambda: "3/13  my [red] clip.mp4 0:01" in chat.text())
            await chat.until(lambda: "▀" in chat.text())
            await chat.pilot.press("o")
            await chat.until(lambda: opened == ["video/mp4"])
            await chat.pilot.press("escape")
            await chat.ask("/view 2")
            await chat.until(lambda: isinstance(chat.app.screen, Viewer))
            await chat.until(lambda: "2/13  my [red] clip.mp4 0:00" in chat.text())


async def test_the_picker_shows_and_takes_videos(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), size=(120, 30)) as chat:
            await chat.ready()
            chat.screen._folder = clip.parent
            await chat.ask("/attach")
            await chat.until(lambda: isinstance(chat.app.screen, Picker))
            files = chat.app.screen.query_one(FileList)
            await chat.until(lambda: len(files.entries) == 2)
            files.focus()
            await chat.pilot.press("end")
            await chat.until(lambda: "160×120 · 0:12 · h264" in chat.text())
            await chat.until(lambda: chat.text().count("▀") > 40)
            await chat.pilot.press("enter")
            await chat.until(lambda: chat.screen.attachments.items)
            assert len(_times(chat)) == 12


async def test_a_video_of_the_gallery_is_attached_again(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), size=(100, 40)) as chat:
            await _attach(chat, clip)
            await chat.ask("What is it?")
            await chat.answered()
            await chat.ask("/gallery")
            await chat.until(lambda: isinstance(chat.app.screen, Gallery))
            await chat.until(lambda: "my [red] clip.mp4" in chat.text())
            await chat.until(lambda: chat.text().count("▀") > 40)
            await chat.pilot.press("space")
            await chat.until(lambda: isinstance(chat.app.screen, Viewer))
            await chat.until(lambda: "▀" in chat.text())
            await chat.pilot.press("escape", "a")
            await chat.until(lambda: chat.screen.attachments.items)
            assert len(_times(chat)) == 12 and _part(chat).media.name == clip.name
            await chat.ask("Once more?")
            await chat.answered(2)
    assert len(_sent(engine.requests[1])) == 24


async def test_completing(clip: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), size=(100, 40)) as chat:
            await _attach(chat, clip)
            await chat.type("/frames ")
            await chat.until(lambda: "from 0:05 to 0:17" in chat.text())
            chat.composer.clear_draft()
            await chat.type(f"/attach {clip.parent}/my")
            await chat.until(lambda: chat.text().count("my [red] clip.mp4") == 2)


@pytest.fixture
def moved(clip: Path, tmp_path: Path) -> Path:
    """Return a copy of the video that a test may remove."""
    return Path(shutil.copy(clip, tmp_path / "gone.mp4"))


async def test_a_saved_video_shows_its_frames_without_its_file(moved: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await _attach(chat, moved)
            await _settled(chat, "/frames 3")
            await chat.ask("What is it?")
            await chat.answered()
        await asyncio.to_thread(moved.unlink)
        async with chatting(overrides=remote(engine.url), resume=True) as chat:
            await chat.until(lambda: chat.screen.query(VideoStrip))
            await chat.until(lambda: "3 frames" in chat.text() and chat.text().count("▀") > 40)
            assert "unreadable" not in chat.text()
