"""What an empty conversation shows."""

from textual.app import ComposeResult
from textual.containers import VerticalGroup
from textual.widgets import Static


class Welcome(VerticalGroup):
    """What an empty conversation shows."""

    def __init__(self) -> None:
        super().__init__(id="welcome")

    def compose(self) -> ComposeResult:
        """Lay out the name and three hints."""
        yield Static("vlmchat", classes="welcome-name")
        yield Static("Talk about pictures with a model on your own machine.")
        yield Static(
            "Ctrl+O or /attach adds a picture, or drop one here\n"
            "Ctrl+P finds every command, F1 explains them\n"
            "You can write while the model loads: it waits in line",
            classes="welcome-hints",
        )
