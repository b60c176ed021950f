"""A real program in a pseudo-terminal, its screen read by a terminal emulator."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pexpect
import pyte

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "ctrl+j": "\n",
    "ctrl+o": "\x0f",
    "ctrl+c": "\x03",
    "ctrl+q": "\x11",
    "ctrl+b": "\x02",
    "ctrl+f": "\x06",
    "alt+up": "\x1b[1;3A",
    "down": "\x1b[B",
    "backspace": "\x7f",
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f8": "\x1b[19~",
    "right": "\x1b[C",
}


class Terminal:
    """``vlmchat`` on a screen of `columns` × `rows` characters.

    Args:
        arguments: of the program.
        home: its folders.
        columns: width of the screen.
        rows: height of the screen.
        program: the module that is run.
    """

    def __init__(
        self,
        *arguments: object,
        home: Path,
        columns: int = 100,
        rows: int = 30,
        program: str = "vlmchat.cli.main",
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._emulator = pyte.ByteStream(self._screen)
        # The size of the terminal that the tests run in, which readline writes down, is not ours.
        inherited = {n: v for n, v in os.environ.items() if n not in {"COLUMNS", "LINES"}}
        environment = {
            **inherited,
            "VLMCHAT_HOME": str(home),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", program, *map(str, arguments)],
            env=environment,
            dimensions=(rows, columns),
            timeout=None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close(force=True)

    @property
    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def row(self, number: int) -> str:
        """Return one row of the screen; negative numbers count from below."""
        row = self._screen.buffer[number % self._screen.lines]
        return "".join(row[column].data for column in range(self._screen.columns)).rstrip()

    def read(self, seconds: float = 0.05) -> None:
        """Take in what the program has written."""
        with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
            self._emulator.feed(self.child.read_nonblocking(65536, seconds))

    def wait(
        self, wanted: str | Callable[[str], object], seconds: float = 60, absent: bool = False
    ) -> str:
        """Read until the screen shows `wanted` (or no more), and return the screen."""
        holds = wanted if callable(wanted) else lambda text: wanted in text
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read()
            if bool(holds(self.text)) is not absent:
                return self.text
        raise AssertionError(f"waited for {wanted!r} on:\n{self.text}")

    def type(self, text: str) -> None:
        """Type `text`."""
        self.child.send(text)

    def press(self, key: str) -> None:
        """Press one key of `KEYS`."""
        self.child.send(KEYS[key])

    def paste(self, text: str) -> None:
        """Paste `text`, or drop a file: the terminal sends a bracketed paste."""
        self.child.send(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Make the window so large; the program is told by SIGWINCH."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def kill(self) -> None:
        """End the program at once, as a power cut would."""
        self.child.kill(signal.SIGKILL)
        self.child.wait()

    def send_line(self, text: str) -> None:
        """Type `text` and press Enter."""
        self.type(text)
        end = "".join(text.split())[-16:]
        # A long line is wrapped in the composer's frame.
        self.wait(lambda screen: end in "".join(screen.replace("│", "").split()))
        self.press("enter")

    def wait_exit(self, seconds: float = 15) -> int:
        """Wait until the program has ended and return its exit code."""
        deadline = time.monotonic() + seconds
        while self.child.isalive():
            assert time.monotonic() < deadline, self.text
            self.read()
        code: int = self.child.exitstatus
        return code
