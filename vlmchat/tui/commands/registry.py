"""All commands, and what is made of them."""

import re
from difflib import get_close_matches

from textual.binding import Binding

from vlmchat.errors import UsageError
from vlmchat.tui.commands import conversation, media, program
from vlmchat.tui.commands.base import Command

COMMANDS: tuple[Command, ...] = (
    conversation.Attach(),
    conversation.Detach(),
    conversation.New(),
    conversation.System(),
    conversation.Stop(),
    conversation.SetParameter(),
    media.View(),
    media.Gallery(),
    program.Restart(),
    program.Log(),
    program.Theme(),
    program.Help(),
    program.Quit(),
)
# A name directly behind the slash: paths have a second slash, and prose has a space before.
_SLASH = re.compile(r"/([A-Za-z?][\w-]*)(?:\s+(.*))?\Z", re.DOTALL)


def names() -> dict[str, Command]:
    """Return every name and alias with its command."""
    table: dict[str, Command] = {}
    for command in COMMANDS:
        for name in (command.name, *command.aliases):
            table[name] = command
    return table


def find(name: str) -> Command:
    """Return the command called `name`.

    Raises:
        UsageError: there is none; the sentence has the nearest name.
    """
    table = names()
    if command := table.get(name.lower()):
        return command
    near = get_close_matches(name.lower(), table, n=1, cutoff=0.4)
    hint = f"did you mean /{table[near[0]].name}?" if near else "F1 lists what there is."
    raise UsageError(
        f"There is no command /{name}: {hint} A space before the slash sends it as text."
    )


def parse(text: str) -> tuple[Command, str] | None:
    """Return the command and argument that `text` is, or ``None`` when it is no command.

    Raises:
        UsageError: it looks like a command, but there is no such.
    """
    match = _SLASH.match(text)
    if match is None:
        return None
    return find(match.group(1)), (match.group(2) or "").strip()


def bindings() -> list[Binding]:
    """Return a key binding for each command that has a key."""
    return [
        Binding(
            command.key,
            f"command('{command.name}')",
            command.label or command.name,
            show=bool(command.label),
            tooltip=command.help,
            id=f"command.{command.name}",
            priority=command.name == "quit",
        )
        for command in COMMANDS
        if command.key
    ]


def help_rows() -> list[tuple[str, str]]:
    """Return how each command is written, and what it does and by which key."""
    rows = []
    for command in COMMANDS:
        key = f" ({_key_name(command.key)})" if command.key else ""
        also = "".join(f", /{alias}" for alias in command.aliases)
        rows.append((f"{command.usage}{also}", f"{command.help}{key}"))
    return rows


def _key_name(key: str) -> str:
    return "+".join(part.capitalize() for part in key.replace("escape", "esc").split("+"))
