"""All commands with their keys, and a way to give them others."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from vlmchat import config_file
from vlmchat.errors import VlmchatError
from vlmchat.settings_fields import source_of
from vlmchat.text import visible_line
from vlmchat.tui.key_names import key_title, keys_title
from vlmchat.tui.keys import (
    CHAT,
    Bindable,
    all_bindables,
    check,
    composer_keys,
    hint,
    import_all,
    normal,
)

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.tui.screens.chat import ChatScreen

_NAME_WIDTH, _KEYS_WIDTH = 20, 18


class KeyCapture(ModalScreen[str | None]):
    """Waits for one key and returns it; nothing when that is Escape.

    Args:
        item: whose key it shall be.
    """

    captures_keys = True
    DEFAULT_CSS = """
    KeyCapture {
        #capture { width: 60; max-width: 90%; height: auto; padding: 1 2; background: $surface;
            border: round $border; border-title-color: $primary; }
    }
    """

    def __init__(self, item: Bindable) -> None:
        super().__init__(id="key-capture")
        self._item = item

    def compose(self) -> ComposeResult:
        """Lay out what is awaited."""
        with VerticalGroup(id="capture") as box:
            box.border_title = Content(f"A key for {self._item.name}")
            yield Static(Content(self._item.what))
            yield Static("Press the key. Esc leaves it as it is.")

    def on_key(self, event: events.Key) -> None:
        """Take the key, whatever it does elsewhere."""
        event.prevent_default()
        event.stop()
        self.dismiss(None if event.key == "escape" else event.key)


class KeysScreen(ModalScreen[None]):
    """The keys.

    Args:
        chat: whose keys they are.
        overrides: what the command line gave.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close"),
        Binding("delete,backspace", "no_key", "No key", id="keys.none"),
        Binding("ctrl+r", "reset", "Default", id="keys.reset"),
    ]
    DEFAULT_CSS = """
    KeysScreen {
        #keys-filter { background: $panel; margin-bottom: 1;
            & > .input--placeholder { color: $muted; } }
        #keys-list { height: 1fr; border: none; background: $surface; padding: 0;
            scrollbar-size-vertical: 1; }
        #keys-what { color: $muted; height: auto; margin-top: 1; }
        #keys-error { color: $error; text-style: bold; height: auto; }
    }
    """

    def __init__(self, chat: "ChatScreen", overrides: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(id="keys")
        self._chat = chat
        self._overrides = overrides
        self._one_at_a_time = asyncio.Lock()
        self._items: dict[str, Bindable] = {}
        self._wanted: dict[str, str] = {}
        self._sources: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """Lay out filter, list and what the marked line does."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            dialog.border_subtitle = hint(
                self._chat,
                {"Enter": "new key", "keys.none": "none", "keys.reset": "default", "Esc": "closes"},
            )
            yield Input(placeholder="Filter", compact=True, id="keys-filter")
            yield OptionList(id="keys-list", markup=False)
            yield Static("", id="keys-what", markup=False)
            yield Static("", id="keys-error", markup=False)

    def on_mount(self) -> None:
        """Begin in the list."""
        self.query_one("#keys-error").display = False
        self.query_one(OptionList).focus()
        self.run_worker(self._refresh(), group="keys")

    # Showing -----------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        async with self._one_at_a_time:
            await self._read()

    async def _read(self) -> "Settings | None":
        try:
            settings = await asyncio.to_thread(self._load)
        except VlmchatError as error:
            self._say(str(error))
            return None
        self._wanted = dict(settings.keys)
        self._items = {item.name: item for item in all_bindables(self._chat)}
        self._draw()
        return settings

    def _load(self) -> "Settings":
        from vlmchat.settings import load_settings

        import_all()
        settings = load_settings(self._overrides)
        self._sources = {name: source_of(("keys", name), self._overrides) for name in settings.keys}
        return settings

    def _draw(self) -> None:
        shown = self.query_one(OptionList)
        marked = self._marked
        words = self.query_one("#keys-filter", Input).value.casefold().split()
        checked = check(self._wanted, self._items.values(), composer_keys())
        ignored = {problem.name for problem in checked.problems}
        shown.clear_options()
        for name, item in self._items.items():
            title = keys_title(checked.keys[name])
            if not all(word in f"{name} {item.what} {title}".casefold() for word in words):
                continue
            source = self._sources.get(name, "default" if item.keys else "")
            if name in ignored:
                source = f"✗ {source}"
            shown.add_option(Option(_line(name, title or "–", source), id=name))
        if marked is not None and marked in self._items:
            names = [option.id for option in shown.options]
            shown.highlighted = names.index(marked) if marked in names else None
        elif shown.option_count:
            shown.highlighted = 0

    @property
    def _marked(self) -> str | None:
        shown = self.query_one(OptionList)
        at = shown.highlighted
        return None if at is None else shown.get_option_at_index(at).id

    def _say(self, error: str) -> None:
        place = self.query_one("#keys-error", Static)
        place.update(Content(f"✗ {error}" if error else ""))
        place.display = bool(error)

    @on(Input.Changed, "#keys-filter")
    def _filter(self) -> None:
        self._draw()

    @on(Input.Submitted, "#keys-filter")
    def _to_list(self) -> None:
        self.query_one(OptionList).focus()

    @on(OptionList.OptionHighlighted)
    def _describe(self, event: OptionList.OptionHighlighted) -> None:
        item = self._items.get(event.option.id or "")
        if item is not None:
            place = "" if item.place == CHAT else f" (in {item.place})"
            self.query_one("#keys-what", Static).update(Content(f"{item.what}{place}"))

    # Changing ----------------------------------------------------------------------------------

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        item = self._items.get(event.option.id or "")
        if item is None:
            return

        def pressed(key: str | None) -> None:
            if key is not None:
                self._set(item, normal(key))

        self.app.push_screen(KeyCapture(item), pressed)

    def action_no_key(self) -> None:
        """Take the key from the marked command."""
        if (item := self._items.get(self._marked or "")) is not None:
            self._set(item, "")

    def action_reset(self) -> None:
        """Give the marked command its own keys again."""
        if (item := self._items.get(self._marked or "")) is not None:
            self._set(item, None)

    def _set(self, item: Bindable, key: str | None) -> None:
        wanted = {name: keys for name, keys in self._wanted.items() if name != item.name}
        before = check(self._wanted, self._items.values(), composer_keys())
        if key is not None:
            wanted[item.name] = key
        after = check(wanted, self._items.values(), composer_keys())
        old = {problem.name for problem in before.problems}
        for problem in after.problems:
            # Whatever was wrong before is not this key's doing.
            if problem.name == item.name or problem.name not in old:
                shown = key_title(key) if key else keys_title(item.keys)
                self._say(f"{item.name} cannot have {shown}: {problem.reason}.")
                return
        self._chat.run_worker(self._save(item, key), group="settings")

    async def _save(self, item: Bindable, key: str | None) -> None:
        async with self._one_at_a_time:
            try:
                if key is None:
                    await asyncio.to_thread(config_file.unset, f"keys.{item.name}")
                else:
                    await asyncio.to_thread(config_file.set_value, f"keys.{item.name}", key)
            except VlmchatError as error:
                self._say(str(error))
                return
            self._say("")
            settings = await self._read()
            if settings is not None:
                self._chat.apply_settings(settings)


def _line(name: str, keys: str, source: str) -> Content:
    return Content.assemble(
        (f"{visible_line(name):<{_NAME_WIDTH}} ", "bold"),
        f"{keys:<{_KEYS_WIDTH}} {visible_line(source)}",
    )


def open_keys(chat: "ChatScreen") -> None:
    """Show the keys over the chat."""
    from vlmchat.tui.app import ChatApp

    app = chat.app
    assert isinstance(app, ChatApp)
    app.push_screen(KeysScreen(chat, app.overrides))
