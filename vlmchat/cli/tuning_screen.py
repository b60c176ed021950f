"""A fine-tuning run drawn on a terminal."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vlmchat.cli.tuning_voices import Costs, cost_rows, words_of
from vlmchat.text import visible, visible_line

if TYPE_CHECKING:
    from vlmchat.finetune.events import Event
    from vlmchat.finetune.job import Job
    from vlmchat.finetune.preparing import Base
    from vlmchat.finetune.rendering import Span
    from vlmchat.finetune.report import DataReport
    from vlmchat.finetune.shelf import Adapter
    from vlmchat.talk.finetuning.watching import JobWatch

_SHOWN = 12
_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE = 60
_LASTING = ("started", "validation", "sample", "paused", "resumed", "ended")


def can_draw() -> bool:
    """Return whether standard output can be drawn on."""
    return not Console().is_dumb_terminal


class Drawn:
    """Tables, and a few lines that change while the run goes on."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._hint = ""

    def data(self, report: "DataReport", base: "Base") -> None:
        """Draw the report as a table, and below it what is left out."""
        from vlmchat.talk.finetuning.summary import left_out, rows_of

        self._table([("Model", visible_line(base.title)), *rows_of(report, None)])
        missing = left_out(report)
        if not missing:
            return
        table = _grid()
        for item in missing[:_SHOWN]:
            table.add_row(Text(item.where, "dim"), Text(item.why))
        self._console.print(Text(f"\nLeft out ({len(missing):,})", "bold"))
        self._console.print(table)
        if len(missing) > _SHOWN:
            more = f"{len(missing) - _SHOWN:,} more; --dry-run --json has them all."
            self._console.print(Text(more, "dim"))

    def sequence(self, name: str, spans: "Sequence[Span]") -> None:
        """Draw it with what is trained on underlined."""
        title = f"\nAn example{f' ({name})' if name else ''}; what is underlined is trained on"
        self._console.print(Text(title, "bold"))
        text = Text()
        for span in spans:
            text.append(visible(span.text), "bold underline green" if span.trained else "dim")
        text.rstrip()
        self._console.print(text)

    def costs(self, costs: Costs) -> None:
        """Draw what the run costs."""
        self._console.print()
        self._table(cost_rows(costs))

    def _table(self, rows: list[tuple[str, str]]) -> None:
        table = _grid()
        for name, value in rows:
            table.add_row(Text(name, "bold"), Text(value))
        self._console.print(table)

    def job(self, job: "Job") -> None:
        """Draw its name."""
        self._console.print(Text.assemble("\n", ("Job ", "bold"), visible_line(job.id)))

    def running(self, hint: str) -> AbstractContextManager[object]:
        """Draw below what is printed until the context ends."""
        self._hint = hint
        return self._running()

    @contextmanager
    def _running(self) -> Iterator[None]:
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def event(self, event: "Event", watch: "JobWatch") -> None:
        """Print what is worth keeping above the lines that change."""
        if event.event in _LASTING and (text := words_of(event, watch)):
            style = "dim" if event.event == "sample" else ""
            self._console.print(Text(text, style))

    def moment(self, watch: "JobWatch") -> None:
        """Draw where the run is."""
        if self._live is not None:
            self._live.update(self._now(watch))

    def _now(self, watch: "JobWatch") -> RenderableType:
        lines: list[RenderableType] = [Text(watch.where(), "bold", no_wrap=True)]
        if watch.steps:
            lines.append(Bar(size=1.0, begin=0.0, end=watch.share, color="green"))
        if losses := watch.losses():
            lines.append(Text(losses, no_wrap=True, overflow="ellipsis"))
        if curve := curve_of([loss for _, loss in watch.training]):
            lines.append(Text(curve, "green", no_wrap=True))
        if figures := watch.figures():
            lines.append(Text(figures, "dim", no_wrap=True, overflow="ellipsis"))
        lines.append(Text(self._hint, "dim"))
        return Group(*lines)

    def adapter(self, adapter: "Adapter", job: "Job") -> None:
        """Draw its name, and how it is used."""
        name = visible_line(adapter.name)
        self._console.print(Text.assemble(("Adapter ", "bold"), (name, "bold green")))
        self._console.print(Text(f"In the chat: /adapter {name}"))
        self._console.print(Text(f"From here:   vlmchat ask --adapter {name} …"))


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def curve_of(values: Sequence[float], width: int = _CURVE) -> str:
    """Return a curve in blocks, `width` of them at most; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    count = min(width, len(values))
    edges = [round(place * len(values) / count) for place in range(count + 1)]
    parts = [values[a:b] for a, b in pairwise(edges)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round((mean - low) / span * top)] for mean in means)
