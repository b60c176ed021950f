"""Commands about what is said."""

from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found, Seeing
from vlmchat.talk.desktop.pasted import split_urls
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class Attach(Seeing):
    """Add pictures and videos to the next question."""

    name = "attach"
    engines = True
    aliases = ("a", "image", "video")
    help = "Add pictures or videos to the next question; without a path, opens the file picker"
    arguments = "[PATH…]"
    key = "ctrl+o"
    label = "Attach"

    async def run(self, chat: "Front", argument: str) -> None:
        """Attach the files, or open the picker."""
        if argument:
            urls, paths = split_urls(argument)
            chat.attach(paths)
            for url in urls:
                chat.fetch(url)
        else:
            chat.open_picker()

    def completions(self, chat: "Front", argument: str) -> Found:
        """Complete folders, pictures and videos."""
        return completing.paths(argument, _is_media)


def _is_media(path: Path) -> bool:
    from vlmchat.media.attaching import MEDIA_SUFFIXES

    return path.suffix.lower() in MEDIA_SUFFIXES


class Detach(Command):
    """Take attachments away again."""

    name = "detach"
    help = "Remove an attachment by number or name, the last one, or all"
    arguments = "[NUMBER | NAME | all]"

    def available(self, chat: "Front") -> str | None:
        """Need something attached."""
        return None if chat.attachments.media else "Nothing is attached."

    async def run(self, chat: "Front", argument: str) -> None:
        """Remove what is named."""
        held = chat.attachments.items
        if argument == "all":
            chat.attachments.items = []
            return
        if not argument:
            chat.attachments.items = held[:-1]
            return
        kept = [
            item
            for number, item in enumerate(held, 1)
            if argument not in (str(number), item.media.name)
        ]
        if len(kept) == len(held):
            raise UsageError(f"No attachment is called “{visible_line(argument)}”.")
        chat.attachments.items = kept

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer what is attached."""
        held = [(str(number), media.name) for number, media in enumerate(chat.attachments.media, 1)]
        offered = {number: visible_line(name) for number, name in held} | {"all": "Every one"}
        return completing.words(argument, offered)


class New(Command):
    """Start over."""

    name = "new"
    aliases = ("clear",)
    help = "Start a new conversation"

    async def run(self, chat: "Front", argument: str) -> None:
        """Forget the conversation; drafts, chips and the queue stay."""
        await chat.new_conversation()


class Stop(Command):
    """End the answer."""

    name = "stop"
    help = "Stop the answer; what arrived of it stays"
    key = "escape"
    label = "Stop"
    fades = True

    def available(self, chat: "Front") -> str | None:
        """Need an answer, or something that is watched."""
        busy = chat.session.answering or chat.watching.active
        return None if busy else "Nothing is being answered."

    async def run(self, chat: "Front", argument: str) -> None:
        """Stop it, and watching with it."""
        chat.watching.stop()
        chat.session.stop()


class SetParameter(Command):
    """Sampling parameters."""

    name = "set"
    help = "Set a sampling parameter, or show all of them"
    arguments = "[PARAMETER [VALUE | default]]"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Set one, or show."""
        from vlmchat.settings import SamplingSettings, parse_sampling

        name, _, value = argument.replace("=", " ", 1).partition(" ")
        names = list(SamplingSettings.model_fields)
        if name and value.strip():
            chat.session.sampling = parse_sampling(chat.session.sampling, name, value.strip())
            names = [name.replace("-", "_").lower()]
        elif name:
            # Checks the name, by setting what is set already.
            parse_sampling(chat.session.sampling, name, "default")
            names = [name.replace("-", "_").lower()]
        shown = (f"{key}: {_shown(getattr(chat.session.sampling, key))}" for key in names)
        chat.notice(" · ".join(shown), "note")
        from vlmchat.client.dialects import cannot

        if len(names) == 1 and (reason := cannot(chat.session.engine.model, names[0])):
            chat.notice(reason, "note")

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the parameters, then say what values one takes."""
        return completing.parameters(argument, chat.session.sampling)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"“{visible_line(item)}”" for item in value) or "none"
    return "the engine's default" if value is None else str(value)
