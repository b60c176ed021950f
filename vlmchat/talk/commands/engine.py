"""Commands about the engine, its parameters, the settings and the keys."""

from typing import TYPE_CHECKING

from vlmchat.chat.messages import DETAILS, parse_detail
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

_DETAIL_HELP = {
    "low": "One tile",
    "auto": "As many tiles as the picture fills",
    "high": "As the model's own processor cuts, scaled up",
}
QUANTS = ("auto", "none", "8bit", "4bit")


def remote_reason(chat: "Front", what: str) -> str | None:
    """Return why `what` of the engine cannot be changed, if the engine is not ours."""
    if chat.session.engine.kind == "remote":
        from vlmchat.talk.engine_change import REMOTE_REASON

        return f"The {what} cannot be changed from here: {REMOTE_REASON}."
    return None


class Model(Command):
    """Which model answers."""

    name = "model"
    help = "Change the model, which restarts the engine; without a name, lists those there are"
    arguments = "[NAME | auto]"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Change it, or list."""
        if argument:
            chat.change_engine(model=argument)
        else:
            chat.list_models()


class Quant(Command):
    """How precise the weights are."""

    name = "quant"
    engines = True
    help = "Change the precision of the weights, which restarts the engine"
    arguments = "[auto | none | 8bit | 4bit]"
    prefilled = True

    def available(self, chat: "Front") -> str | None:
        """Need an engine of ours."""
        return remote_reason(chat, "quantization")

    async def run(self, chat: "Front", argument: str) -> None:
        """Change it, or say what it is."""
        if argument:
            chat.change_engine(quant=argument)
            return
        model = chat.session.engine.model
        present = ""
        if model is not None:
            loaded = model.dtype if model.quantization in ("", "none") else model.quantization
            present = f" (loaded: {visible_line(loaded or 'none')})"
        settings = chat.engine_changer.settings
        asked = settings.engine.quant if settings else "auto"
        chat.notice(f"quant: {asked}{present}. There are {', '.join(QUANTS)}.", "note")


class DetailLevel(Command):
    """How finely the model looks at pictures."""

    name = "detail"
    engines = True
    help = "Change how finely the model looks at the next pictures"
    arguments = "[low | auto | high | TILES]"
    prefilled = True

    def available(self, chat: "Front") -> str | None:
        """Need an engine that is asked how finely it looks."""
        from vlmchat.client.dialects import cannot

        return cannot(chat.session.engine.model, "detail")

    async def run(self, chat: "Front", argument: str) -> None:
        """Change it, or say what it is."""
        if argument:
            chat.set_detail(parse_detail(argument))
        chat.notice(
            f"detail: {chat.session.detail}. There are {', '.join(DETAILS)}, and the most tiles "
            "as a number.",
            "note",
        )

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the words, and the numbers that make a difference to the attached picture."""
        from vlmchat.chat.messages import ImagePart
        from vlmchat.talk.cropping import pictures_to_crop
        from vlmchat.talk.plan import steps

        item = next(reversed(pictures_to_crop(chat)), None)
        if item is None:
            return completing.words(argument, _DETAIL_HELP)
        offered: dict[str, str] = {}
        for detail in steps(item.size, chat.plans.spec):
            facts = " · ".join(chat.plans.facts(ImagePart(item.media, detail, item.region), detail))
            offered[str(detail)] = facts or _DETAIL_HELP.get(str(detail), "")
        return completing.words(argument, offered)


class Parameters(Command):
    """The panel."""

    name = "parameters"
    aliases = ("params",)
    help = "Show and change model, sampling and detail of this conversation"
    key = "f4"

    def available(self, chat: "Front") -> str | None:
        """Need the settings, which hold what there is to begin with."""
        if chat.engine_changer.settings is None:
            return "The settings are still being read: try again in a moment."
        return None

    async def run(self, chat: "Front", argument: str) -> None:
        """Open the panel."""
        chat.open_parameters()


class SettingsCommand(Command):
    """Everything that can be set for good."""

    name = "settings"
    aliases = ("config",)
    help = "Show and change the settings, which are kept in config.toml"
    arguments = "[NAME [VALUE | default]]"
    key = "f5"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show all, or tell or change the one that is named."""
        if argument:
            await chat.change_setting(argument)
        else:
            chat.open_settings()

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the settings, then the values of one."""
        return completing.settings(argument)


class KeysCommand(Command):
    """Which key does what."""

    name = "keys"
    help = "Show the keys of all commands, and change them"

    async def run(self, chat: "Front", argument: str) -> None:
        """Open the screen."""
        chat.open_keys()
