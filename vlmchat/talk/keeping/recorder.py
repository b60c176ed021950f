"""Who is told what happens in a conversation, to keep it."""

import uuid
from typing import Protocol

from vlmchat.chat.conversation import Label
from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible_line

_TITLE = 60


def title_of(turn: Turn) -> str:
    """Return a title for the conversation that `turn` begins."""
    title = visible_line(" ".join(turn.text.split()))[:_TITLE]
    return title or ", ".join(visible_line(media.name) for media in turn.media)[:_TITLE]


class Recorder(Protocol):
    """What a session tells whoever keeps its conversation. No call waits for a disk."""

    @property
    def uid(self) -> str:
        """The name of the present conversation in exports."""

    def turned_to(self, uid: str, thread: int | None) -> None:
        """What follows belongs to that conversation; to a new one without a number."""

    def added(self, turn: Turn, system: str, title: str) -> None:
        """A turn was added below its parent."""

    def grew(self, turn: Turn) -> None:
        """A reply has more text."""

    def ended(self, turn: Turn) -> None:
        """A reply is complete, stopped or failed."""

    def moved(self, tip: Turn | None) -> None:
        """The person is elsewhere in the tree."""

    def changed(self, **values: str | int | float | None) -> None:
        """Title, system prompt, draft and the like are others."""

    def drafted(self, text: str) -> None:
        """That stands in the composer."""

    def labelled(self, turn: Turn, label: Label, on: bool) -> None:
        """A label was put on a turn or taken off it."""

    async def close(self) -> None:
        """Have everything on the disk."""


class NoRecorder:
    """Keeps nothing."""

    def __init__(self) -> None:
        self.uid = uuid.uuid4().hex

    def turned_to(self, uid: str, thread: int | None) -> None:
        """Take the name of the conversation."""
        self.uid = uid or uuid.uuid4().hex

    def added(self, turn: Turn, system: str, title: str) -> None:
        """Keep nothing."""

    def grew(self, turn: Turn) -> None:
        """Keep nothing."""

    def ended(self, turn: Turn) -> None:
        """Keep nothing."""

    def moved(self, tip: Turn | None) -> None:
        """Keep nothing."""

    def changed(self, **values: str | int | float | None) -> None:
        """Keep nothing."""

    def drafted(self, text: str) -> None:
        """Keep nothing."""

    def labelled(self, turn: Turn, label: Label, on: bool) -> None:
        """Keep nothing."""

    async def close(self) -> None:
        """Keep nothing."""
