"""Where the turns are shown."""

from textual.app import ComposeResult
from textual.containers import VerticalGroup, VerticalScroll
from textual.widget import Widget
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


class Transcript(VerticalScroll):
    """All turns, following the newest unless the person scrolled up."""

    def __init__(self) -> None:
        super().__init__(id="transcript")

    def compose(self) -> ComposeResult:
        """Begin with the welcome."""
        yield Welcome()

    def on_mount(self) -> None:
        """Follow what comes."""
        self.anchor()

    async def add(self, turn: Widget) -> None:
        """Append a turn."""
        if not turn.has_class("notice"):
            await self.query(Welcome).remove()
        await self.mount(turn)

    async def clear(self) -> None:
        """Empty the transcript."""
        await self.remove_children()
        await self.mount(Welcome())
        self.anchor()
