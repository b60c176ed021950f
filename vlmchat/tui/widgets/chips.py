"""The attachments of the next question."""

from textual.containers import HorizontalGroup
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from vlmchat.chat.messages import Media
from vlmchat.text import human_bytes, visible_line


def describe(media: Media) -> str:
    """Return a picture's name, size in pixels and size in bytes, safe to show."""
    size = human_bytes(media.size)
    return f"{visible_line(media.name)}  {media.width}×{media.height} · {size}"


class Chip(Static):
    """One attachment; a click removes it."""

    class Removed(Message):
        """The person clicked the chip away."""

        def __init__(self, media: Media) -> None:
            super().__init__()
            self.media = media

    def __init__(self, media: Media) -> None:
        super().__init__(Content(f"▣ {describe(media)}  ×"), classes="chip")
        self.media = media
        self.tooltip = Content("Click to remove (or Backspace in the empty composer)")

    def on_click(self) -> None:
        """Ask to be removed."""
        self.post_message(self.Removed(self.media))


class Chips(HorizontalGroup):
    """The row of chips; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__(id="chips")
        self.display = False

    def show(self, media: list[Media], reading: int = 0) -> None:
        """Draw these attachments, and how many more are being read."""
        self.display = bool(media) or reading > 0
        self.remove_children()
        chips: list[Static] = [Chip(item) for item in media]
        if reading:
            chips.append(Static(f"reading {reading} …", classes="chip reading", markup=False))
        self.mount_all(chips)
