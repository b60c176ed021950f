"""The list above the composer: what it offers, its keys, its place, and that it stays quick."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.geometry import Region

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.talk.commands import registry
from vlmchat.talk.commands.base import Command, Completion, Completions, Found
from vlmchat.talk.desktop.pasted import escape
from vlmchat.talk.front import Front
from vlmchat.tui.widgets.completion import MOST_ROWS, CompletionPopup
from vlmchat.tui.widgets.transcript import Transcript


@asynccontextmanager
async def _composing(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Chat]:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), size=size) as chat:
            await chat.ready()
            yield chat


def _popup(chat: Chat) -> CompletionPopup:
    return chat.screen.query_one(CompletionPopup)


def _texts(chat: Chat) -> list[str]:
    return [item.text for item in _popup(chat).items]


async def _write(chat: Chat, text: str) -> None:
    """Write `text` in place of what is there, as typing would, and wait for the list."""
    chat.composer.clear_draft()
    await chat.pilot.pause()
    chat.composer.insert(text)
    await chat.until(lambda: not _popup(chat).is_coming)


async def test_the_commands() -> None:
    async with _composing() as chat:
        await chat.pilot.press("slash")
        assert [item.label for item in _popup(chat).items] == [
            command.usage for command in registry.COMMANDS
        ]
        by_text = {item.text: item for item in _popup(chat).items}
        assert by_text["stop"].reason == "Nothing is being answered."
        assert "Nothing is being answered." in chat.text()
        await chat.pilot.press("s")
        assert {"set ", "system ", "stop"} <= set(_texts(chat)[:3])
        await _write(chat, "/hlp")
        assert _texts(chat) == ["help"]
        await _write(chat, "/exit")
        assert _texts(chat) == ["quit"]
        await _write(chat, "/sampling")
        assert _texts(chat)[0] == "set "
        for text in ("/nothing-like-it", "hello", " /s", "/home/x", "/s\n", ""):
            await _write(chat, text)
            assert not _popup(chat).is_open, text


async def test_the_keys() -> None:
    async with _composing() as chat:
        await chat.pilot.press("slash", "s", "e")
        assert not _popup(chat).moved
        await chat.pilot.press("tab")
        assert chat.composer.text == "/set "
        assert chat.composer.has_focus
        assert _texts(chat)[0] == "temperature "
        await chat.pilot.press("t", "o", "p")
        assert _texts(chat)[:2] == ["top_p ", "top_k "]
        await chat.pilot.press("tab")  # as far as both go
        assert chat.composer.text == "/set top_"
        await chat.pilot.press("down", "down", "up", "up", "enter")
        assert chat.composer.text.startswith("/set ") and chat.composer.text.endswith(" ")
        await chat.pilot.press("ctrl+z")
        assert chat.composer.text == "/set top_"
        await chat.pilot.press("ctrl+y")
        # Nothing was moved to, so that Enter sends.
        chat.composer.clear_draft()
        await chat.type("/set temperature ")
        assert _popup(chat).items[0].label.startswith("0 to 2")
        await chat.pilot.press("0", "enter")
        assert chat.composer.text == ""
        assert "temperature: 0" in chat.notices()[-1]
        await chat.pilot.press("slash", "h", "enter")
        assert "There is no command /h" in chat.errors()[-1]
        assert not _popup(chat).is_open


async def test_a_hint_cannot_be_taken() -> None:
    async with _composing() as chat:
        await _write(chat, "/set seed 7")
        assert _popup(chat).items[0].label.startswith("0 or more")
        await chat.pilot.press("tab", "enter")
        assert "seed: 7" in chat.notices()[-1]


async def test_escape_closes_the_list_and_nothing_else() -> None:
    script = Script([Reply(["word "], delay=0.04, forever=True)])
    with running(FakeEngine(script)) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("Tell me.")
            await chat.until(lambda: "word" in "".join(chat.answers()))
            await chat.pilot.press("slash", "s")
            assert _popup(chat).is_open
            await chat.pilot.press("escape")
            assert not _popup(chat).is_open
            assert chat.session.answering
            await chat.pilot.press("t")
            assert not _popup(chat).is_open
            await chat.pilot.press("tab")
            assert chat.composer.text == "/stop"
            await chat.pilot.press("escape")
            await chat.until(lambda: not chat.session.answering)
            assert chat.composer.text == "/stop"


async def test_the_mouse() -> None:
    async with _composing() as chat:
        await chat.pilot.press("slash")
        await chat.pilot.click(CompletionPopup, offset=(5, 6))
        assert chat.composer.text == "/set "
        assert chat.composer.has_focus


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (30, 10)])
async def test_its_place(size: tuple[int, int], tmp_path: Path) -> None:
    async with _composing(size) as chat:
        frame = chat.screen.query_one("#prompt")
        before = frame.region
        await chat.pilot.press("slash")
        popup = _popup(chat)
        region: Region = popup.region
        assert frame.region == before
        assert region.bottom == frame.region.y
        assert region.height == min(MOST_ROWS, frame.region.y)
        assert region.x >= 0 and region.right <= size[0]
        # A chip makes the frame higher: the list moves with it.
        chat.screen.attach([saved(tmp_path / "a.png")])
        await chat.until(lambda: chat.screen.attachments.media)
        assert popup.region.bottom == frame.region.y
        await chat.pilot.press("s", "e", "t")
        await chat.pilot.pause()
        assert popup.region.bottom == frame.region.y
        await chat.pilot.resize_terminal(60, 20)
        await chat.until(lambda: popup.region.bottom == frame.region.y == 20 - 6)


async def test_a_draft_that_is_brought_back_opens_no_list() -> None:
    async with _composing() as chat:
        chat.composer.set_draft("/set ")
        await chat.pilot.pause()
        assert not _popup(chat).is_open
        await chat.pilot.press("tab")
        await chat.pilot.press("t", "e")
        assert _texts(chat)[0] == "temperature "
        # A command chosen in the palette is about to get its argument.
        chat.composer.clear_draft()
        await chat.screen.choose_command(registry.find("set"))
        await chat.until(lambda: _popup(chat).is_open)
        # The list goes when the focus or the cursor does.
        await chat.pilot.press("left")
        assert not _popup(chat).is_open
        await chat.pilot.press("end")
        assert _popup(chat).is_open
        chat.screen.query_one(Transcript).focus()
        await chat.until(lambda: not _popup(chat).is_open)


async def test_long_lists_scroll(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(30):
        saved(folder / f"p{number}.png", 2, 2)
    async with _composing() as chat:
        await _write(chat, f"/attach {folder}/")
        assert _popup(chat).region.height == MOST_ROWS
        await chat.pilot.press("up")
        await chat.until(lambda: "p29.png" in chat.text() and "p0.png" not in chat.text())
        await chat.pilot.press("down")
        await chat.until(lambda: "p0.png" in chat.text())
        await chat.pilot.press(*["down"] * 12)
        await chat.until(lambda: "p12.png" in chat.text() and "p13.png" not in chat.text())


async def test_paths(tmp_path: Path) -> None:
    deep = tmp_path / "Deep [down] 'there'"
    deep.mkdir()
    photo = saved(deep / "my photo.png")
    (deep / "notes.txt").write_text("x")
    async with _composing() as chat:
        await _write(chat, f"/attach {tmp_path}/de")
        await chat.pilot.press("tab")
        assert chat.composer.text == f"/attach {escape(str(deep))}/"
        await chat.until(lambda: [item.label for item in _popup(chat).items] == ["my photo.png"])
        # Enter sends what is written; only an item moved to is taken instead.
        await chat.pilot.press("down", "enter")
        assert chat.composer.text == f"/attach {escape(str(photo))}"
        await chat.until(lambda: not _popup(chat).is_coming)
        assert not _popup(chat).is_open
        await chat.pilot.press("enter")
        await chat.until(lambda: [media.name for media in chat.screen.attachments.media])
        assert chat.errors() == []
        await _write(chat, "/detach ")
        assert [(item.text, item.help) for item in _popup(chat).items] == [
            ("1", "my photo.png"),
            ("all", "Every one"),
        ]


async def test_tab_waits_for_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    asked: list[str] = []

    class Slow(Command):
        name = "slow"
        help = "Wait"
        arguments = "[WORD]"

        def completions(self, chat: Front, argument: str) -> Found:
            asked.append(argument)
            return self._later(argument)

        async def _later(self, argument: str) -> Completions:
            await gate.wait()
            return [Completion(f"{argument}-done"), Completion(f"{argument}-else")]

        async def run(self, chat: Front, argument: str) -> None:
            chat.notice(argument)

    monkeypatch.setattr(registry, "COMMANDS", (*registry.COMMANDS, Slow()))
    async with _composing() as chat:
        await chat.type("/slow a")
        assert _popup(chat).is_coming and not _popup(chat).is_open
        await chat.pilot.press("b", "tab")
        assert chat.composer.has_focus
        gate.set()
        await chat.until(lambda: chat.composer.text == "/slow ab-")
        await chat.until(lambda: not _popup(chat).is_coming)
        # What was asked for in between never showed.
        assert asked == ["a", "ab", "ab-"]
        assert _texts(chat) == ["ab--done", "ab--else"]
        gate.clear()
        await chat.pilot.press("minus", "d")
        assert _texts(chat) == ["ab--done"]  # what still fits, until the new list is there
        chat.composer.clear_draft()
        await chat.pilot.pause()
        gate.set()
        await chat.pilot.pause()
        assert not _popup(chat).is_open


async def test_typing_stays_quick() -> None:
    async with _composing() as chat:
        popup = _popup(chat)
        took = []
        for _ in range(10):
            popup.close()
            for line in ("/", "/s", "/se", "/set", "/set ", "/set t", "/set te"):
                began = time.perf_counter()
                popup.look(line)
                took.append((time.perf_counter() - began) * 1000)
        assert statistics.median(took) < 3, took


async def test_conversations_and_versions() -> None:
    async with _composing() as chat:
        await chat.ask("What is on the quay?")
        await chat.answered()
        await _write(chat, "/chats quay")
        (item,) = _popup(chat).items
        assert (item.text, item.label) == ("1", "What is on the quay?")
        await _write(chat, "/copy ")
        assert _texts(chat) == ["code", "all"]
        await _write(chat, "/compare ")
        assert _texts(chat) == []
        chat.composer.clear_draft()
        await chat.ask("/regenerate")
        tree = chat.session.tree
        await chat.until(lambda: len(tree.siblings(chat.session.path[-1])) == 2)
        await chat.until(lambda: not chat.session.answering)
        await _write(chat, "/compare ")
        assert [(item.text, item.help) for item in _popup(chat).items] == [("1", "Hello there.")]
