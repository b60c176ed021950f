"""What the chat does with pictures that were attached: seeing them large, finding them again."""

from typing import TYPE_CHECKING

from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.talk.pictures import index_of, items_of

if TYPE_CHECKING:
    from textual.app import App
    from textual.widget import Widget

    from vlmchat.store.records import MediaUse
    from vlmchat.tui.screens.chat import ChatScreen
    from vlmchat.tui.screens.gallery import GalleryChoice


def chat_of(app: "App[object]") -> "ChatScreen | None":
    """Return the chat that everything else lies over."""
    from vlmchat.tui.screens.chat import ChatScreen

    bottom = app.screen_stack[0] if app.screen_stack else None
    return bottom if isinstance(bottom, ChatScreen) else None


def open_viewer(chat: "ChatScreen", which: str = "") -> None:
    """Show the pictures of the conversation and of the next question large.

    Args:
        chat: the screen it opens over.
        which: the number or name of the one to begin with; the last one without.

    Raises:
        UsageError: there is none, or none like that.
    """
    from vlmchat.tui.screens.viewer import Viewer

    items = items_of(chat)
    if not items:
        raise UsageError("There is no picture in this conversation yet: /attach adds one.")
    chat.app.push_screen(Viewer(items, index_of([item.media for item in items], which)))


def open_crop(chat: "ChatScreen", which: str = "") -> None:
    """Let the person choose a part of a picture: of the attached ones, else of the conversation.

    Raises:
        UsageError: there is no picture of that number or name.
    """
    from vlmchat.talk.cropping import picture_named, pictures_to_crop
    from vlmchat.tui.screens.viewer import Viewer

    item, pictures = picture_named(chat, which), pictures_to_crop(chat)
    index = next(place for place, other in enumerate(pictures) if other is item)
    chat.app.push_screen(Viewer(pictures, index, cropping=True))


def open_gallery(chat: "ChatScreen") -> None:
    """Show every picture that was ever attached, and do what is asked with one of them.

    Raises:
        UsageError: conversations are not kept.
    """
    from vlmchat.tui.screens.gallery import AttachAgain, Gallery, JumpTo, StoreGallery

    library = chat.conversations.library

    def chosen(choice: "GalleryChoice") -> None:
        if isinstance(choice, AttachAgain):
            chat.attachments.add(choice.media)
        elif isinstance(choice, JumpTo):
            chat.run_worker(_show(chat, choice.use), group="prompt")

    chat.app.push_screen(Gallery(StoreGallery(library.run, library.media_data)), chosen)


async def _show(chat: "ChatScreen", use: "MediaUse") -> None:
    """Open the conversation where a picture was used, at the picture."""
    from vlmchat.tui.widgets.picture import Picture

    turn = await chat.open_thread(use.thread, use.message)
    widget = chat.transcript.widget_of(turn) if turn is not None else None
    for picture in widget.query(Picture) if widget is not None else ():
        if picture.media.sha256 == use.sha256:
            picture.focus()
            return


def open_or_tell(widget: "Widget", media: Media) -> None:
    """Open a medium for `widget`, and tell the person what came of it."""
    from vlmchat.talk.desktop.open_external import open_external

    async def opening() -> None:
        try:
            await open_external(media)
        except VlmchatError as error:
            widget.app.notify(str(error), severity="error", markup=False)

    widget.app.run_worker(opening(), group="open-external")
