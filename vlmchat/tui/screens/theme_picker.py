"""The theme picker: what is under the cursor is what the whole screen wears."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.theme import Theme
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from vlmchat.errors import VlmchatError
from vlmchat.text import visible_line
from vlmchat.tui.themes import FileTheme

KeepAsDefault = Callable[[str], Awaitable[None]]
_LOOK_AGAIN = 1.0
_NAME_WIDTH = 21
# To wear a theme costs milliseconds for every widget of the conversation: who runs down the list
# shall see the cursor run, and the colours where it stops.
_PAUSE = 0.06


def kind_of(theme: Theme) -> str:
    """Return ``dark``, ``light`` or ``terminal``."""
    return "terminal" if theme.ansi else "dark" if theme.dark else "light"


def about(theme: Theme) -> str:
    """Return one line about a theme, safe to show."""
    if not isinstance(theme, FileTheme):
        return "One of Textual's own"
    yours = f"Yours, {theme.path.name}" if theme.own else ""
    return visible_line(": ".join(part for part in (yours, theme.description) if part))


def in_order(themes: dict[str, Theme]) -> list[Theme]:
    """Return the themes as they are listed: the person's, the program's, Textual's."""

    def rank(theme: Theme) -> tuple[int, str]:
        if isinstance(theme, FileTheme):
            return (0 if theme.own else 1), theme.name
        return 2, theme.name

    return sorted(themes.values(), key=rank)


def matches(theme: Theme, text: str) -> bool:
    """Say whether every word of `text` is in the theme's name, kind or description."""
    told = f"{theme.name} {kind_of(theme)} {about(theme)}".lower()
    return all(word in told for word in text.lower().split())


class ThemePicker(ModalScreen[None]):
    """Tries themes on; Esc takes the old one back, Enter keeps the new one.

    Args:
        keep_as_default: makes a theme the one the program starts with. It may raise a
            `VlmchatError`, whose sentence is shown. Without it, that is not offered.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", priority=True),
        Binding("enter", "keep", "Keep", priority=True),
        Binding("ctrl+s", "make_default", "Make default", priority=True),
        Binding("up,shift+tab", "step(-1)", "Up", show=False, priority=True),
        Binding("down,tab", "step(1)", "Down", show=False, priority=True),
        Binding("pageup", "step(-8)", "Page up", show=False, priority=True),
        Binding("pagedown", "step(8)", "Page down", show=False, priority=True),
    ]

    def __init__(self, keep_as_default: KeepAsDefault | None = None) -> None:
        super().__init__(id="theme-picker")
        self._keep_as_default = keep_as_default
        self._before = ""
        self._listed: list[Theme] = []
        self._clicked = ""
        self._trying: Timer | None = None

    def compose(self) -> ComposeResult:
        """Lay out filter, list and what is said about the theme."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Theme"
            dialog.border_subtitle = "Enter keeps · Esc goes back"
            yield Input(placeholder="Type to filter", compact=True, id="theme-filter")
            themes = OptionList(id="theme-list", compact=True, markup=False)
            themes.can_focus = False  # the filter has the focus; the arrow keys move the list
            yield themes
            yield Static("", id="theme-about", markup=False)
            if self._keep_as_default is not None:
                yield Static("Ctrl+S  make it the default", id="theme-hint")

    def on_mount(self) -> None:
        """Begin with the theme that is worn."""
        self._before = self.app.theme
        self._fill()
        self.query_one(Input).focus()
        self.set_interval(_LOOK_AGAIN, self._fill)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to make a default only where that can be done."""
        return action != "make_default" or self._keep_as_default is not None

    # The list ------------------------------------------------------------------------------------

    @on(Input.Changed)
    def _filter(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """List what matches; files may come and go meanwhile."""
        text = self.query_one(Input).value
        found = [theme for theme in in_order(self.app.available_themes) if matches(theme, text)]
        if found == self._listed and found:
            return
        self._listed = found
        themes = self.query_one(OptionList)
        themes.clear_options()
        themes.add_options(Option(self._row(theme), id=theme.name) for theme in found)
        names = [theme.name for theme in found]
        if not names:
            self._say("No theme matches.")
        else:
            worn = self.app.theme
            themes.highlighted = names.index(worn) if worn in names else 0

    def _row(self, theme: Theme) -> Content:
        sign = "●" if theme.name == self._before else " "
        name = visible_line(theme.name).ljust(_NAME_WIDTH)
        return Content.assemble(f"{sign} {name} ", (kind_of(theme), "italic"))

    def action_step(self, by: int) -> None:
        """Move through the list."""
        themes = self.query_one(OptionList)
        if themes.option_count:
            now = themes.highlighted or 0
            themes.highlighted = max(0, min(themes.option_count - 1, now + by))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        themes = self.query_one(OptionList)
        theme = self.app.available_themes.get(event.option_id or "")
        # Keys come faster than messages: only the last one moved to counts.
        if theme is None or themes.highlighted != event.option_index:
            return
        self._say(about(theme))
        if self._trying is not None:
            self._trying.stop()
        self._trying = self.set_timer(_PAUSE, self._chosen)

    @on(OptionList.OptionSelected)
    def _clicked_on(self, event: OptionList.OptionSelected) -> None:
        """A click tries a theme on; a second one keeps it."""
        name = event.option_id or ""
        if name == self._clicked:
            self.action_keep()
        self._clicked = name

    def _say(self, text: str) -> None:
        self.query_one("#theme-about", Static).update(Content(text))

    # The end -------------------------------------------------------------------------------------

    def _chosen(self) -> str | None:
        """Put the theme under the cursor on, and return its name."""
        option = self.query_one(OptionList).highlighted_option
        if option is None or option.id is None or option.id not in self.app.available_themes:
            return None
        self.app.theme = option.id
        return option.id

    def action_keep(self) -> None:
        """Go on with what is worn."""
        if self._chosen() is not None:
            self.dismiss(None)

    def action_leave(self) -> None:
        """Go back to what was worn."""
        if self._trying is not None:
            self._trying.stop()
        if self._before in self.app.available_themes:
            self.app.theme = self._before
        self.dismiss(None)

    async def action_make_default(self) -> None:
        """Have the program start with it from now on, and go on with it."""
        name = self._chosen()
        if name is None or self._keep_as_default is None:
            return
        try:
            await self._keep_as_default(name)
        except VlmchatError as error:
            self._say(str(error))
            return
        self.notify(f"“{visible_line(name)}” is now the default theme.", markup=False)
        self.dismiss(None)
