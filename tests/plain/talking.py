"""Runs plain mode in this process, with lines that a test says."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from vlmchat.plain.front import PlainFront
from vlmchat.plain.out import Out
from vlmchat.plain.run import _talk
from vlmchat.settings import Settings, load_settings
from vlmchat.talk.engine_keeper import EngineKeeper


class Said:
    """What a test says, line by line."""

    interactive = True

    def __init__(self, out: Out) -> None:
        self._out = out
        self.lines: asyncio.Queue[str | None] = asyncio.Queue()
        self.waiting = False

    async def line(self, prompt: str, begun: str = "") -> str | None:
        self.waiting = self.lines.empty()
        text = await self.lines.get()
        self.waiting = False
        self._out.line(f"{prompt}{text or ''}")
        return text

    async def line_until(self, idle: asyncio.Event) -> str | None:
        await idle.wait()
        return None

    def remember(self, text: str) -> None:
        """Do nothing."""


@dataclass
class Talk:
    """A plain chat that runs."""

    front: PlainFront
    said: Said
    stream: io.StringIO

    def text(self) -> str:
        return self.stream.getvalue()

    async def until(self, wanted: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.text():
            assert time.monotonic() < deadline, f"No “{wanted}” in:\n{self.text()}"
            await asyncio.sleep(0.01)

    async def say(self, *lines: str, seconds: float = 20) -> None:
        """Say these and wait until something else may be said."""
        deadline = time.monotonic() + seconds
        for line in lines:
            self.said.lines.put_nowait(line)
        while not (self.said.waiting and self.said.lines.empty()):
            assert time.monotonic() < deadline, self.text()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def talking(
    make: Callable[[Settings], EngineKeeper], overrides: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[Talk]:
    """Run plain mode with an engine that `make` makes."""
    stream = io.StringIO()
    out = Out(stream)
    said = Said(out)
    front = PlainFront(out, said, overrides)
    running = asyncio.create_task(_talk(front, load_settings(overrides), "", make, (), False))
    talk = Talk(front, said, stream)
    try:
        await talk.until("Ready")
        yield talk
    finally:
        front.quit()
        await running
        await front.close()
