"""What the chips say of the cost, what the viewer draws of it, and the part that is sent."""

import base64
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from textual.widgets import Static

from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import MODEL, FakeEngine, Reply, Script, running
from tests.pictures import draw, saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.chat.messages import ImagePart, Region
from vlmchat.media.crop import cropped
from vlmchat.models.catalogue import by_id
from vlmchat.talk.commands.base import Completion
from vlmchat.tui.screens.viewer import Viewer
from vlmchat.tui.widgets.canvas import Canvas
from vlmchat.tui.widgets.chips import Chip
from vlmchat.tui.widgets.field import ChoiceLine
from vlmchat.tui.widgets.media_grid import MediaGrid
from vlmchat.tui.widgets.picture import Picture

SPEC = by_id("smolvlm2-500m").processor


def fake(replies: list[Reply] | None = None, context: int = 8192) -> FakeEngine:
    meta = MODEL["meta"] | {"processor": SPEC.as_row(), "context": context}
    return FakeEngine(Script(replies or [Reply()], model=MODEL | {"meta": meta}))


@asynccontextmanager
async def talking(
    engine: FakeEngine, size: tuple[int, int] = (80, 24), **overrides: Any
) -> AsyncIterator[Chat]:
    with running(engine):
        async with chatting(overrides=remote(engine.url) | overrides, size=size) as chat:
            await chat.ready()
            yield chat


def chips(chat: Chat) -> list[str]:
    return [str(chip.render()) for chip in chat.screen.query(Chip)]


async def attach(chat: Chat, *paths: Path) -> None:
    count = len(chat.screen.attachments.items) + len(paths)
    chat.screen.attach(paths)
    await chat.until(lambda: len(chat.screen.attachments.items) == len(chips(chat)) == count)


def line(viewer: Viewer, name: str) -> str:
    return str(viewer.query_one(name, Static).render())


async def viewing(chat: Chat, command: str = "/view") -> Viewer:
    await chat.ask(command)
    await chat.until(lambda: isinstance(chat.app.screen, Viewer))
    viewer = chat.app.screen
    assert isinstance(viewer, Viewer)
    await chat.until(lambda: viewer.query(Canvas) and viewer.query_one(Canvas).drawn is not None)
    await chat.until(lambda: not viewer._drawing)
    return viewer


def sent_pictures(engine: FakeEngine, request: int = -1) -> Iterator[tuple[str, Image.Image]]:
    for message in engine.requests[request]["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "image_url":
                head, _, data = part["image_url"]["url"].partition(",")
                yield head, Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


# Chips -------------------------------------------------------------------------------------------


async def test_the_chip_says_tiles_and_tokens_and_follows_detail(tmp_path: Path) -> None:
    async with talking(fake()) as chat:
        await attach(chat, saved(tmp_path / "square.png", 1024, 1024))
        assert chips(chat)[0].startswith("▣ square.png  1024×1024 · ")
        assert chips(chat)[0].endswith("B · 5 tiles · 333 tokens  ×")
        await chat.ask("/detail low")
        await chat.until(lambda: "· 1 tile · 67 tokens" in chips(chat)[0])
        await chat.ask("/detail 10")
        await chat.until(lambda: "· 10 tiles · 664 tokens" in chips(chat)[0])
        assert "detail: 10" in chat.notices()[-1]


async def test_several_chips_are_numbered_and_summed(tmp_path: Path) -> None:
    async with talking(fake(), size=(100, 24)) as chat:
        await attach(chat, saved(tmp_path / "a.png", 1024, 1024), saved(tmp_path / "b.png"))
        assert chips(chat)[0].startswith("▣ 1 a.png · 333 tokens")
        assert chips(chat)[1].startswith("▣ 2 b.png · 67 tokens")
        assert "400 tokens" in chat.text()
        await attach(chat, saved(tmp_path / "c.png", 50, 50))
        assert "467 tokens" in chat.text()


async def test_many_chips_leave_room(tmp_path: Path) -> None:
    async with talking(fake()) as chat:
        files = [saved(tmp_path / f"a quite long name {n}.png", 40 + n, 40) for n in range(6)]
        chat.screen.attach(files)
        await chat.until(lambda: len(chat.screen.attachments.items) == 6)
        assert "more and" in chat.text() and "402 tokens" in chat.text()
        assert chips(chat)[-1].startswith("▣ 6 a quit") and "tokens" not in chips(chat)[-1]
        row = chat.screen.query_one("#chips-row")
        assert all(chip.region.right <= row.region.right for chip in row.children)


async def test_what_does_not_fit_is_told_before_it_is_sent(tmp_path: Path) -> None:
    async with talking(fake(context=400)) as chat:
        await chat.ask("Hello")
        await chat.answered()
        await attach(chat, saved(tmp_path / "a.png", 1024, 1024))
        warning = chat.screen.query_one("#chips-warning", Static)
        assert warning.display
        assert "needs 333 tokens, 298 are left: /detail low" in str(warning.render())
        await chat.ask("/detail low")
        await chat.until(lambda: not warning.display)
        assert chat.screen.attachments.room() == (298 - 67) // 2 // 77


async def test_an_engine_that_says_nothing_has_no_figures(tmp_path: Path) -> None:
    async with talking(FakeEngine()) as chat:
        await attach(chat, saved(tmp_path / "a.png", 1024, 1024))
        assert "tile" not in chips(chat)[0] and "token" not in chips(chat)[0]
        assert chat.screen.attachments.room() == 64
        viewer = await viewing(chat)
        await chat.pilot.press("g")
        assert "known once the model is" in line(viewer, "#viewer-plan")


async def test_seconds_are_shown_once_they_were_measured(tmp_path: Path) -> None:
    timings = {"prompt_n": 100, "prompt_ms": 3000.0, "vision_ms": 1000.0, "vision_tiles": 5}
    async with talking(fake([Reply(timings=timings)])) as chat:
        await attach(chat, saved(tmp_path / "a.png", 1024, 1024))
        assert "~" not in chips(chat)[0]
        await chat.ask("What is it?")
        await chat.answered()
        await chat.until((paths.cache_dir() / "speeds.json").exists)
        await attach(chat, saved(tmp_path / "a.png", 1024, 1024))
        await chat.until(lambda: "333 tokens · ~8 s" in chips(chat)[0])  # 5 × 0.2 + 333 × 0.02
    async with talking(fake()) as chat:
        await attach(chat, saved(tmp_path / "a.png", 1024, 1024))
        await chat.until(lambda: "~8 s" in chips(chat)[0])


async def test_the_chosen_model_counts_before_it_is_loaded(tmp_path: Path) -> None:
    from tests.tui.driving import scripted

    loading = [{"stage": "loading", "text": "Loading"}]
    script = Script(loading=loading, hold_loading=str(tmp_path / "never"))
    overrides = {"engine": {"model": "smolvlm2-2.2b"}}
    async with chatting(scripted(script, tmp_path), overrides) as chat:
        await chat.until(lambda: chat.session.engine.status.stage == "loading")
        await attach(chat, saved(tmp_path / "a.png", 768, 768))
        await chat.until(lambda: "5 tiles · 418 tokens" in chips(chat)[0])
        assert chat.screen.plans.left == 8192


async def test_a_folder_is_asked_before_it_is_loaded(tmp_path: Path, tiny_model: Path) -> None:
    from tests.tui.driving import scripted

    loading = [{"stage": "loading", "text": "Loading"}]
    script = Script(loading=loading, hold_loading=str(tmp_path / "never"))
    overrides = {"engine": {"model": str(tiny_model)}}
    async with chatting(scripted(script, tmp_path), overrides) as chat:
        await attach(chat, saved(tmp_path / "a.png", 64, 64))
        await chat.until(lambda: "5 tiles" in chips(chat)[0])


async def test_the_figure_is_what_the_engine_counts(tmp_path: Path, engine: EngineProcess) -> None:
    overrides = remote(engine.url, api_key=TOKEN) | {"sampling": {"max_tokens": 4}}
    async with chatting(overrides=overrides) as chat:
        await chat.ready()

        async def tokens(count: int) -> int:
            await chat.ask("What is it?")
            await chat.answered(count)
            reply = chat.replies[-1].reply
            assert reply is not None and reply.finished is not None and reply.finished.usage
            return reply.finished.usage.prompt_tokens

        bare = await tokens(1)
        for detail, size in (("auto", (100, 70)), ("high", (40, 40)), ("3", (200, 90))):
            await chat.ask("/new")
            await chat.until(lambda: not chat.session.path)
            await chat.ask(f"/detail {detail}")
            await attach(chat, saved(tmp_path / f"{detail}.png", *size))
            told = int(chips(chat)[0].partition(" tokens")[0].rpartition(" ")[2])
            assert await tokens(1) - bare == told, (detail, size)
        await chat.until((paths.cache_dir() / "speeds.json").exists)
        await attach(chat, saved(tmp_path / "more.png", 90, 90))
        await chat.until(lambda: "~" in chips(chat)[0])


# The viewer --------------------------------------------------------------------------------------


def pixels_of(viewer: Viewer) -> list[list[tuple[int, ...]]]:
    """Return the upper pixel of each cell that is shown."""
    drawn = viewer.query_one(Canvas).drawn
    assert drawn is not None
    rows = []
    for strip in drawn.strips:
        row: list[tuple[int, ...]] = []
        for segment in strip:
            style = segment.style
            assert style is not None and style.color is not None
            row += [tuple(style.color.get_truecolor())] * len(segment.text)
        rows.append(row)
    return rows


@pytest.mark.parametrize("theme", ["harbour", "paper"])
async def test_the_grid_and_the_detail(tmp_path: Path, theme: str) -> None:
    Image.new("RGB", (1024, 1024), "white").save(tmp_path / "white.png")
    async with talking(fake(), ui={"theme": theme}) as chat:
        await attach(chat, tmp_path / "white.png")
        viewer = await viewing(chat)
        white = (255, 255, 255)
        assert all(pixel == white for row in pixels_of(viewer) for pixel in row)
        await chat.pilot.press("g")
        plan = "detail auto (2×2 and the whole) · 5 tiles · 333 tokens"
        await chat.until(lambda: line(viewer, "#viewer-plan") == plan)
        assert plan in chat.text()

        def lined(share: float) -> bool:
            """Say whether a line goes down through the picture there."""
            rows = pixels_of(viewer)
            column = round(share * len(rows[0]))
            return any(row[column] != white for row in rows[1:9])

        await chat.until(lambda: lined(1 / 2) and not lined(1 / 4))
        await chat.pilot.press("d")
        await chat.until(lambda: "detail high (4×4 and" in line(viewer, "#viewer-plan"))
        assert chat.session.detail == "high"
        await chat.until(lambda: lined(1 / 4))
        await chat.pilot.press("d")
        await chat.until(lambda: "detail 10 (3×3" in line(viewer, "#viewer-plan"))
        await chat.pilot.press("d")
        await chat.until(lambda: "detail low · 1 tile" in line(viewer, "#viewer-plan"))
        await chat.pilot.press("g")
        assert not viewer.query_one("#viewer-plan").display
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        assert "1 tile · 67 tokens" in chips(chat)[0]


async def test_a_part_by_keys_is_attached_in_place_and_sent(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.png", 640, 480)
    engine = fake()
    async with talking(engine) as chat:
        await attach(chat, path)
        viewer = await viewing(chat)
        await chat.pilot.press("c")
        assert "part 160,120,480,360 (320×240)" in line(viewer, "#viewer-plan")
        assert "Enter attaches" in chat.text()
        await chat.pilot.press("ctrl+left", "ctrl+up", "ctrl+up")
        assert "part 159,118,479,358 " in line(viewer, "#viewer-plan")
        await chat.pilot.press("left", "shift+right", "minus", "plus")
        assert viewer.selection is not None
        region = viewer.selection.region
        assert region.left < 159 and region.width > 320
        for _ in range(60):
            await chat.pilot.press("left")
        assert viewer.selection.region.left == 0
        region = viewer.selection.region
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.app.screen is chat.screen)
        (item,) = chat.screen.attachments.items
        assert isinstance(item, ImagePart) and item.region == region
        assert item.media.data == path.read_bytes()  # the original stays
        await chat.until(
            lambda: f"part {region.width}×{region.height} of 640×480" in chips(chat)[0]
        )
        await chat.ask("What is it?")
        await chat.answered()
        assert f"part {region.width}×{region.height}" in chat.questions()[0]
        assert chat.screen.query_one(Picture).item == item
    ((head, sent),) = sent_pictures(engine)
    assert head == "data:image/png;base64"
    assert sent.tobytes() == draw(640, 480).crop(region.edges).tobytes()
    assert sent.size == (cropped(item.media, region).width, region.height)


async def test_a_part_by_mouse_and_from_the_conversation(tmp_path: Path) -> None:
    async with talking(fake()) as chat:
        await attach(chat, saved(tmp_path / "photo.png", 640, 480))
        await chat.ask("What is it?")
        await chat.answered()
        viewer = await viewing(chat)
        canvas = viewer.query_one(Canvas)
        columns, rows = canvas.size
        await chat.pilot.mouse_down(canvas, offset=(0, 0))
        await chat.pilot.hover(canvas, offset=(columns // 2 - 1, rows // 2 - 1))
        await chat.pilot.mouse_up(canvas, offset=(columns // 2 - 1, rows // 2 - 1))

        def chosen() -> Region | None:
            return viewer.selection.region if viewer.selection is not None else None

        region = chosen()
        assert region is not None and region.edges[:2] == (0, 0)
        assert region.width == pytest.approx(320, abs=20)
        await chat.pilot.press("escape")  # leaves the choosing only
        assert chosen() is None and chat.app.screen is viewer
        await chat.pilot.press("c", "enter")
        await chat.until(lambda: chat.app.screen is chat.screen)
        (item,) = chat.screen.attachments.items
        assert isinstance(item, ImagePart) and item.region == Region(160, 120, 480, 360)
        assert len(chat.session.path[0].attachments) == 1
        first = chat.session.path[0].attachments[0]
        assert isinstance(first, ImagePart) and first.region is None


async def test_the_viewer_is_for_pictures_of_one_pixel_too(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    async with talking(fake()) as chat:
        await attach(chat, tmp_path / "dot.png")
        viewer = await viewing(chat, "/crop")
        await chat.pilot.press("g", "plus", "minus", "left", "shift+up", "d")
        assert viewer.selection is not None
        assert viewer.selection.region == Region(0, 0, 1, 1)
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.app.screen is chat.screen)
        (item,) = chat.screen.attachments.items
        assert isinstance(item, ImagePart) and item.region is None  # all of it is no part


# Commands ----------------------------------------------------------------------------------------


async def test_the_crop_command(tmp_path: Path) -> None:
    async with talking(fake()) as chat:
        await chat.ask("/crop left")
        await chat.until(lambda: "no picture to crop yet" in chat.errors()[-1])
        files = [saved(tmp_path / "a.png", 600, 400), saved(tmp_path / "b c.png", 64, 48)]
        await attach(chat, *files)

        def regions() -> list[object]:
            items = chat.screen.attachments.items
            return [
                x.region.edges if isinstance(x, ImagePart) and x.region else None for x in items
            ]

        await chat.ask("/crop 1 10,20,310,220")
        await chat.until(lambda: regions() == [(10, 20, 310, 220), None])
        told = "from 10, 20 to 310, 220 (300 by 200 pixels) of a.png: 1 tile, 67 tokens."
        await chat.until(lambda: told in chat.notices()[-1])
        assert "▣ 1 a.png · part" in chips(chat)[0]
        await chat.ask("/crop top right")
        await chat.until(lambda: regions()[1] == (32, 0, 64, 24))
        await chat.ask("/crop b c.png off")
        await chat.until(lambda: regions()[1] is None)
        await chat.ask("/crop off")
        await chat.until(lambda: regions() == [None, None])
        for wrong in ("/crop 3 left", "/crop 0,0,5000,1", "/crop none.png", "/crop 5,5,5,5"):
            await chat.ask(wrong)
        await chat.until(lambda: len(chat.errors()) == 5)
        viewer = await viewing(chat, "/crop 1")
        assert viewer.current.name == "a.png" and viewer.selection is not None
        await chat.pilot.press("escape", "escape")
        await chat.until(lambda: chat.app.screen is chat.screen)


async def test_detail_is_completed_with_what_it_costs(tmp_path: Path) -> None:
    from vlmchat.talk.commands import registry

    async with talking(fake()) as chat:

        def completed() -> Sequence[Completion]:
            found = registry.find("detail").completions(chat.screen, "")
            assert isinstance(found, Sequence)
            return found

        bare = completed()
        assert [item.text for item in bare] == ["low", "auto", "high"]
        await attach(chat, saved(tmp_path / "a.png", 2048, 2048))
        offered = {item.text: item.help for item in completed()}
        assert list(offered) == ["low", "auto", "high", "5", "10"]
        assert offered["5"] == "5 tiles · 333 tokens"
        assert offered["high"] == "17 tiles · 1\u00a0127 tokens"
        await chat.type("/detail ")
        await chat.until(lambda: "10 tiles · 664 tokens" in chat.text())


async def test_the_panel_shows_a_number(tmp_path: Path) -> None:
    async with talking(fake()) as chat:
        await chat.ask("/detail 7")
        await chat.until(lambda: chat.session.detail == 7)
        await chat.pilot.press("f4")
        await chat.until(lambda: chat.app.screen.id == "parameters")
        chooser = list(chat.app.screen.query(ChoiceLine))[-1]
        assert "● 7" in str(chooser.render())
        chooser.focus()
        await chat.pilot.press("left")
        assert chat.session.detail == "high" and "7" not in str(chooser.render())


async def test_the_gallery_shows_the_part_and_attaches_it_again(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200), "red")
    image.paste("blue", (200, 0, 400, 200))
    image.save(tmp_path / "two.png")
    region = Region(200, 0, 400, 200)
    async with talking(fake()) as chat:
        await attach(chat, tmp_path / "two.png")
        await chat.ask("/crop right")
        await chat.until(lambda: "part" in chips(chat)[0])
        await chat.ask("What is it?")
        await chat.answered()
        (picture,) = chat.screen.query(Picture)
        canvas = picture.query_one(Canvas)
        await chat.until(lambda: canvas.drawn is not None)
        assert canvas.drawn is not None
        style = next(iter(canvas.drawn.strips[0])).style
        assert style is not None and style.color is not None
        assert tuple(style.color.get_truecolor()) == (0, 0, 255)
        await chat.ask("/gallery")
        await chat.until(lambda: chat.app.screen.query(MediaGrid))
        grid = chat.app.screen.query_one(MediaGrid)
        await chat.until(lambda: grid.current and grid.shelf.get(grid.current.shown) is not None)
        assert grid.current is not None and grid.current.region == region
        await chat.pilot.press("a")
        await chat.until(lambda: chat.screen.attachments.items)
        (item,) = chat.screen.attachments.items
        assert isinstance(item, ImagePart) and item.region == region
