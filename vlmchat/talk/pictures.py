"""The pictures and videos of a conversation, and which of them a person means."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Attachment, Media
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.store.records import MediaUse
    from vlmchat.talk.front import Front


def attachments_of(chat: "Front") -> list[Attachment]:
    """Return the pictures and videos of the conversation in their order, then those attached."""
    asked = [item for turn in chat.session.path for item in turn.attachments]
    return [*asked, *chat.attachments.items]


def pictures_of(chat: "Front") -> list[Media]:
    """Return the media of `attachments_of`: a video is one of them, whatever its frames."""
    return [item.media for item in attachments_of(chat)]


def index_of(media: list[Media], which: str) -> int:
    """Return where the picture or video of that number or name stands; the last one without.

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
        f"No picture or video of this conversation is called “{visible_line(which)}”, "
        f"and the numbers go from 1 to {len(media)}."
    )


def medium_of(use: "MediaUse", read: Callable[[str], bytes], where: Callable[[str], Path]) -> Media:
    """Return a medium that was attached once; a video with the file it lies in.

    Args:
        use: where it was attached.
        read: returns the bytes of a medium by its digest.
        where: returns where a medium lies by its digest.
    """
    file = where(use.sha256) if use.kind == "video" else None
    data = partial(read, use.sha256)
    return Media(use.sha256, use.name, use.mime, use.width, use.height, use.size, data, file)
