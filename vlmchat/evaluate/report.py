"""A report to read in a terminal, and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmchat.evaluate.results import Comparison, Result, Share, by_kind
from vlmchat.evaluate.rows import Row
from vlmchat.text import visible_line

_EXCERPT = 100


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an evaluation.

    Attributes:
        set: the set's name.
        kind: what was recognised.
        notes: what was left out, and what else is to be known of the set.
        results: one or two models.
        comparison: of the two.
        stopped: questions that were not asked, because the run was stopped.
    """

    set: str
    kind: str
    notes: tuple[str, ...]
    results: tuple[Result, ...]
    comparison: Comparison | None = None
    stopped: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return all figures."""
        return {
            "set": self.set,
            "kind": self.kind,
            "notes": list(self.notes),
            "not_asked": self.stopped,
            "results": [each.as_json() for each in self.results],
            "comparison": self.comparison.as_json() if self.comparison else None,
        }

    @property
    def title(self) -> str:
        """What was done, on one line."""
        metric = self.results[0].metric
        count = self.results[0].score.count
        return f"{visible_line(self.set)}: {count:,} questions, {metric.title} ({metric.name})"

    def lines(self, most_wrong: int = 0) -> list[str]:
        """Return the report as lines, a table among them.

        Args:
            most_wrong: wrong answers of the last model that are shown.
        """
        found = [self.title, "", *table(self.results)]
        if any(each.categories for each in self.results):
            found += ["", *_kinds(self.results)]
        if sentences := self.sentences():
            found += ["", *sentences]
        if wrong := self.wrong_lines(most_wrong):
            found += ["", *wrong]
        return found

    def wrong_lines(self, most: int) -> list[str]:
        """Return the worst answers of the last model as lines, at most so many."""
        wrong = self.results[-1].wrong
        if not most or not wrong:
            return []
        head = f"Not right ({min(most, len(wrong))} of {len(wrong):,}):"
        return [head, *(wrong_line(row) for row in wrong[:most])]

    def sentences(self) -> list[str]:
        """Return what is to be said in words: what the comparison means, and what to know."""
        found = [visible_line(self.comparison.sentence())] if self.comparison else []
        found += [visible_line(note) for note in self.notes]
        if self.stopped:
            found.append(f"It was stopped: {self.stopped:,} questions were not asked.")
        for each in self.results:
            if each.failed:
                error = next(row.error for row in each.rows if row.error)
                found.append(
                    f"{_label(each)} left {_questions(each.failed)} without an answer, which count "
                    f"as wrong: {visible_line(error)}"
                )
            if each.cut:
                found.append(
                    f"{_answers(each.cut)} of {_label(each)} reached the most tokens that were "
                    "allowed (--max-new-tokens)."
                )
        return found

    def spoken(self) -> list[str]:
        """Return the report as sentences, for who hears it."""
        found = [f"{self.title}."]
        for each in self.results:
            share = each.score
            found.append(
                f"{_label(each)}: {100 * share.mean:.1f}, 95 % interval {100 * share.low:.1f} to "
                f"{100 * share.high:.1f}."
            )
        for name, shares in by_kind(self.results).items():
            figures = ", ".join("none" if s is None else f"{100 * s.mean:.1f}" for s in shares)
            found.append(f"{visible_line(name)}: {figures}.")
        return [*found, *self.sentences()]


def table(results: Sequence[Result]) -> list[str]:
    """Return the figures of each model as lines, all in hundredths."""
    whole = any(each.wilson is not None for each in results)
    # No line begins with a space: a narrow screen that wraps lines would leave it out.
    lines = [f"score  95 % interval  {'Wilson         ' if whole else ''}     n  s/answer"]
    for each in results:
        share = each.score
        cells = f"{100 * share.mean:<5.1f}  {_between(share.low, share.high):13}"
        if whole:
            cells += f"  {_between(*each.wilson) if each.wilson else '':13}"
        lines.append(f"{cells}  {share.count:6}  {each.seconds:8.2f}  {_label(each)}")
    return lines


def _kinds(results: Sequence[Result]) -> list[str]:
    found = by_kind(results)
    return [
        f"{'  '.join(_figure(share) for share in shares)}  {visible_line(name)}"
        for name, shares in found.items()
    ]


def _figure(share: Share | None) -> str:
    if share is None:
        return f"{'none':28}"
    return f"{100 * share.mean:<5.1f}  {_between(share.low, share.high):13}  {share.count:6}"


def _between(low: float, high: float) -> str:
    return f"{100 * low:.1f}–{100 * high:.1f}"


def _label(each: Result) -> str:
    return visible_line(each.label)


def wrong_line(row: Row) -> str:
    """Return a question, what was said, and what is right, on one line."""
    question = _short(row.question.split("\n", 1)[0])
    right = _short(row.answers[0]) + (" …" if len(row.answers) > 1 else "")
    said = visible_line(row.error) if row.error else f"“{_short(row.said)}”"
    pictures = f"{visible_line(', '.join(row.pictures))}: " if row.pictures else ""
    return f"{pictures}{question} {said}, right is “{right}”"


def _short(text: str) -> str:
    shown = visible_line(" ".join(text.split()))
    return shown if len(shown) <= _EXCERPT else f"{shown[:_EXCERPT]}…"


def _questions(count: int) -> str:
    return "1 question" if count == 1 else f"{count:,} questions"


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count:,} answers"
