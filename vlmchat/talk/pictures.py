"""The pictures of a conversation, and which of them a person means."""

from typing import TYPE_CHECKING

from vlmchat.chat.messages import Attachment, Media
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


def items_of(chat: "Front") -> list[Attachment]:
    """Return what was attached in the conversation, in its order, then what is attached now."""
    asked = [item for turn in chat.session.path for item in turn.attachments]
    return [*asked, *chat.attachments.items]


def index_of(media: list[Media], which: str) -> int:
    """Return where the picture of that number or name stands; the last one without.

    Raises:
        UsageError: there is none like that.
    """
    if not which:
        return len(media) - 1
    if which.isdecimal() and 1 <= int(which) <= len(media):
        return int(which) - 1
    for number, item in reversed(list(enumerate(media))):
        if item.name == which:
            return number
    raise UsageError(
        f"No picture of this conversation is called “{visible_line(which)}”, "
        f"and the numbers go from 1 to {len(media)}."
    )
