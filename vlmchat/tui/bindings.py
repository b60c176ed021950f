"""What the screen makes of the commands: key bindings and the rows of its help."""

from collections.abc import Mapping, Sequence

from textual.binding import Binding

from vlmchat.talk.commands.registry import COMMANDS
from vlmchat.tui.key_names import keys_title
from vlmchat.tui.keys import NO_KEY


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


def turn_bindings() -> list[Binding]:
    """Return a binding for each command that has a key of its own on a focused turn."""
    return [
        Binding(
            command.turn_key,
            f"screen.command('{command.name}')",
            command.turn_label or command.name.capitalize(),
            show=bool(command.turn_label),
            tooltip=command.help,
            id=f"turn.{command.name}",
        )
        for command in COMMANDS
        if command.turn_key
    ]


def help_rows(
    keys: Mapping[str, Sequence[str]], barred: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Return how each command is written, what it does by which of these `keys`, and its bar.

    Args:
        keys: of each command that has any.
        barred: why those commands cannot be used that what answers does not allow.
    """
    rows = []
    for command in COMMANDS:
        names = [title for title in (keys_title(keys.get(command.name, ())),) if title]
        if title := keys_title(keys.get(f"turn.{command.name}", ())):
            names.append(f"{title} on a turn")
        key = f" ({', '.join(names)})" if names else ""
        also = "".join(f", /{alias}" for alias in command.aliases)
        rows.append(
            (f"{command.usage}{also}", f"{command.help}{key}", barred.get(command.name, ""))
        )
    return rows
