"""Drafts are saved with their conversation, and what was asked before is at hand."""

from pathlib import Path

from textual import events

from tests.fake_engine import FakeEngine, running
from tests.tui.driving import chatting, remote


async def test_each_conversation_keeps_its_draft(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("First?")
            await chat.answered()
            await chat.type("half a thought [b]")
            await chat.screen.new_conversation()
            await chat.until(lambda: chat.composer.text == "")
            await chat.type("another one")
            await chat.screen.open_thread(1)
            await chat.until(lambda: chat.composer.text == "half a thought [b]")
            await chat.screen.new_conversation()
            await chat.until(lambda: chat.composer.text == "another one")
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.until(lambda: chat.composer.text == "another one")
        async with chatting(overrides=remote(fake.url), resume=True) as chat:
            await chat.until(lambda: chat.composer.text == "half a thought [b]")


async def test_a_sent_question_leaves_no_draft(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("First?")
            await chat.answered()
            await chat.ask("/new")
            await chat.until(lambda: not chat.session.path)
            await chat.pilot.pause()
            assert chat.composer.text == ""
        async with chatting(overrides=remote(fake.url), resume=True) as chat:
            await chat.until(lambda: chat.session.path)
            await chat.ready()
            assert chat.composer.text == ""


async def test_what_was_asked_in_earlier_chats_comes_back_with_up(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Long ago?")
            await chat.answered()
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.until(lambda: chat.composer.asked_before is not None)
            await chat.pilot.press("up")
            await chat.until(lambda: chat.composer.text == "Long ago?")


async def test_who_types_on_writes_the_next_text() -> None:
    """Enter and the next letters may arrive in one piece, before anybody has seen to the first."""
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            for first in ("/set max_tokens 12", "Hello", "/h"):
                chat.composer.insert(first)
                for key in (events.Key("enter", "\r"), *(events.Key(x, x) for x in "next")):
                    chat.composer.post_message(key)
                await chat.until(lambda: "next" in chat.composer.text)
                await chat.pilot.pause()
                kept = first if first == "/h" else ""  # it is refused, and stays
                assert chat.composer.text == f"{kept}next"
                chat.composer.clear_draft()
