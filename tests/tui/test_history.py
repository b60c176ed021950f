"""What was asked before: walking, searching, and that no draft is lost on the way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.widgets import Input, OptionList

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.talk.test_history import Saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.tui.screens.history_search import HistorySearch


@asynccontextmanager
async def _asked(*questions: str, saved: Saved | None = None) -> AsyncIterator[Chat]:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            chat.composer.asked_before = saved
            for count, question in enumerate(questions, 1):
                await chat.ask(question)
                await chat.answered(count)
            yield chat


async def _shows(chat: Chat, text: str) -> None:
    await chat.until(lambda: chat.composer.text == text)


async def test_up_and_down() -> None:
    async with _asked("first", "second\nline", saved=Saved(["older"], ["elsewhere"])) as chat:
        await chat.type("draft")
        await chat.pilot.press("up")
        await _shows(chat, "second\nline")
        await chat.pilot.press("up")
        await _shows(chat, "first")
        await chat.pilot.press("up", "up")
        await _shows(chat, "elsewhere")
        await chat.pilot.press("up")
        await _shows(chat, "elsewhere")
        await chat.pilot.press("down", "down", "down")
        await _shows(chat, "second\nline")
        # In the middle of an entry the arrow keys move the cursor.
        await chat.pilot.press("left", "up")
        assert chat.composer.cursor_location[0] == 0
        await chat.pilot.press("down", "down")
        await _shows(chat, "draft")
        await chat.pilot.press("ctrl+z")
        await _shows(chat, "second\nline")


async def test_up_in_the_empty_composer_and_quick_keys() -> None:
    async with _asked("first", "second") as chat:
        await chat.pilot.press("up", "up")
        await _shows(chat, "first")
        await chat.pilot.press("down", "down")
        await _shows(chat, "")
        await chat.pilot.press("up")
        await _shows(chat, "second")
        await chat.pilot.press("!", "enter")
        await chat.answered(3)
        assert "second!" in chat.questions()[-1]
        await chat.pilot.press("up")
        await _shows(chat, "second!")


async def test_commands_come_back_without_a_list_over_them() -> None:
    async with _asked("first") as chat:
        await chat.ask("/set seed 7")
        await chat.pilot.press("up")
        await _shows(chat, "/set seed 7")
        await chat.pilot.press("up")
        await _shows(chat, "first")
        # In another conversation its own questions come first.
        await chat.ask(" ")
        await chat.ask("/new")
        chat.composer.asked_before = Saved(["saved here"])
        await chat.pilot.press("up")
        await _shows(chat, "saved here")


async def test_what_is_queued_is_taken_back_first() -> None:
    script = Script([Reply(["Long "], delay=0.04, forever=True)])
    with running(FakeEngine(script)) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("first")
            await chat.until(lambda: "Long" in "".join(chat.answers()))
            await chat.ask("waiting")
            await chat.pilot.press("up")
            await _shows(chat, "waiting")
            assert chat.session.queue == []
            chat.composer.clear_draft()
            await chat.pilot.press("up")
            await _shows(chat, "waiting")
            await chat.pilot.press("up")
            await _shows(chat, "first")
            await chat.pilot.press("escape")
            await chat.until(lambda: not chat.session.answering)


async def test_nothing_was_asked() -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.type("draft")
            await chat.pilot.press("up")
            await chat.until(lambda: chat.composer.cursor_location == (0, 0))
            assert chat.composer.text == "draft"
            await chat.pilot.press("ctrl+r")
            await chat.until(lambda: "Nothing was asked yet." in chat.text())
            await chat.pilot.press("enter", "escape")
            assert chat.app.screen is chat.screen


async def test_the_search() -> None:
    saved = Saved([], ["what [b]is it\nthen?", "a " + "long " * 60 + "tail"])
    async with _asked("first quay", "second quay", saved=saved) as chat:
        await chat.type("draft")
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: isinstance(chat.app.screen, HistorySearch))
        rows = chat.app.screen.query_one(OptionList)
        await chat.until(lambda: rows.option_count == 4)
        assert "what [b]is it ⏎ then?" in chat.text()
        await chat.pilot.press(*"tail")
        await chat.until(lambda: rows.option_count == 1)
        assert "…" in chat.text() and "tail" in str(rows.get_option_at_index(0).prompt)
        chat.app.screen.query_one(Input).value = "quay"
        await chat.until(lambda: rows.option_count == 2)
        await chat.pilot.press("escape")
        await _shows(chat, "draft")
        assert chat.composer.has_focus

        await chat.pilot.press("ctrl+r")
        await chat.pilot.press(*"quay")
        await chat.until(lambda: chat.app.screen.query_one(OptionList).option_count == 2)
        await chat.pilot.press("ctrl+r", "enter")
        await _shows(chat, "first quay")
        await chat.pilot.press("ctrl+z")
        await _shows(chat, "draft")

        chat.composer.clear_draft()
        await chat.ask("/history THEN")
        await chat.until(lambda: "what [b]is it" in chat.text())
        await chat.pilot.click(OptionList, offset=(4, 0))
        await _shows(chat, "what [b]is it\nthen?")


async def test_the_composer_takes_a_third_of_the_screen_at_most() -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.type("line")
            assert chat.composer.region.height == 1
            await chat.pilot.press(*["ctrl+j"] * 30)
            await chat.until(lambda: chat.composer.region.height == 24 // 3 - 1)
            await chat.pilot.resize_terminal(100, 60)
            await chat.until(lambda: chat.composer.region.height == 60 // 3 - 1)
            await chat.pilot.resize_terminal(80, 24)
            await chat.until(lambda: chat.composer.region.height == 24 // 3 - 1)
            assert chat.composer.text == "line" + "\n" * 30
