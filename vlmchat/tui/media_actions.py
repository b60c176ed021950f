"""What the chat does with pictures and videos that were attached: looking, finding."""

from typing import TYPE_CHECKING

from vlmchat.chat.messages import Attachment, ImagePart, Media, Region
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.media.storyboard import FrameMedia, looked_at
from vlmchat.talk.attachments import sampling
from vlmchat.talk.pictures import attachments_of, index_of

if TYPE_CHECKING:
    from textual.app import App
    from textual.widget import Widget

    from vlmchat.store.records import MediaUse
    from vlmchat.tui.screens.chat import ChatScreen
    from vlmchat.tui.screens.gallery import GalleryChoice
    from vlmchat.tui.widgets.picture import Picture
    from vlmchat.tui.widgets.storyboard import VideoStrip


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

    parts = attachments_of(chat)
    if not parts:
        raise UsageError("There is no picture in this conversation yet: /attach adds one.")
    place = index_of([part.media for part in parts], which)
    chat.app.push_screen(Viewer(*looked_at(parts, place)))


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


def view_large(widget: "Picture | VideoStrip") -> None:
    """Show a picture or the frames of a video of the conversation large, the others beside it."""
    from vlmchat.tui.screens.viewer import Viewer
    from vlmchat.tui.widgets.picture import Picture
    from vlmchat.tui.widgets.storyboard import VideoStrip

    parts: list[Attachment] = []
    place = 0
    for other in widget.screen.query("Picture, VideoStrip"):
        if other is widget:
            place = len(parts)
        if isinstance(other, Picture):
            parts.append(other.item)
        elif isinstance(other, VideoStrip):
            parts.append(other.part)
    widget.app.push_screen(Viewer(*looked_at(parts, place)))


def open_gallery(chat: "ChatScreen") -> None:
    """Show every picture that was ever attached, and do what is asked with one of them.

    Raises:
        UsageError: conversations are not kept.
    """
    from vlmchat.tui.screens.gallery import AttachAgain, Gallery, JumpTo, StoreGallery

    library = chat.conversations.library

    def chosen(choice: "GalleryChoice") -> None:
        if isinstance(choice, AttachAgain):
            attach_again(chat, choice.media, choice.region)
        elif isinstance(choice, JumpTo):
            chat.run_worker(_show(chat, choice.use), group="prompt")

    chat.app.push_screen(
        Gallery(StoreGallery(library.run, library.media_data, library.media_path)), chosen
    )


def attach_again(chat: "ChatScreen", media: Media, region: Region | None = None) -> None:
    """Attach a medium of the gallery, or a part of it, to the next question."""
    if media.file is None:
        chat.attachments.add(ImagePart(media, region=region))
    else:
        chat.run_worker(chat.attachments.come(sampling(chat.attachments, media)), group="prompt")


async def _show(chat: "ChatScreen", use: "MediaUse") -> None:
    """Open the conversation where a picture was used, at the picture."""
    from vlmchat.tui.widgets.picture import Picture
    from vlmchat.tui.widgets.storyboard import VideoStrip

    turn = await chat.open_thread(use.thread, use.message)
    widget = chat.transcript.widget_of(turn) if turn is not None else None
    for shown in widget.query("Picture, VideoStrip") if widget is not None else ():
        media = shown.media if isinstance(shown, Picture) else None
        media = shown.part.media if isinstance(shown, VideoStrip) else media
        if media is not None and media.sha256 == use.sha256:
            shown.focus()
            return


def open_or_tell(widget: "Widget", media: Media) -> None:
    """Open a medium for `widget`, and tell the person what came of it.

    Of a frame, the video is opened.
    """
    from vlmchat.talk.desktop.open_external import open_external

    if isinstance(media, FrameMedia) and media.video is not None:
        media = media.video

    async def opening() -> None:
        try:
            await open_external(media)
        except VlmchatError as error:
            widget.app.notify(str(error), severity="error", markup=False)

    widget.app.run_worker(opening(), group="open-external")
