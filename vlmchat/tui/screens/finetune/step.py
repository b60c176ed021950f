"""What the steps share: the frame, the line that says which step it is, and the chat below."""

from typing import TYPE_CHECKING

from textual.content import Content
from textual.screen import ModalScreen
from textual.style import Style
from textual.widgets import Static

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen

STEPS = ("Data", "Method", "Run")


def step_title(step: int, about: str = "") -> Content:
    """Return the title of a step, the present one marked with more than colour.

    Args:
        step: which, from 0.
        about: what is worked on; as it is.
    """
    parts: list[tuple[str, str]] = [("Fine-tune  ", "")]
    for number, name in enumerate(STEPS):
        here = number == step
        parts.append((f"{'▸' if here else ' '}{number + 1} {name}", "reverse" if here else "dim"))
        parts.append((" ", ""))
    if about:
        parts.append((f" {about}", ""))
    return Content.assemble(*parts)


def keys_line(*keys: tuple[str, str]) -> Content:
    """Return the line of keys at the foot of a dialog; a click does what the key does.

    Args:
        keys: what is said, and the action of the screen; empty for none.
    """
    parts = [
        Content.styled(said, Style.from_meta({"@click": f"screen.{action}"} if action else {}))
        for said, action in keys
        if said
    ]
    return Content(" · ").join(parts)


class StepScreen(ModalScreen[bool]):
    """A step of fine-tuning; returns whether a job was begun.

    Args:
        chat: that it was opened from.
    """

    DEFAULT_CSS = """
    StepScreen {
        .step-said { color: $foreground; height: auto; max-height: 5; text-style: bold;
            &.trouble { color: $error; } }
        .step-muted { color: $muted; }
        VerticalScroll { scrollbar-size-vertical: 1; &:focus { background-tint: transparent; } }
        Input { background: $panel;
            & > .input--placeholder, & > .input--suggestion { color: $muted; text-style: italic; }
        }
    }
    """

    def __init__(self, chat: "ChatScreen", id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.chat = chat

    def say(self, sentence: str, trouble: bool = False) -> None:
        """Show one sentence above the keys; nothing for nothing."""
        for line in self.query(".step-said").results(Static):
            line.update(Content(f"✗ {sentence}" if trouble and sentence else sentence))
            line.set_class(trouble, "trouble")
            line.display = bool(sentence)
