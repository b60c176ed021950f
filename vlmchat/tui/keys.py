"""Keys as the person wants them: checked against each other, then given to Textual.

A binding that has an id can be moved. The id of a command's binding is ``command.NAME`` and it is
called NAME in the configuration; other bindings are called by their id.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.keys import Keys, key_to_character

from vlmchat.text import visible_line
from vlmchat.tui.key_names import key_title, keys_title

if TYPE_CHECKING:
    from textual.dom import DOMNode

    from vlmchat.tui.screens.chat import ChatScreen

COMMAND = "command."
# Stands in the binding of whatever has no key: Textual has no binding without one.
NO_KEY = "no-key-"
# The chat and its composer are one place: there is nearly always a cursor in the composer.
CHAT = "chat"

_MODIFIERS = frozenset({"ctrl", "alt", "shift", "super", "hyper", "meta"})
_SAME_AS = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+h": "backspace", "ctrl+j": "a new line"}
_COMPOSER_KEYS = frozenset(
    {"enter", "shift+enter", "alt+enter", "ctrl+j", "ctrl+s", "tab", "shift+tab", "backspace"}
    | {"delete", "up", "down", "left", "right", "home", "end"}
)


@dataclass(frozen=True, slots=True)
class Bindable:
    """Something that has keys, and can have others.

    Attributes:
        id: of its binding.
        keys: those it has by itself, in Textual's notation.
        what: what it does.
        place: where its keys work; the same key may do different things in different places.
        typing: there is something to write in at that place.
        fixed: keys of that place that cannot be moved.
    """

    id: str
    keys: tuple[str, ...]
    what: str
    place: str = CHAT
    typing: bool = True
    fixed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What it is called in the configuration."""
        return self.id.removeprefix(COMMAND)


@dataclass(frozen=True, slots=True)
class Problem:
    """A remap that is ignored, and why (a sentence without its beginning)."""

    name: str
    reason: str


@dataclass(slots=True)
class Checked:
    """What remaps come to.

    Attributes:
        keys: the keys of every bindable, by its name; none for no key.
        problems: the remaps that were ignored.
    """

    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def normal(key: str) -> str:
    """Return a key as Textual calls it: ``?`` is ``question_mark``, modifiers in their order."""
    *modifiers, last = key.strip().replace("++", "+plus").split("+")
    wanted = {item.strip().lower() for item in modifiers}
    order: list[str] = [item for item in ("ctrl", "alt", "shift") if item in wanted]
    order += sorted(wanted.difference(order))
    last = last.strip()
    if len(last) > 1 or order:
        last = last.lower()
    last = {"esc": "escape", "return": "enter", "pgup": "pageup", "pgdn": "pagedown"}.get(
        last, last
    )
    if len(last) == 1:
        last = next(iter(Binding.make_bindings([Binding(last, "")]))).key
    return "+".join((*order, last))


def key_fault(key: str) -> str:
    """Return why `key` (as from `normal`) is no key of a keyboard, or nothing."""
    *modifiers, last = key.split("+")
    known = last in _NAMED or key_to_character(last) is not None
    if not known or not set(modifiers) <= _MODIFIERS:
        return f"“{visible_line(key)}” is no key: write it like ctrl+o, f5 or alt+x"
    return ""


_NAMED = frozenset(key.value.rpartition("+")[2] for key in Keys)


def taken_fault(key: str, item: Bindable, composer: Mapping[str, str]) -> str:
    """Return why `item` cannot have `key`, or nothing.

    Args:
        key: as from `normal`.
        item: what is to have it.
        composer: the keys of the composer with what each does there.
    """
    shown = key_title(key)
    *modifiers, last = key.split("+")
    character = key_to_character(last)
    plain = not set(modifiers) - {"shift"} and character is not None and character.isprintable()
    if plain and item.typing:
        return f"{shown} is needed for writing"
    if key in item.fixed:
        return f"{shown} does something else there, and cannot be moved"
    if item.place != CHAT:
        return ""
    if key in _COMPOSER_KEYS:
        return f"the composer needs {shown}"
    if key in _SAME_AS:
        return f"most terminals send the same for {shown} as for {_SAME_AS[key]}"
    if key in composer:
        return f"the composer needs {shown} ({composer[key]})"
    if key == "ctrl+c":
        return f"{shown} copies the selected text"
    return ""


def hint(chat: "ChatScreen", what: Mapping[str, str]) -> str:
    """Return the line of keys at the foot of a dialog.

    Args:
        chat: whose keys hold.
        what: a word for each key; a name of something that can be moved stands for its first key.
    """
    known = {item.name: item.keys for item in all_bindables(chat)} | chat.keys
    titles = {key: keys_title(known[key][:1]) if key in known else key for key in what}
    return " · ".join(f"{titles[key]} {word}" for key, word in what.items() if titles[key])


def split_keys(text: str) -> tuple[str, ...]:
    """Return the keys in ``ctrl+o,f5``, each as Textual calls it."""
    return tuple(dict.fromkeys(normal(key) for key in text.split(",") if key.strip()))


def check(
    wanted: Mapping[str, str], bindables: Iterable[Bindable], composer: Mapping[str, str]
) -> Checked:
    """Check remaps against what there is and against each other.

    Args:
        wanted: keys by name, as in the configuration.
        bindables: all that can be remapped.
        composer: fixed keys of the composer with what each does there.
    """
    known = {item.name: item for item in bindables}
    checked = Checked()
    moved: dict[str, tuple[str, ...]] = {}
    for name, text in wanted.items():
        if name not in known:
            checked.problems.append(Problem(name, _unknown(name, known)))
            continue
        keys = split_keys(text)
        own = known[name].keys
        faults = [key_fault(key) for key in keys]
        faults += [taken_fault(key, known[name], composer) for key in keys if key not in own]
        if fault := next(filter(None, faults), ""):
            checked.problems.append(Problem(name, fault))
        else:
            moved[name] = keys
    # A remap that is dropped gives its own keys back, which may clash with another remap.
    while clash := _clash(known, moved):
        name, reason = clash
        del moved[name]
        checked.problems.append(Problem(name, reason))
    checked.keys = {name: moved.get(name, item.keys) for name, item in known.items()}
    return checked


def _unknown(name: str, known: Mapping[str, Bindable]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean “{near[0]}”?" if near else "/keys lists those there are"
    return f"there is no command of that name: {hint}"


def _clash(
    known: Mapping[str, Bindable], moved: Mapping[str, tuple[str, ...]]
) -> tuple[str, str] | None:
    """Return the first remap that takes a key from something else, and why it is ignored."""
    holders: dict[tuple[str, str], str] = {}
    # What stays where it was has the older right, and then whatever was written first.
    order = [name for name in known if name not in moved] + list(moved)
    for name in order:
        for key in moved.get(name, known[name].keys):
            place = (known[name].place, key)
            holder = holders.setdefault(place, name)
            if holder != name and name in moved:
                return name, f"{key_title(key)} is the key of “{holder}” already"
    return None


def keymap(checked: Checked, bindables: Iterable[Bindable]) -> dict[str, str]:
    """Return the keymap for `App.set_keymap`: only what differs from the bindings' own keys."""
    found: dict[str, str] = {}
    for item in bindables:
        keys = checked.keys[item.name]
        if keys != item.keys:
            found[item.id] = ",".join(keys) or NO_KEY + item.name
    return found


# What there is ---------------------------------------------------------------------------------


def bindables_of(place: str, bindings: Iterable[Binding], typing: bool = True) -> list[Bindable]:
    """Return those of `bindings` that have an id, each with all its keys."""
    found: dict[str, Bindable] = {}
    every = list(Binding.make_bindings(bindings))
    fixed = frozenset(binding.key for binding in every if binding.id is None)
    for binding in every:
        if binding.id is None:
            continue
        keys = () if binding.key.startswith(NO_KEY) else (binding.key,)
        before = found.get(binding.id)
        if before is not None:
            keys = (*before.keys, *keys)
        what = binding.tooltip or binding.description
        found[binding.id] = Bindable(binding.id, keys, what, place, typing, fixed)
    return list(found.values())


def _declared(kind: type["DOMNode"]) -> list[Binding]:
    own = kind.__dict__.get("BINDINGS", ())
    return list(Binding.make_bindings(own))


def composer_keys() -> dict[str, str]:
    """Return the fixed keys of the composer: those of its bindings that cannot be moved."""
    from textual.widgets import TextArea

    from vlmchat.tui.widgets.composer import Composer

    bindings = [*_declared(TextArea), *_declared(Composer)]
    return {item.key: item.description for item in bindings if item.id is None}


def all_bindables(chat: "ChatScreen") -> list[Bindable]:
    """Return all that can be remapped and is imported: commands first, then the rest."""
    from textual.screen import Screen
    from textual.widget import Widget

    from vlmchat.tui.app import ChatApp
    from vlmchat.tui.widgets.composer import Composer

    found: dict[str, Bindable] = {}
    main: tuple[type[DOMNode], ...] = (type(chat), ChatApp, Composer)
    for kind in main:
        found |= {item.id: item for item in bindables_of(CHAT, _declared(kind))}
    # By name: in the order of their import they would stand elsewhere each time.
    for kind in sorted(_kinds(Widget), key=lambda kind: kind.__name__):
        if kind.__module__.startswith("vlmchat."):
            typing = issubclass(kind, Screen)
            for item in bindables_of(kind.__name__, _declared(kind), typing):
                found.setdefault(item.id, item)
    return list(found.values())


def _kinds(kind: type["DOMNode"]) -> Iterable[type["DOMNode"]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def import_all() -> None:
    """Import every screen and widget, so that what they declare is known; slow."""
    import importlib
    import pkgutil

    from vlmchat.tui import screens, widgets

    for package in (screens, widgets):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)


# Applying it -----------------------------------------------------------------------------------


async def apply_keys(chat: "ChatScreen", wanted: Mapping[str, str]) -> None:
    """Give the chat the keys that are wanted, and say which of them cannot be had."""
    app = chat.app
    bindables = all_bindables(chat)
    if not set(wanted) <= {item.name for item in bindables}:
        # Something of a screen that was never opened, or a name that is wrong.
        await asyncio.to_thread(import_all)
        bindables = all_bindables(chat)
    checked = check(wanted, bindables, composer_keys())
    app.set_keymap(keymap(checked, bindables))
    # The footer shows the palette by this; a class variable for Textual, the person's here.
    vars(app)["COMMAND_PALETTE_BINDING"] = next(iter(checked.keys["palette"]), "")
    chat.keys = checked.keys
    chat.keys_changed()
    if checked.problems:
        for sentence in await asyncio.to_thread(sentences, checked.problems):
            chat.notice(sentence, "error")


def sentences(problems: Iterable[Problem]) -> list[str]:
    """Return one sentence a problem, with the file and the line it stands in; reads the file."""
    from vlmchat.settings_faults import origin

    return [
        f"{origin(('keys', item.name), {})}: the keys of “{visible_line(item.name)}” stay as they "
        f"were: {item.reason}{'' if item.reason.endswith('?') else '.'}"
        for item in problems
    ]
