"""What the chat does with pictures that were attached: seeing them large, finding them again."""

from typing import TYPE_CHECKING

from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError
from vlmchat.store.records import MediaUse
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen
    from vlmchat.tui.screens.gallery import GalleryChoice


def open_viewer(chat: "ChatScreen", which: str = "") -> None:
    """Show the pictures of the conversation and of the next question large.

    Args:
        chat: the screen it opens over.
        which: the number or name of the one to begin with; the last one without.

    Raises:
        UsageError: there is none, or none like that.
    """
    from vlmchat.tui.screens.viewer import Viewer

    media = pictures_of(chat)
    if not media:
        raise UsageError("There is no picture in this conversation yet: /attach adds one.")
    chat.app.push_screen(Viewer(media, _index(media, which)))


def pictures_of(chat: "ChatScreen") -> list[Media]:
    """Return the pictures of the conversation in their order, then those attached."""
    asked = [item for exchange in chat.session.exchanges for item in exchange.question.media]
    return [*asked, *chat.attachments]


def _index(media: list[Media], which: str) -> int:
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


def open_gallery(chat: "ChatScreen") -> None:
    """Show every picture that was ever attached, and do what is asked with one of them.

    Raises:
        UsageError: conversations are not kept.
    """
    from vlmchat.tui.recorder import StoreRecorder
    from vlmchat.tui.screens.gallery import AttachAgain, Gallery, JumpTo, StoreGallery

    recorder = chat.session.recorder
    if not isinstance(recorder, StoreRecorder):
        raise UsageError("Conversations are not kept here, so there is no gallery of pictures.")

    def chosen(choice: "GalleryChoice") -> None:
        if isinstance(choice, AttachAgain):
            if choice.media not in chat.attachments:
                chat.set_attachments([*chat.attachments, choice.media])
        elif isinstance(choice, JumpTo) and not show_in_transcript(chat, choice.use):
            name = visible_line(choice.use.name)
            chat.notice(f"“{name}” was used in another conversation.", "note")

    chat.app.push_screen(Gallery(StoreGallery(recorder.ask)), chosen)


def show_in_transcript(chat: "ChatScreen", use: MediaUse) -> bool:
    """Bring a picture of the present conversation into view; false when it is not in it."""
    from vlmchat.tui.widgets.picture import Picture

    for picture in chat.query(Picture):
        if picture.media.sha256 == use.sha256:
            picture.focus()
            picture.scroll_visible(animate=False, top=True)
            return True
    return False
