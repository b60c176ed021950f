"""The attachments of the next question, and what they cost."""

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from vlmchat.chat.messages import Attachment, ImagePart, Media
from vlmchat.text import human_bytes, visible_line

_BRIEF = 20
_SHORTEST = 8
# The border of the prompt, its padding and its margin.
_AROUND = 6


def describe(media: Media) -> str:
    """Return a picture's name, size in pixels and size in bytes, safe to show."""
    size = human_bytes(media.size)
    return f"{visible_line(media.name)}  {media.width}×{media.height} · {size}"


def describe_item(item: Attachment) -> str:
    """Return what `describe` does, and which part of a picture is meant."""
    media = item.media
    if not isinstance(item, ImagePart) or item.region is None:
        return describe(media)
    part = f"part {item.region.width}×{item.region.height} of {media.width}×{media.height}"
    return f"{visible_line(media.name)}  {part} · {human_bytes(media.size)}"


def _shortened(name: str, most: int) -> str:
    return name if cell_len(name) <= most else set_cell_size(name, most - 1).rstrip() + "…"


def whole_text(item: Attachment, facts: Sequence[str], room: int) -> str:
    """Return all there is to say about one attachment, its name shortened to the room there is.

    Args:
        item: the attachment.
        facts: what it costs.
        room: cells.
    """
    name = visible_line(item.media.name)
    rest = describe_item(item)[len(name) :]
    text = " · ".join((rest, *facts))
    if cell_len(text) + _SHORTEST > room:  # the size in bytes matters least
        media = item.media
        text = text.replace(f" · {human_bytes(media.size)}", "", 1)
    return _shortened(name, max(_SHORTEST, room - cell_len(text))) + text


def brief_text(item: Attachment, number: int, facts: Sequence[str], most: int = _BRIEF) -> str:
    """Return one of several attachments: its number, its name in `most` cells, its tokens."""
    part = isinstance(item, ImagePart) and item.region is not None
    pieces = [f"{number} {_shortened(visible_line(item.media.name), most)}"]
    pieces += ["part"] if part else []
    pieces += [fact for fact in facts if "token" in fact] or list(facts[:1])
    return " · ".join(pieces)


class Chip(Static):
    """One attachment; a click removes it.

    Args:
        item: what it stands for.
        text: what it says.
        about: what it says when it is pointed at.
    """

    class Removed(Message):
        """The person clicked the chip away."""

        def __init__(self, item: Attachment) -> None:
            super().__init__()
            self.item = item

    def __init__(self, item: Attachment, text: str, about: str = "") -> None:
        super().__init__(Content(f"▣ {text}  ×"), classes="chip")
        self.item = item
        above = f"{about}\n" if about else ""
        self.tooltip = Content(f"{above}Click to remove (or Backspace in the empty composer)")

    def on_click(self) -> None:
        """Ask to be removed."""
        self.post_message(self.Removed(self.item))


class Chips(VerticalGroup):
    """The row of chips, and below it what is wrong with them; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__(id="chips")
        self.display = False
        self._shown: object = None
        self._warning = Static("", id="chips-warning", markup=False)
        self._warning.display = False

    def compose(self) -> ComposeResult:
        """Lay out the row and the warning."""
        yield HorizontalGroup(id="chips-row")
        yield self._warning

    def show(
        self,
        items: Sequence[Attachment],
        reading: int = 0,
        facts: Callable[[Attachment], list[str]] = lambda _: [],
        total: str = "",
        warning: str = "",
    ) -> None:
        """Draw these attachments, and how many more are being read.

        Args:
            items: what is attached.
            reading: how many more will be.
            facts: returns what one costs, in short parts.
            total: what several cost together.
            warning: what is wrong with them; empty for nothing.
        """
        told = [facts(item) for item in items]
        state = (tuple(items), reading, told, total, warning, self.app.size.width)
        if state == self._shown:
            return  # the engine tells often how it stands
        self._shown = state
        self.display = bool(items) or reading > 0
        self._warning.update(Content(f"⚠ {warning}"))
        self._warning.display = bool(warning and items)
        row = self.query_one("#chips-row")
        row.remove_children()
        row.mount_all(self._chips(items, told, reading, total))

    def _chips(
        self, items: Sequence[Attachment], told: list[list[str]], reading: int, total: str
    ) -> list[Static]:
        room = self.app.size.width - _AROUND
        last: list[Static] = []
        if len(items) > 1 and total:
            last.append(_note(total))
        if reading:
            last.append(_note(f"reading {reading} …"))
        room -= sum(_width(chip) for chip in last)
        if len(items) == 1:
            text = whole_text(items[0], told[0], room - 8)
            return [Chip(items[0], text, describe_item(items[0])), *last]
        # Rather all of them without their figures, which the total has, than some with.
        for figures, most in ((True, _BRIEF), (False, _BRIEF), (False, _SHORTEST)):
            chips = [
                _brief_chip(item, number, facts, most, figures=figures)
                for number, (item, facts) in enumerate(zip(items, told, strict=True), 1)
            ]
            if sum(map(_width, chips)) <= room:
                return [*chips, *last]
        return [*_last_ones(chips, room), *last]


def _brief_chip(
    item: Attachment, number: int, facts: list[str], most: int, *, figures: bool
) -> Static:
    about = " · ".join((describe_item(item), *facts))
    return Chip(item, brief_text(item, number, facts if figures else (), most), about)


def _last_ones(chips: list[Static], room: int) -> list[Static]:
    """Return as many of the last chips as fit, and how many there are before them.

    The last ones are what was just attached, and what Backspace takes.
    """
    more = _note(f"{len(chips)} more and")
    room -= _width(more)
    kept: list[Static] = []
    for chip in reversed(chips):
        room -= _width(chip)
        if kept and room < 0:
            break
        kept.insert(0, chip)
    more.update(Content(f"{len(chips) - len(kept)} more and"))
    return [more, *kept]


def _note(text: str) -> Static:
    return Static(text, classes="chip reading", markup=False)


def _width(chip: Static) -> int:
    """Return the cells a chip takes, with its padding and the gap behind it."""
    return cell_len(str(chip.content)) + 3
