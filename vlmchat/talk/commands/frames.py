"""Which frames of a video the model gets."""

from typing import TYPE_CHECKING

from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Completion, Found
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

_WORDS = {
    "12": "So many frames",
    "fps 2": "So many a second",
    "from 0:05 to 0:17": "Only this part of the video",
    "uniform": "Evenly spread",
    "scenes": "Where the scene changes",
    "keyframes": "Those that are stored whole, which is quick",
    "drop 3": "Leave out the third",
    "add 0:07": "Put in the one at that time",
}


class Frames(Command):
    """Which frames."""

    name = "frames"
    help = "Choose the frames of the attached video that the model gets"
    arguments = "[of VIDEO] [COUNT | fps N | from T to T | scenes | drop N | add T]"
    key = "f8"

    def available(self, chat: "Front") -> str | None:
        """Need a video, and a model that sees."""
        from vlmchat.talk.framing import videos_of

        model = chat.session.engine.model
        if model is not None and not model.images:
            return f"{visible_line(model.title)} takes no pictures and no videos: choose another."
        attached = chat.attachments
        if attached.reading or videos_of(attached.items):
            return None
        return "No video is attached: /attach adds one."

    async def run(self, chat: "Front", argument: str) -> None:
        """Show the frames, or do what is asked with them."""
        from vlmchat.talk.framing import parse, videos_of

        names = [item.media.name for item in videos_of(chat.attachments.items)]
        wish = parse(argument, names)
        if wish.empty:
            chat.open_frames(wish.which)
        else:
            chat.reframe(wish)

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer what can be asked, and which videos there are."""
        from vlmchat.talk.framing import videos_of

        table = dict(_WORDS)
        items = chat.attachments.items
        if len(videos := videos_of(items)) > 1:
            table |= {f"of {items.index(x) + 1}": visible_line(x.media.name) for x in videos}
        found = completing.words(argument, table)
        # What is only begun with a word of these stands there as a hint.
        return found or [Completion(argument, "COUNT, fps N, from T to T, drop N, add T")]
