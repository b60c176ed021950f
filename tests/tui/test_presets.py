"""The system prompt of a conversation: by name, saved, edited, changed on the way, brought back."""

import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from textual.widget import Widget

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote, shown
from vlmchat import prompts
from vlmchat.config_file import set_value
from vlmchat.prompts import save_preset
from vlmchat.talk.commands.base import Completions
from vlmchat.talk.commands.completing import offers
from vlmchat.tui.widgets.turns import SystemTurn

BRIEF = "Answer in one short sentence."


def _shown(chat: Chat) -> list[str]:
    turns: list[Widget] = list(chat.screen.query(SystemTurn))
    return [shown(turn).removeprefix("System\n") for turn in turns]


def _system(request: dict[str, Any]) -> str:
    first = request["messages"][0]
    if first["role"] != "system":
        return ""
    content = first["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def _texts(chat: Chat, line: str) -> list[str]:
    _, found = offers(chat.screen, line)
    items: Completions = await found if isinstance(found, Awaitable) else found
    return [item.text for item in items]


async def test_by_name_saved_and_edited() -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("/system @brief")
            await chat.until(lambda: _shown(chat) == [BRIEF])
            await chat.ask("/system @breif")
            await chat.until(chat.errors)
            assert "did you mean @brief?" in chat.errors()[0]
            assert chat.session.system == BRIEF

            await chat.ask("/system edit")
            await chat.until(lambda: chat.composer.text == f"/system {BRIEF}")
            await chat.type("\nIn [red]German.")
            await chat.pilot.press("enter")
            wanted = f"{BRIEF}\nIn [red]German."
            await chat.until(lambda: chat.session.system == wanted)
            await chat.ask("/system save german")
            await chat.until(lambda: any("/system @german" in text for text in chat.notices()))
            assert prompts.resolved("@german") == wanted
            await chat.ask("/system none")
            await chat.ask("/system save german")
            await chat.until(lambda: "no system prompt to save" in chat.errors()[-1])
            await chat.ask("/system save our planet and all its seas")  # prose
            await chat.until(lambda: chat.session.system.startswith("save our planet"))
            await chat.ask("/system save @german")
            await chat.until(lambda: "overwrites" in chat.errors()[-1])
            await chat.ask("/system save german replace")
            await chat.until(lambda: prompts.resolved("@german").startswith("save our"))
            await chat.ask("Hello")
            await chat.answered()
    assert _system(engine.requests[0]) == "save our planet and all its seas"


async def test_completion() -> None:
    save_preset("brother", "Speak like my brother.")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            assert await _texts(chat, "/system @br") == ["@brief", "@brother"]
            assert await _texts(chat, "/system s") == ["save "]
            assert await _texts(chat, "/system save br") == ["save brother replace"]
            assert await _texts(chat, "/system You are") == []
            await chat.type("/system @brot")
            await chat.until(lambda: "Speak like my brother." in chat.text())
            await chat.pilot.press("tab")
            assert chat.composer.text == "/system @brother"


async def test_from_the_settings_the_command_line_and_for_new_conversations() -> None:
    set_value("chat.system", "@signs")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            assert chat.session.system == prompts.resolved("@signs")
            set_value("chat.system", "@charts")
            await chat.pilot.press("f5")
            await chat.until(lambda: chat.app.screen is not chat.screen)
            from vlmchat.settings import load_settings

            chat.screen.apply_settings(load_settings(remote(engine.url)))
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.app.screen is chat.screen)
            await chat.ask("/new")
            await chat.until(lambda: chat.session.system == prompts.resolved("@charts"))
            chat.screen.apply_settings(
                load_settings({**remote(engine.url), "chat": {"system": "@gone"}})
            )
            await chat.ask("/new")
            await chat.until(chat.errors)
            assert "There is no prompt @gone" in chat.errors()[0]
            assert chat.session.system == ""
        overrides = {**remote(engine.url), "chat": {"system": "@brief"}}
        async with chatting(overrides=overrides) as chat:
            await chat.until(lambda: _shown(chat) == [BRIEF])
            await chat.ask("Hello")
            await chat.answered()
    assert _system(engine.requests[0]) == BRIEF


async def test_a_name_that_is_none_ends_the_program_with_a_sentence() -> None:
    overrides = {**remote("http://127.0.0.1:1"), "chat": {"system": "@nope"}}
    async with chatting(overrides=overrides) as chat:
        await chat.until(lambda: chat.app.return_value)
        assert "There is no prompt @nope" in str(chat.app.return_value)
        assert chat.app.return_code == 2


async def test_changed_on_the_way_it_is_kept_forked_exported_and_brought_back(
    tmp_path: Path,
) -> None:
    script = Script([Reply(["One."]), Reply(["Two."]), Reply(["Three."]), Reply(["Four."])])
    out = tmp_path / "whole.json"
    with running(FakeEngine(script)) as engine:
        overrides = remote(engine.url)
        async with chatting(overrides=overrides) as chat:
            await chat.ready()
            await chat.ask("/system Speak like a pirate.")
            await chat.ask("First")
            await chat.answered()
            await chat.ask("/system @brief")
            await chat.until(lambda: chat.session.system == BRIEF)
            await chat.ask("Second")
            await chat.answered(2)
            await chat.ask(f"/export json {out}")
            await chat.until(out.exists)
        async with chatting(overrides=overrides, resume=True) as chat:
            await chat.ready()
            await chat.until(lambda: _shown(chat) == [BRIEF])
            before = chat.screen.conversations.current
            await chat.ask("/fork")
            await chat.until(lambda: chat.screen.conversations.current != before)
            assert chat.session.system == BRIEF
            await chat.ask("Third")
            await chat.answered(3)
            await chat.ask("/system none")
            await chat.until(lambda: chat.session.system == "")
        async with chatting(overrides=overrides, resume=True) as chat:
            await chat.ready()
            assert len(chat.replies) == 3 and chat.session.system == ""
            assert before is not None
            await chat.screen.conversations.open(before)
            assert chat.session.system == BRIEF and len(chat.replies) == 2
        again = {**overrides, "chat": {"system": "@signs"}}
        async with chatting(overrides=again, resume=True) as chat:
            await chat.ready()
            await chat.until(lambda: chat.session.system == prompts.resolved("@signs"))
            await chat.ask("Fourth")
            await chat.until(lambda: len(engine.requests) == 4)
            await chat.answered(3)
    assert [_system(request) for request in engine.requests] == [
        "Speak like a pirate.",
        BRIEF,
        BRIEF,
        prompts.resolved("@signs"),
    ]
    text = out.read_text("utf-8")
    whole = json.loads(text)
    assert BRIEF in json.dumps(whole.get("messages", whole))
    # What each reply was given is told with the reply.
    assert "Speak like a pirate." in text
