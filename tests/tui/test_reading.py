"""What the chat tells of a question that is being read, and of turns that were left out."""

from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import MODEL, FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote, scripted
from vlmchat.client.protocol import Reading, Sampling
from vlmchat.settings import Settings
from vlmchat.tui.widgets.status import StatusBar

OURS = {
    **MODEL,
    "meta": {**MODEL["meta"], "extensions": ["return_progress", "when_full", "repeat_guard"]},
}


def _status(chat: Chat) -> str:
    return str(chat.screen.query_one(StatusBar).render())


def _progress(processed: int, tiles: int) -> dict[str, Any]:
    numbers = {"total": 1900, "cache": 0, "processed": processed, "time_ms": 1.5}
    return {**numbers, "vision_tiles": tiles, "vision_tiles_total": 13}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([_progress(0, 0), _progress(0, 2)], "looking at tile 3 of 13"),
        ([_progress(0, 2), _progress(512, 13)], "reading 512 of 1\u202f900 tokens"),
        ([_progress(512, 13), {"total": "many"}], "reading 512 of 1\u202f900 tokens"),
    ],
)
async def test_how_far_it_has_read(rows: list[dict[str, Any]], words: str, tmp_path: Path) -> None:
    script = Script(model=OURS, replies=[Reply(progress=rows, delay=60), Reply()])
    async with chatting(scripted(script, tmp_path)) as chat:
        await chat.ready()
        await chat.ask("A long question")
        await chat.until(lambda: words in _status(chat))
        assert chat.session.stop()
        await chat.until(lambda: not chat.session.answering)
        assert words not in _status(chat)


async def test_what_was_left_out_is_told_and_stays_told() -> None:
    settings: dict[str, dict[str, Any]] = {
        "chat": {"when_full": "drop oldest"},
        "sampling": {"repeat_guard": True},
    }
    with running(
        FakeEngine(Script(model=OURS, replies=[Reply(told={"dropped_turns": 3})]))
    ) as engine:
        async with chatting(None, {**settings, **remote(engine.url)}) as chat:
            await chat.ready()
            await chat.ask("Still there?")
            await chat.answered()
            assert "3 oldest questions left out" in chat.replies[0].footnote()
            assert any("3 oldest questions were left out" in said for said in chat.notices())
        body = engine.requests[0]
        assert body["when_full"] == "drop oldest" and body["repeat_guard"] is True
        assert body["return_progress"] is True and "prompt_lookup" not in body


async def test_others_get_no_field_they_do_not_name() -> None:
    settings: dict[str, dict[str, Any]] = {
        "chat": {"when_full": "drop oldest"},
        "sampling": {"prompt_lookup": True},
    }
    with running(FakeEngine(Script(replies=[Reply(told={"repeated": True})]))) as engine:
        async with chatting(None, {**settings, **remote(engine.url)}) as chat:
            await chat.ready()
            await chat.ask("Hello")
            await chat.until(lambda: "repeated itself" in chat.text())
        assert not {"when_full", "prompt_lookup", "return_progress"} & engine.requests[0].keys()


def test_the_settings_say_what_is_sent() -> None:
    assert Settings().as_sampling().as_fields() == {"max_tokens": 512}
    changed = Settings.model_validate({"chat": {"when_full": "drop oldest"}}).as_sampling()
    assert changed.as_fields() == {"max_tokens": 512, "when_full": "drop oldest"}
    assert Sampling().with_set(changed) == changed
    engine = {"conversations_mib": 0, "pictures_disk_mib": 9}
    options = Settings.model_validate({"engine": engine}).engine_options()
    assert options.extra == ("--conversations-mib", "0", "--pictures-disk-mib", "9")
    assert Reading.from_json({"total": -1}) is None
