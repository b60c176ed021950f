"""What an empty conversation shows."""

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import VerticalGroup
from textual.widgets import Static

from vlmchat.tui.key_names import keys_title


class Welcome(VerticalGroup):
    """What an empty conversation shows."""

    def __init__(self) -> None:
        super().__init__(id="welcome")

    def compose(self) -> ComposeResult:
        """Lay out the name and three hints."""
        yield Static("vlmchat", classes="welcome-name")
        yield Static("Talk about pictures with a model on your own machine.")
        yield Static("", classes="welcome-hints", markup=False)

    def on_mount(self) -> None:
        """Name the keys of the chat that this is shown in."""
        self.name_keys(getattr(self.screen, "keys", {}))

    def name_keys(self, keys: Mapping[str, Sequence[str]]) -> None:
        """Name the keys that hold now.

        Args:
            keys: by the name of the command.
        """
        # Which key the palette has is known once the settings are read.
        known = {"palette": ("ctrl+p",), **keys}
        titles = (keys_title(known.get(name, ())) for name in ("attach", "palette", "help"))
        self.query_one(".welcome-hints", Static).update(_hints(*titles))


def _hints(attach: str, palette: str, explain: str) -> str:
    explain = explain or "/help"
    find = f"{palette} finds every command, {explain} explains them"
    return "\n".join(
        (
            f"{attach} or /attach adds a picture, or drop one here"
            if attach
            else "/attach adds a picture, or drop one here",
            find if palette else f"{explain} explains every command",
            "You can write while the model loads: it waits in line",
        )
    )
