"""/batch: the same question about many pictures, while the chat goes on."""

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


def written() -> list[dict[str, object]]:
    """Return the rows of the only file of answers."""
    [path] = (paths.data_dir() / "batches").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


async def noted(chat: Chat, words: str) -> None:
    await chat.until(
        lambda: any(words in " ".join(note.split()) for note in [*chat.notices(), *chat.errors()])
    )


async def test_every_picture_has_its_row(engine: EngineProcess, pics: Path) -> None:
    overrides = remote(engine.url)
    overrides["engine"]["api_key"] = TOKEN
    overrides["sampling"] = {"max_tokens": 4, "temperature": 0.0}
    async with chatting(overrides=overrides) as chat:
        await chat.ready()
        await chat.ask(f"/batch '{pics}' What is it?")
        await chat.until(lambda: isinstance(chat.app.screen, Standing))
        await noted(chat, "All 4 in my pics are answered, 1 of them with an error: ")
        await chat.until(lambda: "my pics: 4 of 4 are answered, 1 of them" in chat.text())
        assert "[b]red.png" in chat.text() and "The answers are in " in chat.text()
        await chat.pilot.press("escape")
        rows = written()
        assert [Path(str(row["source"])).name for row in rows] == [
            *("[b]blue.png", "[b]green.png", "[b]red.png", "broken.jpg")
        ]
        assert [row["error"] is None for row in rows] == [True, True, True, False]
        assert {row["prompt"] for row in rows} == {"What is it?"}
        await chat.ask(f"/batch '{pics}' What is it?")
        await noted(chat, "All of it was answered before: ")
        assert written() == rows


async def test_it_is_stopped_and_goes_on(pics: Path) -> None:
    for number in range(30):
        saved(pics / f"{number:02}.png", 30 + number, 30)
    with running(FakeEngine(Script([Reply(["[b]red"], delay=0.4)]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask(f"/batch '{pics}' What?")
            batching = chat.screen.beside.batching
            await chat.until(lambda: batching.done >= 3)
            assert batching.label.startswith("batch ")
            await chat.pilot.press("x", "escape")
            await noted(chat, "the same again goes on: ")
            done = batching.done
            assert 3 <= done < 34 and len(written()) == done and not batching.active
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask(f"/batch '{pics}' What?")
            await noted(chat, f"going on behind {done}")
            await noted(chat, "All 34 in my pics are answered")
            assert [row["index"] for row in written()] == list(range(34))
            await chat.pilot.press("escape")
            await chat.ask("/batch")
            await chat.until(lambda: "34 of 34 are answered" in chat.text())


async def test_what_is_refused(pics: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("/batch")
            await noted(chat, "Name a folder, and say what is asked")
            await chat.ask(f"/batch '{pics}'")
            await noted(chat, "Say what is asked of each picture, too")
            await chat.ask(f"/batch {tmp_path}/gone What?")
            await noted(chat, "gone” names no file")
            await chat.ask(f"/batch {tmp_path}/empty What?")
            await noted(chat, "There is no picture and no video in")
            await chat.ask("/batch stop")
            await noted(chat, "Nothing is being asked.")


async def test_a_model_without_eyes_is_not_asked(pics: Path) -> None:
    script = Script()
    script.model["meta"]["images"] = False
    with running(FakeEngine(script)) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask(f"/batch '{pics}' What?")
            await noted(chat, "Fake VLM takes no pictures")
            assert not chat.screen.beside.batching.active
