"""What a session needs of whoever draws it."""

from typing import Protocol

from vlmchat.talk.question import NoticeKind, Question
from vlmchat.talk.turns.tree import Turn


class SessionView(Protocol):
    """Who draws the session. Awaited calls hold the stream back until they are drawn."""

    async def turn_added(self, turn: Turn) -> None:
        """A turn was added at the end of the path."""

    async def turn_grew(self, turn: Turn, piece: str) -> None:
        """`piece` was added to a reply's text."""

    async def turn_ended(self, turn: Turn) -> None:
        """The reply is complete, stopped or failed."""

    async def path_changed(self) -> None:
        """Another path, or another conversation, is to be shown."""

    def queue_changed(self) -> None:
        """The queue or the session's busyness is not what it was."""

    def give_back(self, question: Question) -> bool:
        """Take a question back into the composer; false when there is something in it."""

    def notice(self, text: str, kind: NoticeKind) -> None:
        """Show one sentence in the transcript."""
