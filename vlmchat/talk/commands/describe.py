"""The picture in words: one command for who cannot see it."""

from typing import TYPE_CHECKING

from vlmchat.talk.commands.base import Seeing

if TYPE_CHECKING:
    from vlmchat.chat.messages import Attachment
    from vlmchat.talk.front import Front


class Describe(Seeing):
    """What is in it."""

    name = "describe"
    aliases = ("d",)
    help = (
        "Have the attached picture or video, else the last one, described; with words, look at that"
    )
    arguments = "[WHAT TO LOOK AT]"

    def available(self, chat: "Front") -> str | None:
        """Need a picture, and a model that sees."""
        if reason := super().available(chat):
            return reason
        if chat.settings is None:
            return "The settings are still being read: try again in a moment."
        if not chat.attachments and not _shown(chat):
            return "There is no picture to describe yet: /attach adds one."
        return None

    async def run(self, chat: "Front", argument: str) -> None:
        """Ask for it."""
        async with chat.attachments.settled():
            pictures = _shown(chat)
            # With several in the conversation the model would not know which one is meant.
            if not chat.attachments.media and len(pictures) > 1:
                chat.attachments.items = pictures[-1:]
        assert chat.settings is not None
        prompt = chat.settings.chat.describe_prompt
        chat.ask(f"{prompt} Look especially at: {argument}" if argument else prompt)


def _shown(chat: "Front") -> "list[Attachment]":
    return [item for turn in chat.session.path for item in turn.attachments]
