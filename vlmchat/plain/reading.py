"""Where plain mode's lines come from: a terminal, or whatever is piped in."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from vlmchat.plain.out import Out

_T = TypeVar("_T")


class Reader(Protocol):
    """Reads what the person writes.

    Attributes:
        interactive: a person sits at the other end and sees the prompts.
    """

    interactive: bool

    async def line(self, prompt: str, begun: str = "") -> str | None:
        """Return the next line; ``None`` at the end of the input.

        Args:
            prompt: what to write before it.
            begun: the command that Tab completes the line as if it stood behind.
        """

    async def line_until(self, idle: asyncio.Event) -> str | None:
        """Return a line typed while nobody was asked; nothing once `idle` is set.

        Raises:
            EOFError: the input ended.
        """

    def remember(self, text: str) -> None:
        """Have the arrow keys bring `text` back."""


class Lines:
    """Bytes made lines."""

    def __init__(self) -> None:
        self._held = b""
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take what was read; nothing is the end."""
        self._held += data
        self._ended = not data

    @property
    def ended(self) -> bool:
        """Whether there will be no other line."""
        return self._ended and not self._held

    def take(self) -> str | None:
        """Return the next line if it is complete."""
        line, found, rest = self._held.partition(b"\n")
        if not found and not (self._ended and self._held):
            return None
        self._held = rest
        return line.decode("utf-8", "replace").removesuffix("\r")


async def apart(work: Callable[[], _T]) -> _T:
    """Return what `work` returns, done in a thread that does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: _T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="input", daemon=True).start()
    return await future


class PipeReader:
    """Lines from a pipe or a file.

    Each is repeated behind its prompt, so that the output reads like a conversation.

    Args:
        descriptor: of the file.
        out: where prompts go.
    """

    interactive = False

    def __init__(self, descriptor: int, out: Out) -> None:
        self._descriptor = descriptor
        self._out = out
        self._lines = Lines()

    async def line(self, prompt: str, begun: str = "") -> str | None:
        """Return the next line."""
        text = await apart(self._next)
        if text is not None:
            self._out.line(f"{prompt}{text}")
        return text

    def _next(self) -> str | None:
        while (text := self._lines.take()) is None and not self._lines.ended:
            # Not sys.stdin: a thread that waits inside its buffer makes the interpreter abort
            # at its end.
            self._lines.feed(os.read(self._descriptor, 65536))
        return text

    async def line_until(self, idle: asyncio.Event) -> str | None:
        """Return nothing: lines wait for their turn."""
        await idle.wait()
        return None

    def remember(self, text: str) -> None:
        """Do nothing: there are no arrow keys."""


class TerminalReader:
    """Lines from a terminal, edited by readline where there is one.

    Args:
        out: where prompts go.
    """

    interactive = True

    def __init__(self, out: Out) -> None:
        self._out = out
        self._lines = Lines()
        self._descriptor = sys.stdin.fileno()
        self._editing = self._edits()
        self.begun = ""

    @staticmethod
    def _edits() -> bool:
        """Prepare line editing; false when lines come as the terminal gives them."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        try:
            import readline
        except ImportError:
            return False
        if "libedit" not in (readline.__doc__ or ""):
            # Both make readline write escape sequences that say nothing to anybody here.
            readline.parse_and_bind("set enable-bracketed-paste off")
            readline.parse_and_bind("set enable-meta-key off")
            readline.parse_and_bind("set bell-style none")
            readline.parse_and_bind("set completion-query-items 0")
        return True

    @property
    def edits(self) -> bool:
        """Whether lines can be edited and completed."""
        return self._editing

    async def line(self, prompt: str, begun: str = "") -> str | None:
        """Return the next line."""
        if (text := self._lines.take()) is not None:
            self._out.line(f"{prompt}{text}")
            return text
        self.begun = begun
        try:
            return await (self._edited(prompt) if self._editing else self._given(prompt))
        finally:
            self._out.prompt = str

    async def _edited(self, prompt: str) -> str | None:
        import readline

        self._out.ask("")
        self._out.prompt = lambda: prompt + readline.get_line_buffer()
        try:
            text = await apart(lambda: input(prompt))
        except EOFError:
            self._out.prompt = str
            self._out.line("")
            return None
        except UnicodeDecodeError:
            return ""
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    async def _given(self, prompt: str) -> str | None:
        self._out.ask(prompt)
        self._out.prompt = lambda: prompt
        while (text := self._lines.take()) is None and not self._lines.ended:
            self._lines.feed(await apart(lambda: os.read(self._descriptor, 65536)))
        return text

    async def line_until(self, idle: asyncio.Event) -> str | None:
        """Return a line typed while an answer is written; the terminal itself echoes it."""
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        try:
            loop.add_reader(self._descriptor, self._feed, idle, came)
        except (NotImplementedError, OSError):
            await idle.wait()  # what is typed waits in the terminal
            return None
        try:
            while not idle.is_set():
                if (text := self._lines.take()) is not None:
                    return text
                if self._lines.ended:
                    raise EOFError
                came.clear()
                await _first(came, idle)
            return None
        finally:
            loop.remove_reader(self._descriptor)

    def _feed(self, idle: asyncio.Event, came: asyncio.Event) -> None:
        # Once nobody is busy, what is typed belongs to the next prompt.
        if not idle.is_set() and not self._lines.ended:
            try:
                self._lines.feed(os.read(self._descriptor, 4096))
            except OSError:
                self._lines.feed(b"")
            came.set()

    def remember(self, text: str) -> None:
        """Have the arrow keys bring `text` back."""
        if self._editing and text and text.isprintable():
            import readline

            readline.add_history(text)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
