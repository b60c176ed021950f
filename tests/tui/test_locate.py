"""/locate: pictures of a folder in the order in which they fit a sentence."""

from pathlib import Path

import pytest

from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.tui.screens.locating import Located
from vlmchat.tui.widgets.chips import Chip
from vlmchat.tui.widgets.file_list import FileList

COLOURS = ("red", "green", "blue", "gold")


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    """Return a folder of pictures, one of them deeper, and a broken one."""
    folder = tmp_path / "my pics"
    (folder / "more").mkdir(parents=True)
    for colour in COLOURS[:-1]:
        saved(folder / f"[b]{colour}.png", colour=colour)
    saved(folder / "more" / "gold.png", colour="gold")
    (folder / "broken.jpg").write_text("no picture")
    return folder


async def noted(chat: Chat, words: str) -> None:
    await chat.until(
        lambda: any(words in " ".join(note.split()) for note in [*chat.notices(), *chat.errors()])
    )


async def test_what_is_found_is_attached(engine: EngineProcess, pics: Path) -> None:
    overrides = remote(engine.url)
    overrides["engine"]["api_key"] = TOKEN
    async with chatting(overrides=overrides) as chat:
        await chat.ready()
        await chat.ask(f"/locate '{pics}' A red circle.")
        await chat.until(lambda: isinstance(chat.app.screen, Located))
        screen = chat.app.screen
        files = screen.query_one(FileList)
        await chat.until(lambda: not chat.screen.beside.locating.active)
        await noted(chat, "“A red circle.”: the best of 4 is ")
        assert "5 files, the best first, 1 of them not readable" in chat.text()
        scores = [float(entry.label.split()[0]) for entry in files.entries]
        assert len(scores) == 4 and scores == sorted(scores, reverse=True)
        assert {entry.path.name for entry in files.entries} >= {"gold.png", "[b]red.png"}
        assert files.cursor == 0
        await chat.pilot.press("space", "space", "enter")
        await chat.until(lambda: len(list(chat.screen.query(Chip))) == 2)
        names = {media.name for media in chat.screen.attachments.media}
        assert names == {entry.path.name for entry in files.entries[:2]}
        await chat.ask("/locate")
        await chat.until(lambda: isinstance(chat.app.screen, Located))
        assert len(chat.app.screen.query_one(FileList).entries) == 4
        await chat.pilot.press("escape")


async def test_what_is_refused(pics: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("/locate")
            await noted(chat, "Name a folder, and say what to look for")
            await chat.ask(f"/locate {tmp_path}/gone a cat")
            await noted(chat, "gone” is no folder")
            await chat.ask(f"/locate '{pics}'")
            await noted(chat, "Say what the pictures are to show, too")
            await chat.ask("/locate stop")
            await noted(chat, "Nothing is being looked for")
            await chat.ask(f"/locate {tmp_path}/empty a cat")
            await noted(chat, "holds no pictures or videos")
            await chat.pilot.press("escape")
            # A server that cannot say how likely a sentence is.
            await chat.ask(f"/locate '{pics}' a cat")
            await noted(chat, "cannot say how likely given answers are")
            assert "cannot say how likely" in chat.text()


async def test_a_model_without_eyes_finds_nothing(pics: Path) -> None:
    script = Script()
    script.model["meta"]["images"] = False
    with running(FakeEngine(script)) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask(f"/locate '{pics}' a cat")
            await noted(chat, "Fake VLM takes no pictures")
            assert not chat.screen.beside.locating.active
