"""The attachments of the next question."""

from rich.cells import cell_len, set_cell_size
from textual.containers import HorizontalGroup
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from vlmchat.chat.messages import Attachment, Media
from vlmchat.text import human_bytes, visible_line

_BRIEF = 22


def describe(media: Media) -> str:
    """Return a picture's name, size in pixels and size in bytes, safe to show."""
    size = human_bytes(media.size)
    return f"{visible_line(media.name)}  {media.width}×{media.height} · {size}"


def _brief(media: Media) -> str:
    """Return a picture's name, not longer than leaves room for others."""
    name = visible_line(media.name)
    return name if cell_len(name) <= _BRIEF else set_cell_size(name, _BRIEF - 1) + "…"


class Chip(Static):
    """One attachment; a click removes it.

    Args:
        item: what it stands for.
        brief: only the name is shown.
    """

    class Removed(Message):
        """The person clicked the chip away."""

        def __init__(self, item: Attachment) -> None:
            super().__init__()
            self.item = item

    def __init__(self, item: Attachment, brief: bool = False) -> None:
        media = item.media
        text = _brief(media) if brief else describe(media)
        super().__init__(Content(f"▣ {text}  ×"), classes="chip")
        self.item = item
        about = f"{describe(media)}\n" if brief else ""
        self.tooltip = Content(f"{about}Click to remove (or Backspace in the empty composer)")

    def on_click(self) -> None:
        """Ask to be removed."""
        self.post_message(self.Removed(self.item))


class Chips(HorizontalGroup):
    """The row of chips; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__(id="chips")
        self.display = False

    def show(self, items: list[Attachment], reading: int = 0) -> None:
        """Draw these attachments, and how many more are being read."""
        self.display = bool(items) or reading > 0
        self.remove_children()
        # The last ones are what was just attached, and what Backspace takes.
        room = max(1, (self.app.size.width - 20) // (_BRIEF + 7))
        chips: list[Static] = [Chip(item, brief=len(items) > 1) for item in items[-room:]]
        if len(items) > room:
            more = f"{len(items) - room} more and"
            chips.insert(0, Static(more, classes="chip reading", markup=False))
        if reading:
            chips.append(Static(f"reading {reading} …", classes="chip reading", markup=False))
        self.mount_all(chips)
