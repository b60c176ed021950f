"""Watching without a screen: real films, an engine that speaks real HTTP."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.media.video.making import film
from vlmchat.errors import UsageError
from vlmchat.settings import load_settings
from vlmchat.talk.front import Front
from vlmchat.talk.question import NoticeKind, Question
from vlmchat.talk.session import ChatSession
from vlmchat.talk.starting import keeper_for
from vlmchat.talk.turns.tree import Turn
from vlmchat.talk.watching import EVERY, PROMPT, Watch, Watcher, parse


@pytest.mark.parametrize(
    ("argument", "watch"),
    [
        ("0", Watch("0", EVERY, PROMPT)),
        ("0 2", Watch("0", 2.0, PROMPT)),
        ("clip.mp4 1.5 What  is it?", Watch("clip.mp4", 1.5, "What  is it?")),
        ("'my clip.mp4' 10s Who's there?", Watch("my clip.mp4", 10.0, "Who's there?")),
        ("rtsp://host/x Who is there?", Watch("rtsp://host/x", EVERY, "Who is there?")),
        ("0 3 2 dogs?", Watch("0", 3.0, "2 dogs?")),
        ("0 3rd from the left?", Watch("0", EVERY, "3rd from the left?")),
    ],
)
def test_source_seconds_and_prompt(argument: str, watch: Watch) -> None:
    assert parse(argument) == watch


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="0 to 86400"):
        parse("0 100000")


class Quiet:
    """A front that shows nothing, and remembers what it was told."""

    def __init__(self, url: str) -> None:
        self.said: list[str] = []
        self.queued = 0
        settings = load_settings({"engine": {"url": url}})
        self.session = ChatSession(keeper_for(settings), self)
        self.watching = Watcher(cast(Front, self))

    async def turn_added(self, turn: Turn) -> None: ...

    async def turn_grew(self, turn: Turn, piece: str) -> None: ...

    async def turn_ended(self, turn: Turn) -> None: ...

    async def path_changed(self) -> None: ...

    def queue_changed(self) -> None:
        self.queued = max(self.queued, len(self.session.queue))

    def give_back(self, question: Question) -> bool:
        return True

    def notice(self, text: str, kind: NoticeKind = "note") -> None:
        self.said.append(text)

    def key_or_command(self, name: str) -> str:
        return f"/{name}"

    async def new_conversation(self) -> None:
        await self.session.reset()

    async def until(self, predicate: Callable[[], object], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not predicate():
            assert time.monotonic() < deadline, self.said
            await asyncio.sleep(0.01)

    async def told(self, words: str) -> None:
        await self.until(lambda: any(words in sentence for sentence in self.said))


@contextlib.asynccontextmanager
async def quiet(fake: FakeEngine) -> AsyncIterator[Quiet]:
    front = Quiet(fake.url)
    front.session.engine.start()
    task = asyncio.create_task(front.session.run())
    try:
        yield front
    finally:
        await front.watching.close()
        await front.session.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await front.session.engine.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return film(tmp_path / "clip.mp4", count=600, fps=10)


async def test_questions_never_pile_up_behind_a_slow_answer(clip: Path) -> None:
    slow = Reply(pieces=["a "] * 6, delay=0.1)
    with running(FakeEngine(Script(replies=[slow]))) as fake:
        async with quiet(fake) as front:
            front.watching.start(Watch(str(clip), 0.0))
            await front.until(lambda: len(fake.requests) >= 3)
            assert front.queued == 1 and front.watching.label == "watching clip.mp4"
            asked = [turn for turn in front.session.path if turn.role == "user"]
            times = [turn.media[0].name for turn in asked]
            assert times[0] == "clip.mp4 0:00.jpg"
            # The newest, after two slow answers, and not the third.
            assert times[2].startswith("clip.mp4 0:0") and times[2] > times[0]
            assert all(turn.text == PROMPT for turn in asked)


async def test_the_end_of_a_film_ends_it(tmp_path: Path) -> None:
    short = film(tmp_path / "short.mp4", count=4, fps=10)
    with running(FakeEngine()) as fake:
        async with quiet(fake) as front:
            front.watching.start(Watch(str(short), 60.0))
            await front.told("Watching short.mp4 ended: there is no more to see.")
            await front.watching.ended()
            assert len(fake.requests) == 1 and not front.watching.active
            assert not front.watching.stop()


async def test_a_full_conversation_is_followed_by_a_new_one(clip: Path) -> None:
    script = Script()
    script.model["meta"]["context"] = 110  # an answer uses 102, as the fake engine says
    with running(FakeEngine(script)) as fake:
        async with quiet(fake) as front:
            front.watching.start(Watch(str(clip), 0.0))
            await front.until(lambda: len(fake.requests) >= 3)
            assert all(len(body["messages"]) == 1 for body in fake.requests)
            assert front.watching.active
            await front.told("goes on in a new one")


async def test_another_conversation_is_left_alone(clip: Path) -> None:
    with running(FakeEngine()) as fake:
        async with quiet(fake) as front:
            front.session.submit("Hello")
            await front.until(lambda: len(front.session.path) == 2 and not front.session.answering)
            whole = front.session.value()
            front.watching.start(Watch(str(clip), 0.1))
            await front.until(lambda: len(fake.requests) >= 3)
            await front.session.open(whole, None)
            await front.told("another conversation was opened")
            assert len(front.session.path) == 2


async def test_what_cannot_be_watched_is_said_and_a_failed_question_ends_it(
    tmp_path: Path, clip: Path
) -> None:
    with running(FakeEngine(Script(replies=[Reply(status=500, body="{}")]))) as fake:
        async with quiet(fake) as front:
            with pytest.raises(UsageError, match="Name what to watch"):
                front.watching.start(parse(""))
            with pytest.raises(UsageError, match="ftp://” is not watched"):
                front.watching.start(parse("ftp://host/x"))
            front.watching.start(Watch(str(tmp_path / "none.mp4")))
            await front.told("does not exist")
            await front.watching.ended()
            front.watching.start(Watch(str(clip), 0.0))
            await front.told("a question was not answered")
            await front.watching.ended()
            assert len(fake.requests) == 1
