"""What was found in the data, in words: for a table, and for lines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.text import human_bytes, visible_line

if TYPE_CHECKING:
    from vlmchat.finetune.estimate import Estimate
    from vlmchat.finetune.examples import Example, Source
    from vlmchat.finetune.rendering import Renderer, Span
    from vlmchat.finetune.report import DataReport
    from vlmchat.finetune.split import Split

_FORMS = {
    "messages": "chat messages",
    "sharegpt": "ShareGPT or LLaVA",
    "prompt-completion": "prompt and completion",
    "preference": "preferences",
    "kto": "KTO",
    "vlmchat": "vlmchat",
    "chatgpt": "ChatGPT",
}
_KINDS = {"sft": "answers", "preference": "preferences", "kto": "good or bad answers"}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not used: `where` it is and `why`, each on one line."""

    where: str
    why: str

    def __str__(self) -> str:
        """Return both on one line."""
        return f"{self.where}: {self.why}"


def rows_of(report: "DataReport", parted: "Split | None") -> list[tuple[str, str]]:
    """Return the report as rows of a name and what stands for it."""
    kinds = ", ".join(f"{count:,} {_KINDS[kind]}" for kind, count in sorted(report.kinds.items()))
    usable = f"{len(report.usable):,} of {report.rows:,} usable"
    found = [
        ("Rows", f"{usable}{f': {kinds}' if kinds else ''}"),
        ("Left out", _left_out_words(report)),
    ]
    if report.forms:
        forms = (f"{count:,} {_FORMS.get(form, form)}" for form, count in report.forms.items())
        found.append(("Formats", ", ".join(visible_line(form) for form in forms)))
    found.append(("Pictures, videos", _media_words(report)))
    if report.usable:
        found += [("Tokens a row", _length_words(report)), ("Trained on", _trained_words(report))]
    if parted is not None:
        found.append(("Split", split_words(report, parted)))
    return found


def _left_out_words(report: "DataReport") -> str:
    unusable = len(report.dropped)
    parts = {
        "cannot be used": unusable,
        "twice or more": len(report.duplicates),
        "too long": len(report.oversize),
    }
    return ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "nothing"


def _media_words(report: "DataReport") -> str:
    unreadable = sum(item.why == "unreadable" for item in report.dropped)
    parts = {
        "found": report.media,
        "missing": len(report.missing),
        "outside the folder": len(report.outside),
        "unreadable": unreadable,
    }
    return ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "none"


def _length_words(report: "DataReport") -> str:
    at = report.percentiles
    return (
        f"{at[0]:,} to {at[100]:,}; half up to {at[50]:,}, 95 % up to {at[95]:,}; "
        f"{report.context:,} fit"
    )


def _trained_words(report: "DataReport") -> str:
    tokens = report.tokens
    pictures = f", {tokens.image:,} are pictures" if tokens.image else ""
    return f"{report.trained_share:.1%} of {tokens.total:,} tokens{pictures}"


def split_words(report: "DataReport", parted: "Split") -> str:
    """Return how many rows are trained on and how many only measure."""
    conversations = f"{report.groups:,} conversation{'' if report.groups == 1 else 's'}"
    measured = len(parted.validation)
    only = f"{measured:,} for validation" if measured else "none for validation"
    return f"{len(parted.train):,} to train on, {only} ({conversations})"


def left_out(report: "DataReport") -> list[LeftOut]:
    """Return every row that is not used, with file, line and reason."""
    from vlmchat.finetune.examples import Source

    sources = [Source(item.file, item.line, item.item) for item in report.dropped]
    places = _Places([*sources, *(item.source for item in report.duplicates)])
    found = [
        LeftOut(places.of(source), visible_line(item.reason))
        for source, item in zip(sources, report.dropped, strict=True)
    ]
    for item in report.duplicates:
        why = f"it says what {places.of(item.first)} says."
        found.append(LeftOut(places.of(item.source), why))
    for long in report.oversize:
        why = f"it has {long.tokens:,} tokens, and {report.context:,} fit; it is not cut."
        found.append(LeftOut(places.of(long.source), why))
    return found


class _Places:
    """Names files by their names alone, unless two have the same."""

    def __init__(self, sources: "Sequence[Source]") -> None:
        files = {source.file for source in sources}
        self._whole = len({Path(file).name for file in files}) < len(files)

    def of(self, source: "Source") -> str:
        """Return where a row is."""
        return str(source) if self._whole else place_words(source)


def place_words(source: "Source") -> str:
    """Return where an example comes from, a file by its name alone."""
    path = Path(source.file)
    return str(replace(source, file=path.name) if path.is_absolute() else source)


def previewed(example: "Example", renderer: "Renderer") -> list[tuple[str, "Sequence[Span]"]]:
    """Return an example as the model gets it: what each sequence is called, and its runs."""
    from vlmchat.finetune.report import preview

    names = {"preference": ("chosen", "rejected"), "kto": ("good" if example.label else "bad",)}
    return list(zip(names.get(example.kind, ("",)), preview(example, renderer), strict=True))


# What it costs ---------------------------------------------------------------------------------


def cost_words(cost: "Estimate") -> str:
    """Return memory, time and disk of a run on one line."""
    how = "speed measured" if cost.measured else "speed assumed"
    return (
        f"{human_bytes(cost.memory)} of memory · about {time_words(cost.seconds)} ({how}) · "
        f"{human_bytes(cost.disk)} of disk"
    )


def work_words(cost: "Estimate", rows: int) -> str:
    """Return how much is trained, and on how much, on one line."""
    return f"{cost.steps:,} steps over {rows:,} rows · {cost.parameters:,} numbers trained"


def time_words(seconds: float) -> str:
    """Return a length of time for a person: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} days {hours % 24} h"
