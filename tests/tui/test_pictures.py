"""Pictures in the conversation: drawn when seen, in their own proportions, and safely."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from rich.segment import Segments
from textual.widgets import Static

from tests.fake_engine import FakeEngine, running
from tests.pictures import draw, encoded, saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.chat.messages import Media, user_message
from vlmchat.media.images import load_media
from vlmchat.talk.turns.tree import Turn
from vlmchat.tui import drawing
from vlmchat.tui.drawing import fit, prepare
from vlmchat.tui.screens.viewer import Viewer
from vlmchat.tui.terminal import Abilities, PictureStyle, picture_style, understand
from vlmchat.tui.widgets import picture as picture_module
from vlmchat.tui.widgets.picture import Picture, PictureCanvas
from vlmchat.tui.widgets.transcript import Transcript
from vlmchat.tui.widgets.turns import QuestionTurn

BLOCKS, KITTY = PictureStyle("blocks"), PictureStyle("kitty")


@asynccontextmanager
async def talking(
    ui: dict[str, Any] | None = None, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Chat]:
    with running(FakeEngine()) as engine:
        overrides = remote(engine.url) | ({"ui": ui} if ui else {})
        async with chatting(overrides=overrides, size=size) as chat:
            await chat.ready()
            yield chat


async def show(chat: Chat, *media: Media) -> list[Picture]:
    """Put a question with these pictures into the conversation."""
    session = chat.session
    turn = Turn("user", user_message("What is it?", media).parts, parent=session.tree.tip)
    session.tree.add(turn)
    await chat.screen.turn_added(turn)
    await chat.pilot.pause()
    return list(chat.screen.query(QuestionTurn).last().query(Picture))


def drawn(picture: Picture) -> bool:
    return all(canvas.drawn is not None for canvas in picture.query(PictureCanvas))


def of_bytes(data: bytes, name: str, width: int, height: int) -> Media:
    return Media.held(data, name, "image/png", width, height)


async def test_pictures_stand_side_by_side_and_wrap(tmp_path: Path) -> None:
    media = [load_media(saved(tmp_path / f"{n}.png", 640, 480)) for n in range(4)]
    async with talking(size=(100, 60)) as chat:
        pictures = await show(chat, *media)
        # The place is taken before anything is decoded.
        sizes = [picture.query_one(PictureCanvas).size for picture in pictures]
        assert {tuple(size) for size in sizes} == {(27, 10)}
        tops = [picture.region.y for picture in pictures]
        assert tops[0] == tops[1] == tops[2] < tops[3]
        assert pictures[0].region.right < pictures[1].region.x
        await chat.until(lambda: all(map(drawn, pictures)))
        assert chat.text().count("▀▀▀") >= 4
        await chat.pilot.resize_terminal(60, 60)
        await chat.until(lambda: pictures[2].region.y > pictures[0].region.y)
        await chat.until(lambda: all(map(drawn, pictures)))


async def test_what_is_drawn_is_the_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40), "blue")
    image.paste("red", (0, 0, 40, 20))
    image.save(tmp_path / "a.png")
    async with talking() as chat:
        (picture,) = await show(chat, load_media(tmp_path / "a.png"))
        await chat.until(lambda: drawn(picture))
        found = picture.query_one(PictureCanvas).drawn
        assert found is not None and (found.columns, found.rows) == (20, 10)
        first, last = next(iter(found.strips[0])).style, next(iter(found.strips[-1])).style
        assert first is not None and last is not None
        assert first.color is not None and first.color.triplet == (255, 0, 0)
        assert last.bgcolor is not None and last.bgcolor.triplet == (0, 0, 255)


async def test_transparent_parts_follow_the_theme(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    async with talking() as chat:
        (picture,) = await show(chat, load_media(tmp_path / "clear.png"))
        canvas = picture.query_one(PictureCanvas)

        def colour() -> object:
            if canvas.drawn is None:
                return None
            style = next(iter(canvas.drawn.strips[0])).style
            return style and style.color and style.color.triplet

        await chat.until(colour)
        dark = colour()
        assert dark == canvas.background_colors[1].rgb
        chat.app.theme = "paper"
        await chat.until(lambda: colour() not in (None, dark))
        assert colour() == canvas.background_colors[1].rgb


async def test_broken_and_missing_pictures_say_so() -> None:
    async with talking() as chat:
        cut = of_bytes(encoded("JPEG", 400, 300)[:1500], "cut [/x].jpg", 400, 300)
        gone = of_bytes(b"", "gone.png", 40, 30)
        pictures = await show(chat, cut, gone)
        await chat.until(lambda: all(picture.broken for picture in pictures))
        labels = [str(p.query_one(".picture-label", Static).render()) for p in pictures]
        assert "cut [/x].jpg" in labels[0] and "cut off" in labels[0]
        assert "0 bytes" in labels[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
async def test_extreme_shapes_take_a_little_room(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    async with talking() as chat:
        (picture,) = await show(chat, load_media(tmp_path / "a.png"))
        await chat.until(lambda: drawn(picture))
        canvas = picture.query_one(PictureCanvas)
        assert 1 <= canvas.size.height <= 10 and 1 <= canvas.size.width <= 80
        assert canvas.size.width <= max(1, size[0]) and canvas.size.height <= max(1, size[1])


async def show_many(chat: Chat, media: list[Media]) -> list[Picture]:
    """Put a question for each picture into the conversation, all at once."""
    await chat.screen.query_one(Transcript).mount_all(
        QuestionTurn(Turn("user", user_message("What is it?", (item,)).parts), lambda _: (1, 1))
        for item in media
    )
    await chat.until(lambda: len(chat.screen.query(Picture)) == len(media))
    return list(chat.screen.query(Picture))


async def test_only_what_is_in_view_is_decoded(tmp_path: Path) -> None:
    media = [load_media(saved(tmp_path / f"{n}.png", 300, 200, "red")) for n in range(50)]
    async with talking() as chat:
        pictures = await show_many(chat, media)
        await chat.until(lambda: drawn(pictures[-1]))
        assert sum(map(drawn, pictures)) < 8
        chat.screen.query_one(Transcript).scroll_home(animate=False)
        await chat.until(lambda: drawn(pictures[0]))
        assert not drawn(pictures[25])


async def test_a_long_conversation_keeps_few_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_module, "KEPT", 6)
    media = load_media(saved(tmp_path / "a.png", 40, 8))
    async with talking() as chat:
        pictures = await show_many(chat, [media] * 20)
        for picture in (*pictures, pictures[0]):
            picture.scroll_visible(animate=False)
            await chat.until(partial(drawn, picture))
        assert 1 <= sum(map(drawn, pictures)) <= 10


async def test_off_shows_lines_of_text(tmp_path: Path) -> None:
    async with talking({"pictures": "off"}) as chat:
        (picture,) = await show(chat, load_media(saved(tmp_path / "my [red] cat.png")))
        assert not picture.query(PictureCanvas) and picture.size.height == 1
        assert "▣ my [red] cat.png  64×48" in chat.text()


async def test_fewer_rows_by_setting(tmp_path: Path) -> None:
    async with talking({"picture_rows": 3}) as chat:
        (picture,) = await show(chat, load_media(saved(tmp_path / "a.png", 400, 300)))
        assert picture.query_one(PictureCanvas).size.height == 3


async def test_names_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    media = load_media(path)
    evil = Media.held(media.data, "a\x1b]52;c;AAAA\x07\x1b[2J.png", "image/png", 64, 48)
    async with talking() as chat:
        (picture,) = await show(chat, evil)
        await chat.until(lambda: drawn(picture))
        assert "\x1b" not in chat.text() and "␛" in chat.text()


def test_no_byte_of_a_file_reaches_the_terminal(tmp_path: Path) -> None:
    # Escape sequences everywhere a PNG has room for text, and as its pixels.
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "\x1b]0;owned\x07")
    escape = b"\x1b]2;owned\x07\x1b[2J\x9b31m"
    raw = (escape * (64 * 64 * 3 // len(escape) + 1))[: 64 * 64 * 3]
    Image.frombytes("RGB", (64, 64), raw).save(tmp_path / "evil.png", pnginfo=info)
    from vlmchat.media.thumbnails import file_thumbnail

    image = file_thumbnail(tmp_path / "evil.png", (64, 64))
    found = prepare(image, 32, 16, BLOCKS, (0, 0, 0))
    assert {char for strip in found.strips for char in strip.text} == {"▀"}
    console = Console(force_terminal=True, color_system="truecolor", width=40, file=None)
    with console.capture() as capture:
        for strip in found.strips:
            console.print(Segments(strip))
    assert re.sub(r"\x1b\[[\d;]*m", "", capture.get()).strip("▀\n ") == ""


async def test_enter_opens_it_large_among_the_others(tmp_path: Path) -> None:
    async with talking() as chat:
        await show(chat, load_media(saved(tmp_path / "one.png")))
        await show(chat, load_media(saved(tmp_path / "two.png", colour="blue")))
        chat.screen.query(Picture).last().focus()
        await chat.pilot.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, Viewer))
        assert "2/2  two.png" in chat.text()
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        chat.screen.query_one(Transcript).scroll_home(animate=False)
        await chat.until(lambda: chat.screen.query(Picture).first().region.y > 0)
        await chat.pilot.click(chat.screen.query(Picture).first())
        await chat.until(lambda: isinstance(chat.app.screen, Viewer))


def test_sizes_keep_proportions_and_blow_nothing_up() -> None:
    assert fit(640, 480, 78, 10, BLOCKS) == (27, 10)
    assert fit(4000, 1000, 40, 10, BLOCKS) == (40, 5)
    assert fit(8, 8, 78, 10, BLOCKS) == (8, 4)
    assert fit(8, 8, 78, 10, BLOCKS, grow=True) == (20, 10)
    assert fit(100, 100, 78, 10, KITTY) == (10, 5)
    assert fit(0, 0, 78, 10, BLOCKS) == (1, 1)
    # Cells that are not twice as high as wide.
    assert fit(400, 400, 78, 10, PictureStyle("blocks", 10, (10, 25))) == (25, 10)


def test_what_terminals_answer() -> None:
    xterm = understand(b"\x1b[6;20;10t\x1b[?64;1;2;4;22c")
    assert xterm == Abilities("sixel", (10, 20))
    assert understand(b"\x1b[?62;22c") == Abilities("blocks")
    assert understand(b"") == Abilities("blocks")
    kitty = b"\x1b[6;32;16t\x1b_Gi=4294967;OK\x1b\\\x1b[?62c"
    assert understand(kitty) == Abilities("kitty", (16, 32))
    assert understand(b"\x1b_Gi=1;ENOTSUP\x1b\\\x1b[?62;4c").kind == "sixel"
    # What the person typed meanwhile is kept; keys that are not text are not.
    typed = understand("héllo\x1b[A\x1b[?62c you\r".encode())
    assert typed.typed == "héllo you\n"
    assert understand(b"\x1b[?62c", (9, 18)).cell == (9, 18)
    assert understand(b"\x1b[6;0;0t\x1b[?62c").cell == (10, 20)
    assert picture_style("auto", 7, kitty_abilities := understand(kitty)).kind == "kitty"
    assert picture_style("off", 7, kitty_abilities) == PictureStyle("off", 7, (16, 32))


def test_the_graphics_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    before = sys.__stdout__
    image = draw(200, 100)
    sixel = prepare(image, 20, 5, PictureStyle("sixel"), (0, 0, 0))
    assert sixel.image is not None and sixel.image.size == (200, 100) and not sixel.strips
    assert sys.__stdout__ is before
    kitty = prepare(image, 20, 5, KITTY, (0, 0, 0))
    assert len(kitty.strips) == 5 and all(strip.cell_length == 20 for strip in kitty.strips)
    assert all("\x1b" not in strip.text for strip in kitty.strips)
    kitty.release()
    assert "textual_image" in sys.modules and drawing.style_of is not None
    capsys.readouterr()


async def test_sixels_are_a_widget_of_their_size(tmp_path: Path) -> None:
    async with talking({"pictures": "sixel"}) as chat:
        (picture,) = await show(chat, load_media(saved(tmp_path / "a.png", 200, 100)))
        await chat.until(lambda: drawn(picture))
        canvas = picture.query_one(PictureCanvas)
        assert tuple(canvas.size) == (20, 5)
        await chat.until(lambda: canvas.children and tuple(canvas.children[0].size) == (20, 5))
