"""Commands about pictures that were attached."""

from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Completion, Found, Seeing

if TYPE_CHECKING:
    from pathlib import Path

    from vlmchat.talk.front import Front


class View(Command):
    """Pictures, large."""

    name = "view"
    help = (
        "Show the pictures and frames of this conversation large, the last or the one named first"
    )
    arguments = "[NUMBER | NAME]"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show them over the chat."""
        chat.open_viewer(argument)


class Crop(Command):
    """A part of a picture."""

    name = "crop"
    help = "Show the model a part of a picture only; without a part, choose it by keys or mouse"
    arguments = "[NUMBER | NAME] [LEFT,TOP,RIGHT,BOTTOM | left | top right | middle | off …]"

    def available(self, chat: "Front") -> str | None:
        """Need a picture."""
        from vlmchat.talk.cropping import pictures_to_crop

        if pictures_to_crop(chat):
            return None
        return "There is no picture to crop yet: /attach adds one."

    async def run(self, chat: "Front", argument: str) -> None:
        """Attach the part that is named, or let the person choose one."""
        from vlmchat.talk.cropping import crop, parse_crop

        which, part = parse_crop(argument)
        if part is None:
            chat.open_crop(which)
        else:
            chat.notice(crop(chat, which, part))

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the parts, behind the number of a picture too."""
        from vlmchat.talk.cropping import PARTS

        number, space, rest = argument.partition(" ")
        begin = f"{number} " if space and number.isdecimal() else ""
        typed = rest if begin else argument
        return [
            Completion(begin + item.text, item.label, item.help)
            for item in completing.words(typed, PARTS)
        ]


class Gallery(Command):
    """All pictures."""

    name = "gallery"
    aliases = ("pictures",)
    help = "Show every picture and video that was ever attached, and where"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show them over the chat."""
        chat.open_gallery()


class Watch(Seeing):
    """A live source."""

    name = "watch"
    help = "Ask about what a camera, a stream or a film shows, every few seconds"
    arguments = "SOURCE [SECONDS] [PROMPT] | off"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Watch, or watch no more."""
        from vlmchat.talk.watching import parse

        if argument.lower() in ("off", "stop"):
            if not chat.watching.stop():
                raise UsageError("Nothing is being watched.")
        else:
            chat.watching.start(parse(argument))

    def completions(self, chat: "Front", argument: str) -> Found:
        """Complete folders and films, and how to stop."""
        from vlmchat.talk.commands import completing

        if chat.watching.active and "off".startswith(argument.lower()):
            return [Completion("off", help="watch no more")]
        if " " in argument.strip():
            return ()
        return completing.paths(argument, _is_film)


def _is_film(path: "Path") -> bool:
    from vlmchat.media.attaching import VIDEO_SUFFIXES

    return path.suffix.lower() in VIDEO_SUFFIXES
