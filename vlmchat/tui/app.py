"""The application: theme, settings, the engine's keeper and the chat screen, put together.

Order is everything here: the screen paints from what is cheap (Textual and a theme file), and
only then are settings, HTTP and picture libraries imported and the engine started.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.command import Provider
from textual.events import DescendantFocus
from textual.filter import LineFilter
from textual.screen import Screen

from vlmchat import paths
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.talk.starting import keeper_for, open_store
from vlmchat.talk.theme_files import theme_files
from vlmchat.text import visible_line
from vlmchat.tui.collecting import collect_when_quiet
from vlmchat.tui.motion import apply_motion, still
from vlmchat.tui.no_color import colour_filters
from vlmchat.tui.screens.chat import ChatScreen
from vlmchat.tui.terminal import Abilities, PictureStyle, picture_style
from vlmchat.tui.themes import DEFAULT_THEME, first_theme, load_theme, no_color
from vlmchat.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.talk.engine_keeper import EngineKeeper

Overrides = Mapping[str, Mapping[str, Any]]


def _command_provider() -> type[Provider]:
    from vlmchat.tui.palette import CommandProvider

    return CommandProvider


def _prepare(overrides: Overrides) -> "Settings":
    """Read the settings and import what the chat is about to need; slow."""
    from vlmchat.prompts import resolved
    from vlmchat.settings import load_settings

    settings = load_settings(overrides)
    settings.put_in_force()
    system = resolved(settings.chat.system)
    settings = settings.model_copy(
        update={"chat": settings.chat.model_copy(update={"system": system})}
    )
    import vlmchat.client.supervisor
    import vlmchat.media.images
    import vlmchat.talk.keeping.recorder
    import vlmchat.tui.widgets.turns  # noqa: F401

    return settings


class ChatApp(App[str]):
    """The chat.

    Its return value is the sentence of the error that ended it, if one did.

    Args:
        overrides: settings the command line gave, as ``{"engine": {"model": "demo"}}``.
        attach: pictures to attach at the start.
        resume: whether to go on with the last conversation.
        keeper: makes the engine's keeper from the settings.

    Raises:
        UsageError: the configuration file is not TOML.
    """

    CSS_PATH: ClassVar[list[str | PurePath]] = [
        Path(__file__).parent / "styles" / name for name in ("vlmchat.tcss", "plain.tcss")
    ]
    TITLE = "vlmchat"
    # The same as Textual's own, but with ids, so that they can be moved to other keys.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="command.quit"),
        Binding(
            "ctrl+p",
            "command_palette",
            "palette",
            tooltip="Find a command",
            show=False,
            priority=True,
            id="palette",
        ),
    ]
    # With many pictures in view a collection takes a noticeable fraction of a second.
    PAUSE_GC_ON_SCROLL = True
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_command_provider}

    def __init__(
        self,
        overrides: Overrides | None = None,
        attach: Iterable[Path] = (),
        resume: bool = False,
        keeper: Callable[["Settings"], "EngineKeeper"] = keeper_for,
    ) -> None:
        super().__init__()
        self._overrides = overrides or {}
        self._first_files = list(attach)
        self._resume = resume
        self._keeper = keeper
        self.no_color = no_color()  # Textual takes an empty NO_COLOR for one that is set
        self._theme_error = ""
        self._wanted_theme: str | None = None
        self.terminal = Abilities()
        self.picture_style = PictureStyle()
        self._begin_with_theme()

    def _begin_with_theme(self) -> None:
        name = first_theme(self._overrides)
        path = theme_files().get(name)
        if path is None and name not in self.available_themes:
            shown = visible_line(name)
            self._theme_error = f"There is no theme “{shown}”: /theme lists those there are."
        try:
            if path is not None:
                self.register_theme(load_theme(path))
        except UsageError:
            self._wanted_theme = name  # whoever watches the files says what is wrong with it
        if self._theme_error or self._wanted_theme:
            name = DEFAULT_THEME
            self.register_theme(load_theme(paths.shipped_themes_dir() / f"{name}.toml"))
        self.theme = name

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Leave the colours out where ``NO_COLOR`` asks for it."""
        filters = super().get_line_filters()
        return colour_filters(filters, self.no_color, self.native_ansi_color)

    def on_resize(self) -> None:
        """Paint everything anew.

        A window that shrinks and grows back at once has lost what was cut off, though its size is
        the same as before by the time it is asked for.
        """
        self.screen.refresh()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Keep the cursor from blinking where nothing may move."""
        still(event.widget)

    @property
    def overrides(self) -> Overrides:
        """What the command line gave."""
        return self._overrides

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave every key to a screen that waits for one to be pressed."""
        return not getattr(self.screen, "captures_keys", False)

    def copy_to_clipboard(self, text: str) -> None:
        """Put `text` on the clipboard: by OSC 52 (also over SSH), and by the desktop's own tool."""
        from vlmchat.talk.desktop.clipboard import copying_tool, give

        # Half a surrogate pair cannot be sent.
        text = text.encode("utf-8", "replace").decode("utf-8")
        super().copy_to_clipboard(text)
        if command := copying_tool():
            # A tool that fails leaves what the terminal did.
            work = give(command, text)
            self.run_worker(work, group="copy", exclusive=True, exit_on_error=False)

    def action_help_quit(self) -> None:
        """Say how to quit to whoever pressed Ctrl+C for it."""
        chat = self.screen_stack[0]
        assert isinstance(chat, ChatScreen)
        self.notify(f"{chat.key_or_command('quit')} quits.", markup=False)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give themes that do not know it a colour for secondary text, of AA contrast."""
        theme = self.current_theme
        ink = Color.parse(theme.foreground or ("#e0e0e0" if theme.dark else "#1f1f1f"))
        ground = Color.parse(theme.background or ("#121212" if theme.dark else "#e0e0e0"))
        return {"muted": ground.blend(ink, 0.75).hex}

    def get_default_screen(self) -> Screen[None]:
        """Make the chat the first screen, so that nothing else is painted before it."""
        return ChatScreen()

    def on_mount(self) -> None:
        """Start everything slow once the screen stands."""
        self.call_after_refresh(self._start)

    def _start(self) -> None:
        self.run_worker(self._start_up(), group="start", name="start")

    async def _start_up(self) -> None:
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        try:
            settings = await asyncio.to_thread(_prepare, self._overrides)
            keeper = self._keeper(settings)
        except VlmchatError as error:
            self.exit(str(error), return_code=error.exit_code)
            return
        apply_motion(self, settings)
        if settings.chat.save:
            await self._keep(screen)
        elif self._resume:
            screen.notice("Conversations are not kept (chat.save is off).", "error")
        screen.engine_changer.make = self._keeper
        if self._theme_error:
            screen.notice(self._theme_error, "error")
        self.picture_style = picture_style(
            settings.ui.pictures, settings.ui.picture_rows, self.terminal
        )
        if not (screen.query("Composer") and screen.query("StatusBar")):
            return  # whoever was here left while the settings were being read: no engine starts
        if self.terminal.typed:
            screen.query_one(Composer).insert(self.terminal.typed)
        screen.connect(keeper, settings)
        if self._first_files:
            screen.attach(self._first_files)
        self._watch_themes(screen)
        self.run_worker(collect_when_quiet(), group="collecting")

    async def _keep(self, screen: ChatScreen) -> None:
        """Have the conversation saved from here on, and bring the last one back if asked to."""
        from vlmchat.talk.keeping.conversations import Conversations
        from vlmchat.talk.keeping.library import Library
        from vlmchat.talk.keeping.store_recorder import StoreRecorder

        def trouble(sentence: str) -> None:
            screen.notice(sentence, "error")
            screen.warn("This conversation is not saved any more: it goes on in memory.")

        try:
            library = Library(await asyncio.to_thread(open_store), trouble)
        except VlmchatError as error:
            trouble(str(error))
            return
        recorder = StoreRecorder(library)
        screen.session.recorder = recorder
        conversations = screen.library = Conversations(screen.session, library, recorder)
        conversations.clean()
        try:
            found = await conversations.open_last() if self._resume else False
        except VlmchatError as error:
            trouble(str(error))
            return
        if not found:
            screen.begin_writing()
            if self._resume:
                screen.notice("There is no conversation to go on with: this is a new one.")

    def _watch_themes(self, screen: ChatScreen) -> None:
        from vlmchat.tui.theme_watch import ThemeKeeper

        keeper = ThemeKeeper(self, screen.notice, self._wanted_theme)
        self.run_worker(keeper.watch(), group="themes", name="themes")
