"""What plain mode writes: one thing a line, each line beginning with who speaks."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, TextIO, TypeAlias

from vlmchat.text import visible

Flush: TypeAlias = Literal["word", "line", "sentence", "whole"]

_ENDS: dict[Flush, re.Pattern[str]] = {
    "word": re.compile(r"\s+"),
    "line": re.compile(r"\n"),
    # Not behind a figure: “1.” begins the item of a list more often than it ends a sentence.
    "sentence": re.compile(r"(?<!\d)[.!?…][\"'”’»)\]*_]*\s+|[。！？]|\n"),
}


class Out:
    """Writes lines, and answers piece by piece.

    Everything is made visible on its way out: no control character of a model, a file name or a
    person reaches the terminal.

    Args:
        stream: where to.

    Attributes:
        gone: told once that nobody reads any more.
        flush: how much of an answer is written at a time.
        prompt: what stands on the line that waits for input, to be repeated below what is written
            meanwhile; empty when none waits.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.gone: Callable[[], None] = lambda: None
        self._within = False
        self._held = ""
        self._speaker = ""
        self._interrupted = False
        self.flush: Flush = "sentence"
        self.prompt: Callable[[], str] = str
        self.broken = False

    def line(self, text: str) -> None:
        """Write `text` on lines of its own.

        An answer that it interrupts is written up to there, and says again behind it who speaks.
        """
        if self._speaker:
            if self.flush != "whole":
                self._text(self._held)
                self._held = ""
            self._interrupted = True
        before = self.prompt()
        start = "\n" if self._within or before else ""
        self._within = False
        self._write(f"{start}{visible(text)}\n{visible(before)}")

    def rows(self, texts: Sequence[str]) -> None:
        """Write lines below the one that waits for input, and that again."""
        before = self.prompt()
        self._write("\n" + "".join(f"{visible(text)}\n" for text in texts) + visible(before))

    def ask(self, prompt: str) -> None:
        """Write a prompt and stay on its line."""
        self._write(("\n" if self._within else "") + visible(prompt))
        self._within = False

    def begin(self, speaker: str) -> None:
        """Begin an answer."""
        self._write(f"{chr(10) if self._within else ''}{visible(speaker)}: ")
        self._within, self._held = True, ""
        self._speaker, self._interrupted = speaker, False

    def piece(self, text: str) -> None:
        """Go on with the answer, as far as there is enough of it."""
        self._held += text
        end = self._end()
        if end:
            ready, self._held = self._held[:end], self._held[end:]
            self._text(ready)

    def end(self) -> None:
        """Write what is left of the answer, and end its line."""
        self._text(self._held)
        self._held = self._speaker = ""
        if self._within:
            self._write("\n")
        self._within = False

    def _end(self) -> int:
        """Return up to where the held text is written now."""
        if self.flush == "whole":
            return 0
        # A carriage return may be the first half of a line break.
        text = self._held.removesuffix("\r")
        ends = [match.end() for match in _ENDS[self.flush].finditer(text)]
        return ends[-1] if ends else 0

    def _text(self, text: str) -> None:
        if not text:
            return
        shown = visible(text)
        if self._interrupted:
            self._interrupted = False
            shown = f"{visible(self._speaker)}: {shown.lstrip(' ')}"
        self._write(shown)
        self._within = not shown.endswith("\n")

    def _write(self, text: str) -> None:
        if self.broken:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # a pipe whose reader has gone, a terminal that was closed
            self.broken = True
            self.gone()
