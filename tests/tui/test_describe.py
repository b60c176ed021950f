"""/describe and /settings with arguments on the screen."""

from pathlib import Path

from tests.fake_engine import FakeEngine, running
from tests.pictures import saved
from tests.tui.driving import chatting, remote
from vlmchat import paths


async def test_describe_asks_for_what_is_attached_then_for_the_last_picture(
    tmp_path: Path,
) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("/describe")
            await chat.until(chat.errors)
            assert "There is no picture to describe" in chat.errors()[0]
            await chat.ask(f"/attach {saved(tmp_path / 'a.png')}")
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("/d")
            await chat.answered()
            await chat.ask("/describe the sign")
            await chat.answered(2)
        first, second = (request["messages"][-1] for request in fake.requests)
        assert "image_url" in str(first) and "cannot see it" in str(first)
        assert "image_url" not in str(second) and "Look especially at: the sign" in str(second)


async def test_settings_with_a_name_and_a_value_change_it() -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("/settings theme paper")
            await chat.until(lambda: chat.app.theme == "paper")
            assert 'theme = "paper"' in paths.config_file().read_text("utf-8")
            await chat.ask("/settings ui.them x")
            await chat.until(chat.errors)
            assert "did you mean ui.theme?" in chat.errors()[0]
