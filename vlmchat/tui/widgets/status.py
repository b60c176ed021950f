"""What the engine is, how it stands, and how full the conversation is."""

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import HorizontalGroup
from textual.content import Content
from textual.widgets import ProgressBar, Static

from vlmchat.client.protocol import EngineStatus, ModelInfo
from vlmchat.text import visible_line
from vlmchat.tui.motion import is_reduced

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
    """

    state: str = "starting"
    model: ModelInfo | None = None
    used: int = 0
    limit: int = 0
    speed: float | None = None


class StatusBar(Static):
    """One line; what matters least gives way when the terminal is narrow."""

    def __init__(self) -> None:
        super().__init__(id="status", markup=False)
        self._facts = StatusFacts()

    def show(self, facts: StatusFacts) -> None:
        """Draw these facts."""
        self._facts = facts
        self.refresh()

    def render(self) -> Content:
        """Return the line that fits."""
        facts = self._facts
        sign = {"ready": "●", "failed": "✗"}.get(facts.state, "◐")
        left = [f"{sign} {facts.state}", *_model_parts(facts.model)]
        right = _figures(facts)
        width = self.content_size.width or 80
        # Dropped in this order until the line fits: speed, device, quantization.
        while len(_joined(left)) + len(_joined(right)) + 2 > width and len(left) + len(right) > 2:
            (right if len(right) > 1 else left).pop()
        gap = max(2, width - len(_joined(left)) - len(_joined(right)))
        return Content(_joined(left) + " " * gap + _joined(right))


def _joined(parts: list[str]) -> str:
    return " · ".join(parts)


def _model_parts(model: ModelInfo | None) -> list[str]:
    if model is None:
        return []
    precision = model.dtype if model.quantization in ("", "none") else model.quantization
    parts = [model.title, precision, model.device]
    if model.adapter:
        parts.append(f"adapter {model.adapter}")
    return [visible_line(part) for part in parts if part]


def _figures(facts: StatusFacts) -> list[str]:
    parts: list[str] = []
    if facts.limit:
        parts.append(f"context {facts.used}/{facts.limit}")
    elif facts.used:
        parts.append(f"context {facts.used}")
    if facts.speed is not None:
        parts.append(f"{facts.speed:.1f} tokens/s")
    return parts


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
