"""How ``vlmchat finetune`` tells what it does: drawn on a terminal, in lines, or as JSON rows.

The rows of ``--json``, one JSON object a line on standard output, in this order:

* ``{"event": "data", …}``: what was read, each row accounted for;
* ``{"event": "estimate", …}``: what the run costs, the settings, and whether it ``fits``;
* ``{"event": "job", "id", "folder"}``: which job it is;
* every event of the trainer, as it stands in the job's ``events.jsonl``
  (`vlmchat.finetune.events.json_schema`);
* ``{"event": "adapter", "name", "folder", "job"}``: what is on the shelf.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vlmchat.text import human_bytes, visible, visible_line

if TYPE_CHECKING:
    from vlmchat.finetune.estimate import Estimate
    from vlmchat.finetune.events import Event
    from vlmchat.finetune.examples import Source
    from vlmchat.finetune.job import Job
    from vlmchat.finetune.preparing import Base
    from vlmchat.finetune.rendering import Span
    from vlmchat.finetune.report import DataReport
    from vlmchat.finetune.settings import RunSettings
    from vlmchat.finetune.shelf import Adapter
    from vlmchat.finetune.split import Split
    from vlmchat.talk.finetuning.watching import JobWatch

_LEFT_OUT_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Costs:
    """A run before it is started.

    Attributes:
        base: what is trained.
        device: it is trained on.
        settings: of the run.
        estimate: what it costs.
        split: its two sides.
        suggestion: the nearest settings that fit, where these do not.
        error: why it does not fit; empty where it does.
    """

    base: "Base"
    device: str
    settings: "RunSettings"
    estimate: "Estimate"
    split: "Split"
    suggestion: "RunSettings | None" = None
    error: str = ""


class Voice(Protocol):
    """Tells a person or a program what happens."""

    def data(self, report: "DataReport", base: "Base") -> None:
        """Tell what was read."""

    def sequence(self, name: str, spans: "Sequence[Span]") -> None:
        """Show a sequence as the model gets it, and what of it is trained on."""

    def costs(self, costs: Costs) -> None:
        """Tell what the run costs."""

    def job(self, job: "Job") -> None:
        """Tell which job it is."""

    def running(self, hint: str) -> AbstractContextManager[object]:
        """Return a context in which the trainer is followed; `hint` says what Ctrl+C does."""

    def event(self, event: "Event", watch: "JobWatch") -> None:
        """Tell what the trainer told."""

    def moment(self, watch: "JobWatch") -> None:
        """Show where the run is; called often."""

    def adapter(self, adapter: "Adapter", job: "Job") -> None:
        """Tell what came of it."""


def note(text: str) -> None:
    """Print a remark where it does not mix with what is told."""
    print(text, file=sys.stderr, flush=True)


def _usage(adapter: "Adapter") -> str:
    return f"vlmchat ask --adapter {visible_line(adapter.name)} …"


class Lines:
    """Plain lines on standard output: for pipes, simple terminals and screen readers."""

    def _say(self, text: str) -> None:
        print(visible(text) if sys.stdout.isatty() else text, flush=True)

    def data(self, report: "DataReport", base: "Base") -> None:
        """Print the report, then what is left out."""
        from vlmchat.talk.finetuning.summary import left_out, rows_of

        self._say(f"Model: {visible_line(base.title)}")
        for name, value in rows_of(report, None):
            self._say(f"{name}: {value}")
        missing = left_out(report)
        for item in missing[:_LEFT_OUT_SHOWN]:
            self._say(f"Left out: {item}")
        if len(missing) > _LEFT_OUT_SHOWN:
            self._say(f"Left out: {len(missing) - _LEFT_OUT_SHOWN:,} more; --json has them all.")

    def sequence(self, name: str, spans: "Sequence[Span]") -> None:
        """Print it with what is trained on in double brackets."""
        text = "".join(f"⟦{span.text}⟧" if span.trained else span.text for span in spans)
        self._say(f"An example{f' ({name})' if name else ''}, trained on what is in ⟦ ⟧:")
        self._say(text.rstrip("\n"))

    def costs(self, costs: Costs) -> None:
        """Print what the run costs."""
        for name, value in cost_rows(costs):
            self._say(f"{name}: {value}")

    def job(self, job: "Job") -> None:
        """Print its name."""
        self._say(f"Job: {visible_line(job.id)}")

    def running(self, hint: str) -> AbstractContextManager[object]:
        """Need nothing."""
        return nullcontext()

    def event(self, event: "Event", watch: "JobWatch") -> None:
        """Print it, if it says something to a person."""
        if text := words_of(event, watch):
            self._say(text)

    def moment(self, watch: "JobWatch") -> None:
        """Show nothing between the lines."""

    def adapter(self, adapter: "Adapter", job: "Job") -> None:
        """Print its name, and how it is used."""
        self._say(f"Adapter: {visible_line(adapter.name)}")
        self._say(f"Use it: {_usage(adapter)}")


class Rows:
    """JSON objects on standard output, one a line."""

    def _say(self, row: dict[str, Any]) -> None:
        # Files are UTF-8 with \n, whatever the locale and the system say; half a surrogate pair
        # in a file's name cannot be written in it.
        data = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")
        sys.stdout.buffer.write(data + b"\n")
        sys.stdout.buffer.flush()

    def data(self, report: "DataReport", base: "Base") -> None:
        """Print the whole report."""
        self._say({"event": "data", "base": asdict(base.ref), **report_row(report)})

    def sequence(self, name: str, spans: "Sequence[Span]") -> None:
        """Print its runs."""
        self._say({"event": "example", "of": name, "spans": [asdict(span) for span in spans]})

    def costs(self, costs: Costs) -> None:
        """Print what the run costs."""
        fits = not costs.error
        row: dict[str, Any] = {"event": "estimate", "fits": fits}
        row |= asdict(costs.estimate)
        row["memory"] = costs.estimate.memory
        row["rows"], row["validation_rows"] = len(costs.split.train), len(costs.split.validation)
        row["device"], row["settings"] = costs.device, costs.settings.model_dump()
        if costs.suggestion is not None:
            row["suggestion"] = costs.suggestion.model_dump()
        self._say(row)

    def job(self, job: "Job") -> None:
        """Print its name and folder."""
        self._say({"event": "job", "id": job.id, "folder": str(job.folder)})

    def running(self, hint: str) -> AbstractContextManager[object]:
        """Need nothing."""
        return nullcontext()

    def event(self, event: "Event", watch: "JobWatch") -> None:
        """Print it as the trainer wrote it."""
        self._say(event.model_dump())

    def moment(self, watch: "JobWatch") -> None:
        """Show nothing between the rows."""

    def adapter(self, adapter: "Adapter", job: "Job") -> None:
        """Print its name and folder."""
        row = {"event": "adapter", "name": adapter.name, "folder": str(adapter.folder)}
        self._say({**row, "job": job.id})


def cost_rows(costs: Costs) -> list[tuple[str, str]]:
    """Return what a run is and costs as rows of a name and what stands for it."""
    from vlmchat.talk.finetuning.summary import cost_words, work_words

    parted, settings = costs.split, costs.settings
    measured = f"{len(parted.validation):,} measure" if parted.validation else "none measures"
    return [
        ("Method", f"{settings.method}, {settings.adapter}, on {costs.device}"),
        ("Split", f"{len(parted.train):,} rows are trained on, {measured}"),
        ("Work", work_words(costs.estimate, len(parted.train))),
        ("Needs", cost_words(costs.estimate)),
    ]


def report_row(report: "DataReport") -> dict[str, Any]:
    """Return a data report as a JSON object; every row that was found is in it."""
    tokens = report.tokens
    return {
        "rows": report.rows,
        "usable": len(report.usable),
        "kinds": report.kinds,
        "forms": dict(report.forms),
        "conversations": report.groups,
        "media": report.media,
        "missing": [str(path) for path in report.missing],
        "outside": [str(path) for path in report.outside],
        "context": report.context,
        "tokens": {"total": tokens.total, "image": tokens.image, "trained": tokens.trained},
        "trained_share": report.trained_share,
        "percentiles": {str(key): value for key, value in report.percentiles.items()},
        "dropped": [
            {
                **{"file": item.file, "line": item.line, "item": item.item, "why": item.why},
                **{"reason": item.reason, "path": str(item.path) if item.path else None},
            }
            for item in report.dropped
        ],
        "duplicates": [
            {**_place(item.source), "first": _place(item.first)} for item in report.duplicates
        ],
        "oversize": [{**_place(item.source), "tokens": item.tokens} for item in report.oversize],
    }


def _place(source: "Source") -> dict[str, Any]:
    return {"file": source.file, "line": source.line, "item": source.item}


def words_of(event: "Event", watch: "JobWatch") -> str:
    """Return what an event says to a person on one line; empty for nothing."""
    from vlmchat.talk.finetuning.summary import time_words

    match event.event:
        case "started":
            after = f", after step {event.from_step:,}" if event.from_step else ""
            return (
                f"The trainer begins on {visible_line(event.device)}: {event.steps:,} steps over "
                f"{event.rows:,} rows, {event.parameters:,} numbers trained{after}."
            )
        case "step":
            parts = [f"Step {event.step:,}" + (f" of {watch.steps:,}" if watch.steps else "")]
            parts.append("loss " + ("none" if event.loss is None else f"{event.loss:.4g}"))
            parts.append(f"learning rate {event.learning_rate:.2g}")
            if event.tokens_per_second:
                parts.append(f"{event.tokens_per_second:,.0f} tokens/s")
            if event.memory:
                parts.append(human_bytes(event.memory))
            if (left := watch.seconds_left) is not None:
                parts.append(f"{time_words(left)} left")
            return ", ".join(parts)
        case "validation":
            loss = "none" if event.loss is None else f"{event.loss:.4g}"
            best = ", the best so far" if event.best else ""
            return f"Validation at step {event.step:,}: loss {loss}{best}"
        case "sample":
            text = visible_line(event.text.strip())
            return f"Answer {event.index + 1} at step {event.step:,}: {text}"
        case "paused":
            return f"Paused at step {event.step:,}."
        case "resumed":
            return f"Going on after step {event.step:,}."
        case _:
            return ended_words(event)


def ended_words(event: "Event") -> str:
    """Return how a run ended on one line; empty for other events."""
    if event.event != "ended":
        return ""
    kept = f", the adapter of step {event.best_step:,} is kept" if event.best_step else ""
    how = {
        "finished": "All steps are done",
        "early": f"Stopped at step {event.step:,}: the validation loss fell no more",
        "stopped": f"Stopped at step {event.step:,}, as asked",
        "cancelled": f"Cancelled at step {event.step:,}: there is no adapter",
    }
    return f"{how[event.reason]}{'' if event.reason == 'cancelled' else kept}."


def voice(as_json: bool) -> Voice:
    """Return the voice for where standard output goes."""
    if as_json:
        return Rows()
    if sys.stdout.isatty():
        from vlmchat.cli.tuning_screen import Drawn, can_draw

        if can_draw():
            return Drawn()
    return Lines()
