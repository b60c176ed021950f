"""All metrics by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlmchat.errors import UsageError
from vlmchat.evaluate.metrics import choices, cider, texts, vqa
from vlmchat.evaluate.metrics.judged import Judged
from vlmchat.text import visible_line

MetricName: TypeAlias = Literal["exact", "relaxed", "anls", "vqa", "choice", "contains", "cider"]


@dataclass(frozen=True, slots=True)
class Metric:
    """How answers are scored.

    Attributes:
        name: of the metric.
        title: what a person reads.
        whole: each answer is right or wrong, 1 or 0, and nothing between.
        most: the score of a perfect answer.
        scores: the score of each answer of a set, in order.
        fewest: right answers that each question must have.
        options: whether each question must have options.
    """

    name: MetricName
    title: str
    whole: bool
    scores: Callable[[Sequence[Judged]], list[float]]
    most: float = 1.0
    fewest: int = 1
    options: bool = False

    def check(self, question: str, answers: Sequence[str], options: Sequence[str]) -> None:
        """Check that a question of a set can be scored.

        Raises:
            UsageError: it cannot; the sentence says what it lacks.
        """
        shown = visible_line(question[:60])
        if len(answers) < self.fewest:
            raise UsageError(
                f"“{shown}” has {len(answers)} right answers, and {self.name} compares with those "
                f"of at least {self.fewest} people: choose --metric exact, for one."
            )
        if not self.options:
            return
        if len(options) < 2:
            raise UsageError(
                f"“{shown}” has no options to choose from: choose another metric, as exact."
            )
        by_letter = choices.letters(options)
        if not any(choices.meant(answer, by_letter) for answer in answers):
            raise UsageError(f"The right answer to “{shown}” is none of its options.")


def _each(score: Callable[[Judged], float]) -> Callable[[Sequence[Judged]], list[float]]:
    return lambda judged: [score(each) for each in judged]


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("exact", "exact match", True, _each(texts.exact)),
        Metric("relaxed", "relaxed accuracy", True, _each(texts.relaxed)),
        Metric("anls", "ANLS", False, _each(texts.anls)),
        Metric("vqa", "VQA consensus", False, _each(vqa.consensus), fewest=vqa.FEWEST),
        Metric("choice", "right options", True, _each(choices.choice), options=True),
        Metric("contains", "answers that contain the right one", True, _each(texts.contains)),
        Metric("cider", "CIDEr-D", False, cider.cider, most=10.0),
    )
}


def metric_named(name: str) -> Metric:
    """Return a metric.

    Raises:
        UsageError: there is none of that name.
    """
    if (metric := METRICS.get(name)) is None:
        known = ", ".join(METRICS)
        raise UsageError(f"There is no metric “{visible_line(name)}”: there are {known}.")
    return metric
