"""/watch in the real app: a film as it plays, an engine that speaks real HTTP."""

from pathlib import Path

from tests.fake_engine import FakeEngine, Script, running
from tests.media.video.making import film
from tests.tui.driving import Chat, chatting, remote


def status(chat: Chat) -> str:
    return next(line for line in chat.text().splitlines() if "context 1" in line)


async def test_each_look_is_a_turn_until_escape_or_off(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", count=600, fps=10)
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            watcher = chat.screen.watching
            await chat.ask(f"/watch {clip} 60")
            await chat.until(lambda: "Watching clip.mp4: Esc stops." in " ".join(chat.notices()))
            await chat.answered()
            assert "● ready · watching clip.mp4 · Fake VLM" in status(chat)
            await chat.ask("/watch off")
            await chat.until(lambda: "Watching clip.mp4 stopped." in " ".join(chat.notices()))
            assert "watching" not in status(chat) and not watcher.active

            await chat.ask(f"/watch {clip} 0.2 What number?")
            await chat.until(lambda: len(chat.replies) >= 3)
            await chat.pilot.press("escape")
            await chat.until(lambda: not watcher.active and not chat.session.answering)
            asked = len(chat.replies)
            await chat.ask("And now?")
            await chat.answered(asked + 1)
            turns = chat.session.path
            assert {turn.text for turn in turns[2:-2:2]} == {"What number?"}
            pictures = [turn.media[0] for turn in turns[2:-2:2]]
            assert len({item.sha256 for item in pictures}) == len(pictures)
            assert pictures[0].name == "clip.mp4 0:00.jpg"
            assert not chat.errors()


async def test_a_model_without_eyes_watches_nothing() -> None:
    script = Script()
    script.model["meta"]["images"] = False
    with running(FakeEngine(script)) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("/watch 0")
            await chat.until(lambda: "Fake VLM takes no pictures" in " ".join(chat.errors()))
            assert not chat.screen.watching.active
