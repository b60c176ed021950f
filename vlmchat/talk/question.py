"""What waits in the queue, and what the program says itself."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlmchat.chat.messages import Attachment, Detail, with_detail
from vlmchat.talk.turns.tree import Turn

NoticeKind: TypeAlias = Literal["note", "error"]


@dataclass(slots=True)
class Question:
    """What the person is about to say.

    Attributes:
        text: unchanged, as typed.
        attached: the pictures and videos that go with it.
        detail: how finely the model looks at the pictures.
        number: identity within one session.
        held: kept in the queue until the person takes it up again (the engine refused it).
        instead_of: the question it takes the place of, as a sibling.
    """

    text: str
    attached: tuple[Attachment, ...] = ()
    detail: Detail = "auto"
    number: int = 0
    held: bool = False
    instead_of: Turn | None = None

    @property
    def parts(self) -> tuple[Attachment, ...]:
        """What is attached, looked at as finely as was wished."""
        return with_detail(self.attached, self.detail)
