"""A picture from the web in the chat: the question, and the three answers to it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, running
from tests.media.test_fetch import Page, Web
from tests.pictures import encoded, saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.tui.screens.allow_fetch import AllowFetch


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.pages["/one.png"] = Page(encoded())
        server.pages["/two.png"] = Page(encoded(colour="blue"))
        yield server
        server.shutdown()


async def _is_asked(chat: Chat, web: Web) -> None:
    await chat.until(lambda: isinstance(chat.app.screen, AllowFetch))
    await chat.until(lambda: f"Fetch this picture from {web.host}?" in chat.text())


async def test_this_time_always_and_no(web: Web) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask(f"/attach {web.url}/one.png")
            await _is_asked(chat, web)
            assert web.seen == []
            await chat.pilot.press("escape")
            await chat.until(chat.errors)
            assert "Nothing was fetched" in chat.errors()[0]
            assert web.seen == [] and chat.composer.has_focus

            await chat.ask(f"/attach {web.url}/one.png")
            await _is_asked(chat, web)
            await chat.pilot.press("enter")
            await chat.until(lambda: len(chat.screen.attachments.media) == 1)
            assert not chat.screen.permissions.allowed(web.host)

            await chat.ask(f"/attach {web.url}/two.png")
            await _is_asked(chat, web)
            await chat.pilot.press("right", "enter")
            await chat.until(lambda: len(chat.screen.attachments.media) == 2)
            assert chat.screen.permissions.allowed(web.host)

            chat.screen.attachments.items = []
            await chat.ask(f"/attach {web.url}/one.png")
            await chat.until(lambda: len(chat.screen.attachments.media) == 1)
            await chat.ask("What is it?")
            await chat.answered()
            await chat.ask(f"/attach {web.url}/none.png")
            await chat.until(lambda: len(chat.errors()) == 2)
            assert "404" in chat.errors()[1]


async def test_files_and_addresses_together(web: Web, tmp_path: Path) -> None:
    photo = saved(tmp_path / "a b.png", colour="green")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask(f"/attach '{photo}' {web.url}/one.png {web.url}/two.png")
            await _is_asked(chat, web)
            await chat.pilot.click("#always")
            await chat.until(lambda: len(chat.screen.attachments.media) == 3)
            names = [media.name for media in chat.screen.attachments.media]
            assert names == ["a b.png", "one.png", "two.png"]
