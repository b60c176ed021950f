"""Keys as a person reads them. Textual is needed only where there is a key to be named."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmchat.tui.front import Front


def key_title(key: str) -> str:
    """Return a key for a person to read: ``Ctrl+O``, ``F5``, ``Esc``."""
    from textual.keys import format_key

    *modifiers, last = key.split("+")
    names = {"escape": "Esc", "pageup": "PageUp", "pagedown": "PageDown"}
    names |= {key: key.capitalize() for key in ("backspace", "delete", "enter", "space")}
    if last in names:
        end = names[last]
    else:
        end = last.upper() if len(last) == 1 else format_key(last)
        end = last.capitalize() if len(end) > 1 or last in ("up", "down", "left", "right") else end
    return "+".join((*(item.capitalize() for item in modifiers), end))


def keys_title(keys: Sequence[str]) -> str:
    """Return several keys for a person to read; nothing for none."""
    return ", ".join(key_title(key) for key in keys)


def key_or_command(chat: "Front", name: str) -> str:
    """Return the key of a command for a person to read; how it is typed when it has none."""
    return keys_title(chat.keys.get(name, ())) or f"/{name}"
