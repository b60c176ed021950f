"""What the chat screen does about the frames of an attached video."""

from typing import TYPE_CHECKING

from vlmchat.chat.messages import VideoPart
from vlmchat.errors import VlmchatError
from vlmchat.talk.framing import sampling_of, video_of, videos_of
from vlmchat.tui.widgets.storyboard import Storyboard

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen
    from vlmchat.tui.screens.frames import Chosen


def show_storyboard(chat: "ChatScreen") -> None:
    """Draw the frames of the video that was attached last."""
    videos = videos_of(chat.attachments.items)
    board = chat.query_one(Storyboard)

    def about(count: int) -> tuple[str, ...]:
        from vlmchat.talk.frame_cost import frame_tokens, video_tokens

        each = frame_tokens(chat)
        frames = f"{count} {'frame' if count == 1 else 'frames'}"
        tokens = () if each is None else (f"~{video_tokens(count, each)} tokens",)
        return (frames, *tokens, f"{chat.key_or_command('frames')} chooses")

    if board.has_focus and not videos:
        chat.compose_on()
    board.show(videos[-1] if videos else None, about)


def open_named(chat: "ChatScreen", which: str) -> None:
    """Show the frames of the attached video of that number or name, once it is read."""

    async def opening() -> None:
        async with chat.attachments.settled():
            pass
        try:
            open_frames(chat, video_of(chat.attachments.items, which))
        except VlmchatError as error:
            chat.notice(str(error), "error")

    chat.run_worker(opening(), group="frames", exclusive=True)


def open_frames(chat: "ChatScreen", part: VideoPart) -> None:
    """Let the person choose which frames of a video the model gets."""
    from vlmchat.talk.frame_cost import frame_tokens
    from vlmchat.tui.screens.frames import FramesScreen

    def chosen(choice: "Chosen | None") -> None:
        if choice is not None:
            chat.attachments.samplings[part.media.sha256] = choice.sampling
            chat.attachments.replace(part, choice.part)
        chat.compose_on()

    screen = FramesScreen(part, sampling_of(chat.attachments, part), frame_tokens(chat))
    chat.app.push_screen(screen, chosen)
