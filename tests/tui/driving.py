"""Drives the real app against an engine that speaks real HTTP."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widget import Widget

from tests.fake_engine import Script
from tests.tui import quiet
from vlmchat.client.supervisor import EngineOptions, LocalEngine
from vlmchat.settings import Settings
from vlmchat.talk.engine_keeper import EngineKeeper, LocalKeeper
from vlmchat.talk.session import ChatSession
from vlmchat.talk.turns.tree import Turn
from vlmchat.tui.app import ChatApp
from vlmchat.tui.screens.chat import ChatScreen
from vlmchat.tui.widgets.answer import AnswerText
from vlmchat.tui.widgets.composer import Composer
from vlmchat.tui.widgets.turns import AnswerTurn, Notice, QuestionTurn

FAKE = Path(__file__).parents[1] / "fake_engine.py"
SIZE = (80, 24)
quiet.install()


@dataclass
class Chat:
    """A running app, with what tests ask of it."""

    app: ChatApp
    pilot: Pilot[str]

    @property
    def screen(self) -> ChatScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def session(self) -> ChatSession:
        return self.screen.session

    @property
    def replies(self) -> list[Turn]:
        return [turn for turn in self.session.path if turn.role == "assistant"]

    @property
    def composer(self) -> Composer:
        return self.screen.query_one(Composer)

    @property
    def local(self) -> LocalKeeper:
        keeper = self.session.engine
        assert isinstance(keeper, LocalKeeper)
        return keeper

    async def until(
        self, predicate: Callable[[], object], seconds: float = 20, *, still: bool = True
    ) -> None:
        """Wait for what is awaited, and for a screen that is `still` after it."""
        deadline = time.monotonic() + seconds
        while not predicate():
            if time.monotonic() > deadline:
                raise AssertionError(f"It never came to pass; the screen says:\n{self.text()}")
            await asyncio.sleep(0.01)
        if still and not self.app._exit:  # an app that ends answers no more
            await self.pilot.pause()

    async def ready(self) -> None:
        await self.until(lambda: self.session.engine.status.stage == "ready")

    async def type(self, text: str) -> None:
        self.composer.insert(text)
        await self.pilot.pause()

    async def ask(self, text: str) -> None:
        await self.type(text)
        await self.pilot.press("enter")

    async def answered(self, count: int = 1) -> None:
        def done() -> bool:
            ended = [turn for turn in self.replies if turn.state not in ("waiting", "streaming")]
            return len(ended) >= count and not self.session.answering and not self.session.queue

        await self.until(done)

    def notices(self) -> list[str]:
        return [shown(notice) for notice in self.screen.query(Notice)]

    def errors(self) -> list[str]:
        return [shown(notice) for notice in self.screen.query(Notice) if notice.has_class("error")]

    def questions(self) -> list[str]:
        return [shown(turn) for turn in self.screen.query(QuestionTurn)]

    def answers(self) -> list[str]:
        return [shown(turn) for turn in self.screen.query(AnswerTurn)]

    def text(self) -> str:
        """Return the whole screen as plain text."""
        return "\n".join(
            "".join(segment.text for segment in strip)
            for strip in self.app.screen._compositor.render_strips()
        )


def shown(widget: Widget) -> str:
    """Return the text of all visible labels and answers below `widget`."""
    lines = [
        child.plain if isinstance(child, AnswerText) else str(child.render())
        for child in widget.query("Static, AnswerText")
        if child.display
    ]
    return "\n".join(line for line in lines if line)


def scripted(
    script: Script, folder: Path, clock: Callable[[], float] = time.monotonic
) -> Callable[[Settings], EngineKeeper]:
    """Return a maker of keepers for engine processes that follow `script`."""
    path = folder / "script.json"
    path.write_text(script.to_json(), "utf-8")

    def make(_: Settings) -> EngineKeeper:
        command = (sys.executable, str(FAKE), "--script", str(path))
        return LocalKeeper(LocalEngine(EngineOptions(), command=command), clock)

    return make


@asynccontextmanager
async def chatting(
    keeper: Callable[[Settings], EngineKeeper] | None = None,
    overrides: dict[str, dict[str, Any]] | None = None,
    attach: Iterable[Path] = (),
    size: tuple[int, int] = SIZE,
    resume: bool = False,
) -> AsyncIterator[Chat]:
    """Run the app without a terminal."""
    made = ChatApp(overrides, attach, resume)
    app = made if keeper is None else ChatApp(overrides, attach, resume, keeper)
    async with app.run_test(size=size) as pilot:
        yield Chat(app, pilot)


def remote(url: str, **engine: str) -> dict[str, dict[str, Any]]:
    """Return settings that name the server at `url`."""
    return {"engine": {"url": url, **engine}}
