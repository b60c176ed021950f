"""The special tokens of a tokenizer inside text: where they stand, and which were only typed.

A person may type ``<image>`` or ``<end_of_utterance>``. Before the chat template is run, what was
typed is masked with a character that occurs nowhere; afterwards every special token in the text is
the template's own, and the masks become plain text again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vlmchat.chat.messages import Message, TextPart


class SpecialTokens:
    """The special tokens of one tokenizer.

    Args:
        ids: token → id.

    Attributes:
        ids: the same.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self.ids = ids
        self._names = sorted(ids, key=len, reverse=True)  # the longest match wins
        self._any = re.compile("(" + "|".join(map(re.escape, self._names)) + ")")

    def pieces(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the special tokens of `text` and what is between, each with where it begins."""
        at = 0
        for piece in self._any.split(text):
            if piece:
                yield at, piece
            at += len(piece)

    def ends(self, text: str) -> list[int]:
        """Return where each special token of `text` ends."""
        return [match.end() for match in self._any.finditer(text)]

    def masked(self, text: str, mark: str) -> str:
        """Return `text` with each special token in it replaced by ``mark N mark``."""
        return self._any.sub(lambda match: f"{mark}{self._names.index(match.group())}{mark}", text)

    def plain(self, text: str, mark: str) -> str:
        """Return `text` with what `masked` did undone."""
        return re.sub(f"{mark}(\\d+){mark}", lambda match: self._names[int(match.group(1))], text)

    def rows(self, messages: Iterable[Message], mark: str) -> list[dict[str, Any]]:
        """Return messages as chat templates take them, what a person typed masked."""
        return [
            {
                "role": message.role,
                "content": [
                    {"type": "text", "text": self.masked(part.text, mark)}
                    if isinstance(part, TextPart)
                    else {"type": "image"}
                    for part in message.parts
                ],
            }
            for message in messages
        ]


def unused_char(messages: Sequence[Message]) -> str:
    """Return a private-use character that occurs in none of the messages' texts."""
    used: set[str] = set()
    for message in messages:
        for part in message.parts:
            if isinstance(part, TextPart):
                used.update(part.text)
    return next(char for char in map(chr, range(0xE000, 0x10FFFE)) if char not in used)
