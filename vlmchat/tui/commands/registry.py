"""All commands, and what is made of them."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from textual.binding import Binding

from vlmchat.errors import UsageError
from vlmchat.tui.commands import (
    adapter,
    branches,
    compose,
    conversation,
    engine,
    files,
    media,
    program,
    system,
    threads,
)
from vlmchat.tui.commands.base import Command
from vlmchat.tui.keys import NO_KEY, keys_title

COMMANDS: tuple[Command, ...] = (
    conversation.Attach(),
    conversation.Detach(),
    conversation.New(),
    system.System(),
    conversation.Stop(),
    conversation.SetParameter(),
    engine.Model(),
    engine.Quant(),
    adapter.Adapter(),
    engine.DetailLevel(),
    engine.Parameters(),
    engine.SettingsCommand(),
    engine.KeysCommand(),
    compose.Editor(),
    compose.PasteImage(),
    compose.History(),
    branches.Edit(),
    branches.Regenerate(),
    branches.Continue(),
    branches.Fork(),
    branches.PreviousVersion(),
    branches.NextVersion(),
    branches.TreeView(),
    branches.Compare(),
    branches.Good(),
    branches.Bad(),
    branches.Better(),
    branches.Provenance(),
    branches.Copy(),
    branches.CopyCode(),
    threads.Chats(),
    threads.Search(),
    threads.Find(),
    threads.Rename(),
    threads.Pin(),
    threads.Archive(),
    threads.Delete(),
    threads.Undelete(),
    files.Export(),
    files.Import(),
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
    hint = f"did you mean /{table[near[0]].name}?" if near else "/help lists what there is."
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
    """Return a key binding for each command; one without a key can be given one."""
    return [
        Binding(
            command.key or NO_KEY + command.name,
            f"command('{command.name}')",
            command.label or command.name,
            show=bool(command.label),
            tooltip=command.help,
            id=f"command.{command.name}",
            priority=command.name == "quit",
        )
        for command in COMMANDS
    ]


def default_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys of each command that has any, before anybody changed them."""
    found = {item.name: item.key for item in COMMANDS if item.key}
    found |= {f"turn.{item.name}": item.turn_key for item in COMMANDS if item.turn_key}
    return {name: tuple(keys.split(",")) for name, keys in found.items()}


def turn_bindings() -> list[Binding]:
    """Return a binding for each command that has a key of its own on a focused turn."""
    return [
        Binding(
            command.turn_key,
            f"screen.command('{command.name}')",
            command.name.capitalize(),
            show=command.turn_key.isalpha() and len(command.turn_key) == 1,
            tooltip=command.help,
            id=f"turn.{command.name}",
        )
        for command in COMMANDS
        if command.turn_key
    ]


def help_rows(keys: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return how each command is written, and what it does and by which of these `keys`."""
    rows = []
    for command in COMMANDS:
        names = [title for title in (keys_title(keys.get(command.name, ())),) if title]
        if title := keys_title(keys.get(f"turn.{command.name}", ())):
            names.append(f"{title} on a turn")
        key = f" ({', '.join(names)})" if names else ""
        also = "".join(f", /{alias}" for alias in command.aliases)
        rows.append((f"{command.usage}{also}", f"{command.help}{key}"))
    return rows
