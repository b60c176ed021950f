"""Turning tokens into text that may be shown, and noticing where the answer ends."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class AnswerText:
    """The text of one answer as its tokens arrive.

    Bytes of unfinished characters are held back, and so is text that may turn out to be the
    beginning of a stop sequence. Leading white space is dropped: after ``Assistant:`` every answer
    begins with a space that the chat template adds back when the turn is read again.

    Args:
        tokenizer: the model's tokenizer; special tokens are not shown.
        stop: texts that end the answer.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(stop)
        self._held = ""
        self._begun = False
        self.stopped = False

    def add(self, token: int) -> str:
        """Take the next token and return the text that may be shown now (often empty)."""
        piece = self._stream.step(self._tokenizer, token) or ""
        if not self._begun:
            piece = piece.lstrip()
            self._begun = bool(piece)
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = self._undecided(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _undecided(self, text: str) -> int:
        """Return the length of the longest end of `text` that a stop sequence begins with."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stop):
                return size
        return 0

    def rest(self) -> str:
        """Return the text held back, at the end of an answer that no stop sequence ended."""
        held, self._held = self._held, ""
        return held
