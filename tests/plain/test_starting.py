"""Plain mode within the test: an engine process of its own, loading, dying, and what is told."""

import asyncio
import io
from pathlib import Path

from tests.fake_engine import Reply, Script
from tests.tui.driving import scripted
from vlmchat.plain.front import PlainFront
from vlmchat.plain.out import Out
from vlmchat.settings import Settings


class Written:
    """Lines written beforehand.

    Args:
        lines: in order.
    """

    interactive = False

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    async def line(self, prompt: str, begun: str = "") -> str | None:
        return self._lines.pop(0) if self._lines else None

    async def line_until(self, idle: asyncio.Event) -> str | None:
        await idle.wait()
        return None

    def remember(self, text: str) -> None:
        pass


async def said(script: Script, folder: Path, *lines: str) -> str:
    """Return what plain mode writes for `lines`."""
    stream = io.StringIO()
    front = PlainFront(Out(stream), Written(*lines), {})
    settings = Settings()
    front.connect(scripted(script, folder)(settings), settings)
    answering = asyncio.create_task(front.session.run())
    try:
        await asyncio.wait_for(front.converse(), 60)
    finally:
        answering.cancel()
        await front.close()
    return stream.getvalue()


async def test_loading_is_told_in_few_lines(tmp_path: Path) -> None:
    loading = [
        {"stage": "downloading", "text": "Downloading a.safetensors", "done": n, "total": 1000}
        for n in range(0, 1000, 40)
    ]
    loading += [{"stage": "loading", "text": "Loading the weights"}] * 5
    out = await said(Script(loading=loading), tmp_path, "Hello")
    downloads = [line for line in out.splitlines() if "Downloading" in line]
    assert 2 <= len(downloads) <= 10 and len(set(downloads)) == len(downloads)
    assert downloads[-1].endswith(" %.")
    assert out.count("Note: Loading the weights.") == 1
    assert out.endswith("Ready. Type a question, /help for commands.\nFake VLM: Hello there.\n")


async def test_an_engine_that_dies_is_told_and_comes_back(tmp_path: Path) -> None:
    script = Script(replies=[Reply(["One", " two"], die_after=2), Reply()])
    out = await said(script, tmp_path, "Hello", "Again", "/log")
    assert "Fake VLM: One two\n" in out and "It is being restarted." in out
    assert out.count("Ready.") == 2 and "Fake VLM: Hello there.\n" in out
    assert "fake engine starting" in out


async def test_a_model_that_cannot_be_loaded_does_not_hang(tmp_path: Path) -> None:
    script = Script(failed="There is no such model: choose another.")
    out = await said(script, tmp_path, "Hello", "/help")
    assert "Error: There is no such model: choose another. /restart tries again." in out
    assert "Error: The question is not answered: there is no model." in out
    assert "/quit, /exit, /q: Quit vlmchat." in out
