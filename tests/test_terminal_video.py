"""The real program in a terminal, and a video: dropped on it, seen, changed, asked about."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.fake_engine import FakeEngine, running
from tests.media.video.making import film, number_of
from tests.terminal import Terminal
from vlmchat.chat.messages import VideoPart
from vlmchat.store.store import Store


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a video of 6 seconds, two frames a second, numbered from 0."""
    return film(tmp_path / "a clip.mp4", count=12, fps=2)


def attach_and_drop_the_second(terminal: Terminal, clip: Path) -> None:
    """Drop the file on the window, leave its second frame out, and take the rest."""
    terminal.wait("Ask something", 10)
    terminal.paste(f"'{clip}'")
    terminal.wait(lambda screen: "6 frames" in screen and "0:00" in screen and "0:01" in screen)
    terminal.wait(lambda screen: screen.count("▀") > 40)
    terminal.press("f8")
    terminal.wait("Frames of a clip.mp4")
    terminal.press("right")
    terminal.type(" ")
    terminal.wait("1 dropped")
    terminal.press("enter")
    terminal.wait("Frames of a clip.mp4", absent=True)
    terminal.wait("5 frames")


def times_in(home: Path) -> list[float]:
    """Return the times of the frames of the question that was saved."""
    with Store(home / "data") as store:
        (thread,) = store.threads()
        question = store.path(thread.id)[0].message
    (part,) = question.attachments
    assert isinstance(part, VideoPart)
    return list(part.clip.times)


def test_the_engine_gets_the_frames_that_were_left(clip: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        running(FakeEngine()) as fake,
        Terminal("--engine-url", fake.url, home=home, rows=40) as terminal,
    ):
        attach_and_drop_the_second(terminal, clip)
        terminal.send_line("What happens?")
        terminal.wait("Hello there.")
        assert "0:00" in terminal.text and "0:05" in terminal.text
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
    content = fake.requests[0]["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
    times = times_in(home)
    assert len(times) == 5
    assert [number_of(picture) for picture in pictures] == [round(2 * time) for time in times]


@pytest.mark.slow
def test_a_video_is_answered(clip: Path, tiny_model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Terminal("--model", tiny_model, home=home, rows=60) as terminal:
        attach_and_drop_the_second(terminal, clip)
        terminal.send_line("/set max_tokens 8")
        terminal.send_line("What happens?")
        footnote = r"first token \d\S* s · \d\S* tokens/s · \d"
        terminal.wait(lambda screen: re.search(footnote, screen))
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
    assert len(times_in(home)) == 5
