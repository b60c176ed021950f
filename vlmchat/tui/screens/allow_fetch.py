"""The question whether a picture may be fetched from the web."""

from typing import ClassVar, Literal, TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from vlmchat.text import visible_line

Permission: TypeAlias = Literal["once", "always", "no"]


class AllowFetch(ModalScreen[Permission]):
    """Returns what the person allows; closing it allows nothing.

    Args:
        host: who is to be asked for the picture.
        redirected: whether another host sent us there.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "dismiss('no')", "No"),
        Binding("t,y", "dismiss('once')", "This time"),
        Binding("a", "dismiss('always')", "Always"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    DEFAULT_CSS = """
    AllowFetch {
        .question-box {
            width: 90%;
            max-width: 72;
            height: auto;
            padding: 1 2 0 2;
            background: $surface;
            border: round $border;
            border-title-color: $primary;
            border-title-style: bold;
            border-subtitle-color: $muted;
        }
        Static {
            width: 100%;
            height: auto;
            margin-bottom: 1;
        }
        HorizontalGroup {
            align-horizontal: right;
            margin-bottom: 1;
        }
        Button {
            width: auto;
            min-width: 8;
            margin-left: 1;
            padding: 0 1;
        }
        .muted {
            color: $muted;
        }
    }
    """

    def __init__(self, host: str, redirected: bool = False) -> None:
        super().__init__(id="allow-fetch")
        self._host = visible_line(host)
        self._redirected = redirected

    def compose(self) -> ComposeResult:
        """Lay out the question and the answers."""
        before = "The address leads on to another host. " if self._redirected else ""
        with VerticalGroup(classes="question-box") as dialog:
            dialog.border_title = "A picture from the web"
            dialog.border_subtitle = "Esc fetches nothing"
            yield Static(f"{before}Fetch this picture from {self._host}?", markup=False)
            yield Static(
                "The host learns your network address and what you ask for, nothing else.",
                classes="muted",
                markup=False,
            )
            with HorizontalGroup():
                yield Button("This time", id="once", compact=True)
                yield Button("Always from there", id="always", compact=True)
                yield Button("No", id="no", compact=True)

    def on_mount(self) -> None:
        """Begin with the answer that gives nothing away for good."""
        self.query_one("#once", Button).focus()

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        answers: dict[str | None, Permission] = {"once": "once", "always": "always"}
        self.dismiss(answers.get(event.button.id, "no"))
