"""The command about the system prompt."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Completion, Completions, Found

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

_REPLACE = "replace"


class System(Command):
    """The system prompt."""

    name = "system"
    help = (
        "Set the system prompt of this conversation, also by a name (@brief); “none” removes it, "
        "“edit” writes it anew, “save NAME” keeps it, no text shows it"
    )
    arguments = "[TEXT | @NAME | none | edit | save NAME]"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Set, remove, edit, save or show it."""
        words = argument.split()
        if argument.lower() == "edit":
            chat.write(f"/system {chat.session.system}")
            return
        if words and words[0].lower() == "save" and _names_one(words):
            await self._save(chat, words)
            return
        if argument.lower() == "none":
            chat.session.set_system("")
        elif argument:
            from vlmchat.prompts import resolved

            chat.session.set_system(await asyncio.to_thread(resolved, argument))
        await chat.show_system()

    async def _save(self, chat: "Front", words: list[str]) -> None:
        from vlmchat.prompts import SIGN, save_preset

        text = chat.session.system
        if not text:
            raise UsageError("There is no system prompt to save: set one with /system first.")
        name = words[1].removeprefix(SIGN)
        saved = await asyncio.to_thread(save_preset, name, text, replace=len(words) > 2)
        chat.notice(f"The system prompt is saved: /system {SIGN}{saved.name} uses it.", "note")

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the names, and what can be done; the rest is prose."""
        first, space, rest = argument.partition(" ")
        if space and first.lower() == "save":
            return _own_ones(rest)
        if argument.startswith("@") and not space:
            return _named(argument)
        if not argument or space:
            return ()
        choices = {
            "none": "Remove the system prompt",
            "edit": "Write it anew, beginning with the present one",
            "save ": "Keep the present one under a name",
        }
        return completing.words(argument, choices)


def _names_one(words: list[str]) -> bool:
    """Say whether it is ``save NAME`` or ``save NAME replace``, and not prose."""
    return len(words) == 2 or (len(words) == 3 and words[2].lower() == _REPLACE)


async def _named(argument: str) -> Completions:
    from vlmchat.prompts import SIGN, presets

    def find() -> dict[str, str]:
        return {name: preset.summary() for name, preset in presets().items()}

    found = completing.words(argument.removeprefix(SIGN), await asyncio.to_thread(find))
    return [Completion(f"{SIGN}{item.text}", help=item.help) for item in found]


async def _own_ones(argument: str) -> Completions:
    """Offer to overwrite those that are there; a new name is the person's to find."""
    from vlmchat.prompts import presets

    def find() -> dict[str, str]:
        own = (preset for preset in presets().values() if preset.own)
        return {f"{preset.name} {_REPLACE}": f"Now: {preset.summary()}" for preset in own}

    found = completing.words(argument, await asyncio.to_thread(find))
    return [Completion(f"save {item.text}", item.label, item.help) for item in found]
