"""Asks the terminal how it can show pictures, before the program takes it over.

Only the program that reads the keyboard can read the answers, so the question is put before
Textual starts. It is put before Textual is even imported and read afterwards, so that the answer
travels meanwhile. No imaging library is needed for it.
"""

import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

Kind: TypeAlias = Literal["kitty", "sixel", "blocks", "off"]
Wish: TypeAlias = Literal["auto", "kitty", "sixel", "blocks", "off"]

# How long an answer may take, counted from the question. Terminals answer within milliseconds.
PATIENCE = 0.3
_CELL = "\x1b[16t"
# A 1×1 picture that is checked and not shown (kitty graphics protocol, action "query").
_KITTY = "\x1b_Gi=4294967,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
# Every terminal answers this one, and answers come in order: after it there are no more.
_ATTRIBUTES = "\x1b[c"
_ANSWERED = re.compile(rb"\x1b\[\?([\d;]*)c")
_CELL_ANSWER = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_KITTY_ANSWER = re.compile(rb"\x1b_G[^\x1b]*;OK\x1b\\")
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[_P\]][^\x1b\x07]*(?:\x1b\\|\x07)|.)")
# The terminals whose kitty graphics work in the way they are used here (Unicode placeholders).
# Others say that they know them and show nothing.
_KITTY_NAMES = ("kitty", "ghostty")


USUAL_CELL = (10, 20)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the terminal said.

    Attributes:
        kind: the best way to show pictures.
        cell: width and height of a character, pixels.
        typed: what the person had typed before the program took the keyboard.
    """

    kind: Kind = "blocks"
    cell: tuple[int, int] = USUAL_CELL
    typed: str = ""


@dataclass(frozen=True, slots=True)
class PictureStyle:
    """How pictures are drawn.

    Attributes:
        kind: the way.
        rows: the most rows that a picture in the conversation takes.
        cell: width and height of a character, pixels.
    """

    kind: Kind = "blocks"
    rows: int = 10
    cell: tuple[int, int] = USUAL_CELL


def picture_style(wish: Wish, rows: int, abilities: Abilities) -> PictureStyle:
    """Return how to draw pictures, from the settings and what the terminal can do."""
    return PictureStyle(abilities.kind if wish == "auto" else wish, rows, abilities.cell)


class TerminalQuestion:
    """A question to the terminal, asked on entry; the terminal is as before on exit.

    Without a terminal, or on Windows, nothing is asked and `answer` returns the plain abilities.
    """

    def __init__(self) -> None:
        self._asked = 0.0
        self._modes: list[Any] | None = None
        self._read = b""

    def __enter__(self) -> Self:
        """Ask."""
        if not _askable():
            return self
        import termios
        import tty

        descriptor = _in()
        try:
            self._modes = termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor, termios.TCSANOW)
            names = f"{os.environ.get('TERM', '')} {os.environ.get('TERM_PROGRAM', '')}".lower()
            # An answer that came too late would be taken for typing, which the other two are not.
            kitty = _KITTY if any(name in names for name in _KITTY_NAMES) else ""
            os.write(_out(), f"{_CELL}{kitty}{_ATTRIBUTES}".encode())
        except (OSError, termios.error):
            self._restore()
        self._asked = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        self._restore()

    def answer(self) -> Abilities:
        """Return what the terminal said, waiting for it no longer than `PATIENCE` in all."""
        if self._modes is None:
            return Abilities()
        from select import select

        descriptor = _in()
        deadline = self._asked + PATIENCE
        while not _ANSWERED.search(self._read):
            ready, _, _ = select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            piece = os.read(descriptor, 4096)
            if not piece:
                break
            self._read += piece
        self._restore()
        return understand(self._read, _pixels())

    def _restore(self) -> None:
        if self._modes is not None:
            import contextlib
            import termios

            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(_in(), termios.TCSANOW, self._modes)
            self._modes = None


def understand(said: bytes, measured: tuple[int, int] | None = None) -> Abilities:
    """Return what the bytes that were read from the terminal mean.

    Args:
        said: answers, and perhaps typing among them.
        measured: size of a character in pixels as the system has it; ``None`` if it has not.
    """
    kind: Kind = "blocks"
    attributes = _ANSWERED.search(said)
    if _KITTY_ANSWER.search(said):
        kind = "kitty"
    elif attributes and b"4" in attributes.group(1).split(b";"):
        kind = "sixel"
    cell = measured
    if cell is None and (match := _CELL_ANSWER.search(said)):
        cell = int(match.group(2)), int(match.group(1))
    if cell is None or not (2 <= cell[0] <= 200 and 2 <= cell[1] <= 400):
        cell = USUAL_CELL
    typed = _SEQUENCE.sub(b"", said).decode("utf-8", "replace").replace("\r", "\n")
    return Abilities(kind, cell, "".join(char for char in typed if char == "\n" or char >= " "))


def _askable() -> bool:
    if sys.platform == "win32" or os.environ.get("TERM", "") in ("", "dumb", "linux"):
        return False
    if os.environ.get("VLMCHAT_UI__PICTURES") in ("blocks", "off"):
        return False
    streams = (sys.__stdin__, sys.__stdout__)
    return all(stream is not None and not stream.closed and stream.isatty() for stream in streams)


def _in() -> int:
    assert sys.__stdin__ is not None
    return sys.__stdin__.fileno()


def _out() -> int:
    assert sys.__stdout__ is not None
    return sys.__stdout__.fileno()


def _pixels() -> tuple[int, int] | None:
    """Return the size of a character as the system knows it, which many terminals tell it."""
    import fcntl
    import struct
    import termios

    try:
        answer = fcntl.ioctl(_out(), termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return None
    rows, columns, width, height = struct.unpack("HHHH", answer)
    return (width // columns, height // rows) if columns and rows and width and height else None
