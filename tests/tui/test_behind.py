"""New text that is out of sight is told, and found."""

from pathlib import Path

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import chatting, remote
from vlmchat.tui.widgets.status import NewText


async def test_new_text_below_is_told_and_a_click_leads_there(tmp_path: Path) -> None:
    replies = [Reply(["line\n\n"] * 60), Reply(["more\n\n"], delay=0.02, forever=True)]
    with running(FakeEngine(Script(replies=replies))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Much?")
            await chat.answered()
            await chat.ask("More?")
            await chat.until(lambda: chat.replies[-1].text.count("more") > 5)
            marker = chat.screen.query_one(NewText)
            assert not marker.display
            chat.screen.action_page(-1)
            await chat.until(lambda: marker.display)
            chat.session.stop()
            await chat.answered(2)
            await chat.pilot.click(NewText)
            await chat.until(lambda: not marker.display and chat.screen.transcript.at_end)
