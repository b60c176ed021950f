"""The command that shows where an answer looked."""

from typing import TYPE_CHECKING

from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found
from vlmchat.talk.commands.branches import last_reply, required_reply
from vlmchat.talk.why import why_not
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class Why(Command):
    """Where did it look?"""

    name = "why"
    aliases = ("evidence",)
    help = (
        "Show where on the pictures the model looked for an answer, or for a word of it, and "
        "whether it still says so when that place is hidden"
    )
    arguments = "[WORD]"
    turn_key = "w"

    def available(self, chat: "Front") -> str | None:
        """Need an answer about a picture, an engine of ours, and the model at rest."""
        if chat.session.answering:
            return f"The model is answering: stop it first ({chat.key_or_command('stop')})."
        return why_not(chat.session, last_reply(chat))

    async def run(self, chat: "Front", argument: str) -> None:
        """Show it."""
        chat.open_why(required_reply(chat), argument)

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the words of the answer."""
        reply = last_reply(chat)
        words = dict.fromkeys(reply.text.split()) if reply else {}
        return completing.words(argument, {visible_line(word): "" for word in words})
