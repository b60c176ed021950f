"""Where an answer looked, on the screen."""

from pathlib import Path

import pytest
from textual.widgets import Static

from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat.tui.screens.why import WhyScreen
from vlmchat.tui.widgets.canvas import Canvas


def says(chat: Chat, name: str) -> str:
    screen = chat.app.screen
    assert isinstance(screen, WhyScreen)
    return " ".join(str(screen.query_one(f"#why-{name}", Static).render()).split())


async def opened(chat: Chat, command: str) -> None:
    await chat.ask(command)
    await chat.until(lambda: isinstance(chat.app.screen, WhyScreen))
    await chat.until(lambda: "hiding that makes" in says(chat, "said"))
    await chat.until(lambda: chat.app.screen.query_one(Canvas).drawn)


@pytest.mark.slow
async def test_stepping_through_an_answer(
    engine: EngineProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = [saved(tmp_path / f"{name}.png", 96, 64) for name in ("cat", "dog")]
    settings = remote(engine.url, api_key=TOKEN) | {"sampling": {"max_tokens": 6}}
    async with chatting(overrides=settings, attach=photos) as chat:
        await chat.ready()
        await chat.until(lambda: len(chat.screen.attachments.items) == 2)
        await chat.ask("What is it?")
        await chat.answered()
        # What a tiny model says need not have words.
        await chat.session.correct(chat.replies[0], "A red circle.")
        words = chat.replies[0].text.split()
        await opened(chat, "/why")
        assert says(chat, "said").startswith("It looked mostly at the ")
        assert "% of all attention is on pictures" in says(chat, "name")
        await chat.pilot.press("right")
        await chat.until(lambda: "Enter hides that place" in says(chat, "said"))
        assert says(chat, "said").startswith(f"For “{words[0]}” it looked")
        await chat.until(lambda: "  A red circle.  " in chat.text())
        await chat.pilot.press("enter")
        await chat.until(lambda: f"makes “{words[0]}”" in says(chat, "said"))
        first = says(chat, "name")[:3]
        await chat.pilot.press("n")
        await chat.until(lambda: says(chat, "name")[:3] != first)
        await chat.pilot.press("s")
        await chat.until(lambda: list(tmp_path.glob("why-*.png")))
        await chat.pilot.press("left")
        await chat.until(lambda: says(chat, "said").startswith("It looked mostly at the "))
        await chat.pilot.press("escape")
        await chat.ask("/why no-such-word")
        await chat.until(chat.errors)
        assert "is not in the answer" in chat.errors()[-1]


@pytest.mark.slow
async def test_a_server_that_cannot_tell(tmp_path: Path) -> None:
    script = Script(replies=[Reply(pieces=["A [cat]."])])
    with running(FakeEngine(script)) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello")
            await chat.answered()
            await chat.ask("/why")
            await chat.until(lambda: chat.errors() or chat.notices())
            assert "no picture before this answer" in " ".join(chat.errors() + chat.notices())
            photo = saved(tmp_path / "cat.png")
            await chat.ask(f"/attach {photo}")
            await chat.until(lambda: chat.screen.attachments.items)
            await chat.ask("And this?")
            await chat.answered(2)
            await chat.ask("/why")
            await chat.until(lambda: "does not tell where it looked" in _told(chat))


def _told(chat: Chat) -> str:
    return " ".join(" ".join([*chat.errors(), *chat.notices()]).split())
