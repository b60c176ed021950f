"""What the engine is, how it stands, and how full the conversation is."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.containers import HorizontalGroup
from textual.content import Content
from textual.message import Message
from textual.widgets import ProgressBar, Static

from vlmchat.client.protocol import EngineStatus, ModelInfo
from vlmchat.talk.turns.tree import seconds_text
from vlmchat.text import human_bytes, visible_line
from vlmchat.tui.motion import is_reduced

MEASURE_SECONDS = 3.0
_BUSY = {"starting", "downloading", "converting", "loading", "quantizing"}


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """What the status bar shows.

    Attributes:
        state: a word: ``ready``, ``answering``, ``loading`` and the like.
        model: what answers.
        used: tokens of context in use.
        limit: tokens of context there are.
        speed: tokens per second of the last answer.
        first_token: seconds until the last answer began.
        watching: what is being watched; empty for nothing.
        tuning: how far a fine-tuning job, an evaluation or a search is; empty for nothing.
    """

    state: str = "starting"
    model: ModelInfo | None = None
    used: int = 0
    limit: int = 0
    speed: float | None = None
    first_token: float | None = None
    watching: str = ""
    tuning: str = ""


class StatusBar(Static):
    """One line; what matters least gives way when the terminal is narrow."""

    def __init__(self) -> None:
        super().__init__(id="status", markup=False)
        self._facts = StatusFacts()
        self._pid: Callable[[], int | None] = lambda: None
        self._memory: int | None = None

    def show(self, facts: StatusFacts) -> None:
        """Draw these facts."""
        self._facts = facts
        self.refresh()

    def measure(self, pid: Callable[[], int | None]) -> None:
        """Show from now on how much memory a process takes, while there is one.

        Args:
            pid: returns its number; asked again every time.
        """
        self._pid = pid
        self.set_interval(MEASURE_SECONDS, self._measure)

    def _measure(self) -> None:
        pid = self._pid()
        if pid is None:
            self._measured(None)
        else:
            self.run_worker(self._ask(pid), group="memory", exclusive=True)

    async def _ask(self, pid: int) -> None:
        size = await asyncio.to_thread(memory_of, pid)
        # It may have ended meanwhile.
        self._measured(size if self._pid() == pid else None)

    def _measured(self, size: int | None) -> None:
        if size != self._memory:
            self._memory = size
            self.refresh()

    def render(self) -> Content:
        """Return the line that fits."""
        return Content(status_line(self._facts, self._memory, self.content_size.width or 80))


def memory_of(pid: int) -> int | None:
    """Return how many bytes of main memory a process occupies; none when there is no such."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


# What gives way in turn, until the line fits; from "name" on, the model's is shortened too.
_SPARED = ("memory", "first token", "device", "words", "adapter", "name")
_LAST = ("precision", "speed", "context")
_SHORTEST_NAME = 12


def status_line(facts: StatusFacts, memory: int | None, width: int) -> str:
    """Return the status in `width` cells, as far as it fits.

    Args:
        facts: what there is to say.
        memory: bytes that the engine occupies, if it is ours.
        width: cells there are.
    """
    whole = cell_len(visible_line(facts.model.title)) if facts.model else 0
    line, gone = "", set[str]()
    for name in ("", *_SPARED, *_LAST):
        gone.add(name)
        line = _line(facts, memory, gone, whole, width)
        over = cell_len(line) - width
        if over > 0 and "name" in gone:
            line = _line(facts, memory, gone, max(_SHORTEST_NAME, whole - over), width)
        if cell_len(line) <= width:
            return line
    return set_cell_size(line, width).rstrip()


def _line(facts: StatusFacts, memory: int | None, gone: set[str], name: int, width: int) -> str:
    """Return the line without what is `gone`, the model's name in at most `name` cells."""
    sign = {"ready": "●", "failed": "✗", "unloaded": "○"}.get(facts.state, "◐")
    state = [f"{sign} {facts.state}"]
    if facts.watching:
        # What is watched is known to whoever watches it: its name goes before the model's does.
        whole_name = "adapter" not in gone
        watching = facts.watching if whole_name else facts.watching.partition(" ")[0]
        state.append(visible_line(watching))
    if facts.tuning:
        state.append(facts.tuning)
    left = " · ".join([*state, *_model_parts(facts.model, gone, name)])
    right = " · ".join(_figures(facts, memory, gone))
    gap = max(2, width - cell_len(left) - cell_len(right))
    return f"{left}{' ' * gap}{right}".rstrip()


def _model_parts(model: ModelInfo | None, gone: set[str], most: int) -> list[str]:
    if model is None:
        return []
    title = visible_line(model.title)
    if cell_len(title) > most:
        title = set_cell_size(title, most - 1).rstrip() + "…"
    precision = model.dtype if model.quantization in ("", "none") else model.quantization
    adapter = f"adapter {model.adapter}" if model.adapter else ""
    named = {"precision": precision, "device": model.device, "adapter": adapter}
    rest = (visible_line(part) for name, part in named.items() if part and name not in gone)
    return [title, *rest]


def _figures(facts: StatusFacts, memory: int | None, gone: set[str]) -> list[str]:
    context, speed = ("ctx", "tok/s") if "words" in gone else ("context", "tokens/s")
    parts: dict[str, str] = {}
    if facts.limit:
        parts["context"] = f"{context} {facts.used}/{facts.limit}"
    elif facts.used:
        parts["context"] = f"{context} {facts.used}"
    if facts.speed is not None:
        parts["speed"] = f"{facts.speed:.1f} {speed}"
    if facts.first_token is not None:
        parts["first token"] = f"first token {seconds_text(facts.first_token)}"
    if memory is not None:
        parts["memory"] = f"engine {human_bytes(memory)}"
    return [part for name, part in parts.items() if name not in gone]


class LoadingLine(HorizontalGroup):
    """What the engine is doing before it is ready, with a bar."""

    def __init__(self) -> None:
        super().__init__(id="loading")

    def compose(self) -> ComposeResult:
        """Lay out words, bar and count."""
        yield Static("Starting", id="loading-text", markup=False)
        bar = ProgressBar(show_eta=False, show_percentage=False, id="loading-bar")
        bar.display = False  # until it is known whether one without an end may move
        yield bar
        yield Static("", id="loading-count", markup=False)

    def show(self, status: EngineStatus) -> None:
        """Draw this status; hide when there is nothing to wait for."""
        self.display = status.stage in _BUSY
        text = visible_line(status.text) or status.stage.capitalize()
        self.query_one("#loading-text", Static).update(text)
        bar = self.query_one(ProgressBar)
        bar.display = bool(status.total) or not is_reduced(self.app)
        bar.update(total=status.total or None, progress=status.done)
        self.query_one("#loading-count", Static).update(progress_text(status))


def progress_text(status: EngineStatus) -> str:
    """Return how far it is (``41 of 93 MB`` or ``3 of 12``); empty when there is no measure."""
    if not status.total:
        return ""
    # Steps are few; anything in the millions is bytes.
    if status.stage == "downloading" or status.total >= 1e6:
        unit, name = (1e9, "GB") if status.total >= 1e9 else (1e6, "MB")
        digits = 1 if unit == 1e9 else 0
        return f"{status.done / unit:.{digits}f} of {status.total / unit:.{digits}f} {name}"
    return f"{status.done} of {status.total}"


class StandingWarning(Static):
    """A sentence that stays: something is wrong for as long as the chat runs."""

    def __init__(self) -> None:
        super().__init__(id="warning", markup=False)
        self.display = False

    def say(self, sentence: str) -> None:
        """Show the sentence."""
        self.update(Content(f"⚠ {visible_line(sentence)}"))
        self.display = True


class NewText(Static):
    """Says that there is newer text below what is looked at; a click leads there."""

    class Wanted(Message):
        """The person wants to see it."""

    def __init__(self) -> None:
        super().__init__("↓ new text below (Page Down, or click here)", id="behind")

    def on_click(self) -> None:
        """Ask to be led there."""
        self.post_message(self.Wanted())
