"""Two versions of a turn side by side, with what differs marked."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from vlmchat.talk.turns.differing import Pieces, differing
from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible, visible_line


def marked(one: str, other: str) -> tuple[Content, Content]:
    """Return both texts, what the other one does not have in bold and underlined."""
    left, right = differing(one, other)
    return _styled(left), _styled(right)


def _styled(pieces: Pieces) -> Content:
    return Content.assemble(*((text, "bold underline" if new else "") for text, new in pieces))


class Comparison(ModalScreen[Turn | None]):
    """Shows two siblings; returns the one that was chosen.

    Args:
        siblings: all versions.
        left: the one on the left.
        right: the one on the right.
        prefer: told which of two the person finds better.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Close"),
        Binding("left,right", "other", "Another version", show=False),
        Binding("1", "choose(0)", "Show left"),
        Binding("2", "choose(1)", "Show right"),
        Binding("less_than_sign", "prefer(0)", "Left is better", show=False),
        Binding("greater_than_sign", "prefer(1)", "Right is better", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
    ]
    DEFAULT_CSS = """
    Comparison .dialog { width: 96%; max-width: 160; height: 92%; }
    Comparison .pair { height: 1fr; }
    Comparison .side { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    Comparison .side Static { width: 100%; }
    Comparison .side-head { color: $primary; text-style: bold; margin-bottom: 1; }
    Comparison .side-note { color: $muted; margin-top: 1; }
    """

    def __init__(
        self,
        siblings: Sequence[Turn],
        left: Turn,
        right: Turn,
        prefer: Callable[[Turn, Turn], None],
    ) -> None:
        super().__init__(id="comparison")
        self._siblings = list(siblings)
        self._pair = [left, right]
        self._tell = prefer

    def compose(self) -> ComposeResult:
        """Lay out the two sides."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Two versions"
            dialog.border_subtitle = (
                "1 2 shows · < > says which is better · ← → others · Esc closes"
            )
            with HorizontalGroup(classes="pair"):
                for side in ("left", "right"):
                    with VerticalScroll(classes="side", id=f"side-{side}"):
                        yield Static(classes="side-head", markup=False)
                        yield Static(classes="side-text", markup=False)
                        yield Static(classes="side-note", markup=False)

    def on_mount(self) -> None:
        """Draw both."""
        self.query_one("#side-left").focus()
        self._draw()

    def _draw(self) -> None:
        texts = marked(*(visible(turn.text) for turn in self._pair))
        sides = self.query(".side")
        for side, turn, text in zip(sides, self._pair, texts, strict=True):
            number = self._siblings.index(turn) + 1
            speaker = "You" if turn.author == "person" else "Model"
            if turn.reply is not None:
                speaker = visible_line(turn.reply.speaker)
            better = any(x.kind == "better" for x in turn.labels)
            head = f"‹{number}/{len(self._siblings)}› {speaker}{' · better' if better else ''}"
            side.query_one(".side-head", Static).update(Content(head))
            side.query_one(".side-text", Static).update(text)
            side.query_one(".side-note", Static).update(Content(turn.footnote()))

    def action_other(self) -> None:
        """Put the next version on the right."""
        others = [turn for turn in self._siblings if turn is not self._pair[0]]
        place = others.index(self._pair[1]) + 1
        self._pair[1] = others[place % len(others)]
        self._draw()

    def action_choose(self, side: int) -> None:
        """Show that version in the conversation."""
        self.dismiss(self._pair[side])

    def action_prefer(self, side: int) -> None:
        """Say that this side is the better one."""
        self._tell(self._pair[side], self._pair[1 - side])
        self._draw()

    def action_scroll(self, rows: int) -> None:
        """Scroll both sides."""
        for side in self.query(".side"):
            side.scroll_relative(y=rows, animate=False)
