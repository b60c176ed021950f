"""Keys as a person reads them."""

from collections.abc import Sequence

from textual.keys import format_key


def key_title(key: str) -> str:
    """Return a key for a person to read: ``Ctrl+O``, ``F5``, ``Esc``."""
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
