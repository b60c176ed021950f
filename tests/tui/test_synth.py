"""/synth: a set about a folder of pictures, while the chat goes on."""

import json
from pathlib import Path

import pytest

from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.tui.screens.standing import Standing


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    """Return a folder of pictures, and a broken one."""
    folder = tmp_path / "my pics"
    folder.mkdir()
    for colour in ("red", "green", "blue"):
        saved(folder / f"[b]{colour}.png", colour=colour)
    (folder / "broken.jpg").write_text("no picture")
    return folder


async def noted(chat: Chat, words: str) -> None:
    await chat.until(
        lambda: any(words in " ".join(note.split()) for note in [*chat.notices(), *chat.errors()])
    )


async def test_a_set_is_made(engine: EngineProcess, pics: Path) -> None:
    overrides = remote(engine.url)
    overrides["engine"]["api_key"] = TOKEN
    # The tiny model says anything at all until it is stopped, and these come soon.
    overrides["sampling"] = {"stop": ["e", "t", "o", "i", " "]}
    async with chatting(overrides=overrides) as chat:
        await chat.ready()
        await chat.ask(f"/synth '{pics}' caption")
        await chat.until(lambda: isinstance(chat.app.screen, Standing))
        await noted(chat, "The set is made: ")
        await chat.until(lambda: "1 picture is passed over:" in chat.text())
        assert "my pics: caption" in chat.text() and "broken.jpg" in chat.text()
        summary = chat.screen.beside.synthesizing.summary
        assert summary is not None and summary.finished and summary.kept + summary.left_out > 0
        assert summary.out.parent == paths.data_dir() / "sets"
        rows = [json.loads(line) for line in summary.out.read_text("utf-8").splitlines()]
        assert len(rows) == summary.kept


async def test_it_is_stopped_and_goes_on(pics: Path) -> None:
    for number in range(5):
        saved(pics / f"{number:02}.png", 30 + number, 30)
    with running(FakeEngine(Script([Reply(["A red picture."], delay=0.1)]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask(f"/synth '{pics}' caption")
            work = chat.screen.beside.synthesizing
            await chat.until(lambda: work.done >= 2)
            assert work.label.startswith("synth ")
            await chat.pilot.press("x", "escape")
            await noted(chat, "The set was stopped; the same again goes on: ")
            assert 2 <= work.done < 9 and not work.active
            await chat.ask("/synth stop")
            await noted(chat, "No set is being made.")
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask(f"/synth '{pics}' caption")
            await noted(chat, "The set is made: ")
            assert work.summary is not None and work.summary.kept > 0
            assert "/finetune" in chat.text() and "does not say how likely" in chat.text()


async def test_what_is_refused(pics: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("/synth")
            await noted(chat, "Name a folder of pictures")
            await chat.ask(f"/synth '{pics}' poem")
            await noted(chat, "“poem” is no kind of row: they are caption, qa")
            await chat.ask(f"/synth {tmp_path}/gone")
            await noted(chat, "gone” is no folder")
            await chat.ask(f"/synth {tmp_path}/empty")
            await noted(chat, "There is no picture in")


async def test_a_model_without_eyes_makes_none(pics: Path) -> None:
    script = Script()
    script.model["meta"]["images"] = False
    with running(FakeEngine(script)) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask(f"/synth '{pics}'")
            await noted(chat, "Fake VLM takes no pictures")
            assert not chat.screen.beside.synthesizing.active
