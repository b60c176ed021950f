"""What the answers of one model are worth, and what two models have between them."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmchat.errors import UsageError
from vlmchat.evaluate.intervals import bootstrap, mcnemar, permutation, wilson
from vlmchat.evaluate.metrics.registry import Metric
from vlmchat.evaluate.rows import Head, Row, scored

LEVEL = 0.05  # below which a difference is called significant


@dataclass(frozen=True, slots=True)
class Share:
    """A figure with its interval, all from 0 to the metric's most."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Result:
    """One model on a set.

    Attributes:
        head: who was asked, and how.
        metric: that it is scored by.
        rows: the questions, in the set's order, with their scores.
        score: the mean, with its bootstrap interval.
        wilson: of a metric that is right or wrong, the score interval, which does not shrink to
            nothing where all answers are right, or none; else ``None``.
        categories: the same of each kind of question, where there are several.
    """

    head: Head
    metric: Metric
    rows: tuple[Row, ...]
    score: Share
    wilson: tuple[float, float] | None
    categories: dict[str, Share]

    @property
    def label(self) -> str:
        """Who was asked, for a person."""
        return self.head.label

    @property
    def wrong(self) -> list[Row]:
        """The answers that are not wholly right, the worst first."""
        found = [row for row in self.rows if (row.score or 0.0) < self.metric.most - 1e-9]
        return sorted(found, key=lambda row: row.score or 0.0)

    @property
    def failed(self) -> int:
        """Questions without an answer; they count as wrong."""
        return sum(bool(row.error) for row in self.rows)

    @property
    def cut(self) -> int:
        """Answers that were cut off at the most tokens."""
        return sum(row.finish == "length" for row in self.rows)

    @property
    def seconds(self) -> float:
        """The mean time of an answer."""
        answered = [row.seconds for row in self.rows if not row.error]
        return sum(answered) / len(answered) if answered else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        values: dict[str, Any] = {
            "label": self.label,
            "model": self.head.model,
            "revision": self.head.revision,
            "quantization": self.head.quantization,
            "adapter": self.head.adapter,
            "metric": self.metric.name,
            **_share_json(self.score),
            "errors": self.failed,
            "cut": self.cut,
            "seconds_per_answer": round(self.seconds, 3),
            "asking": self.head.asking,
        }
        if self.wilson is not None:
            values |= {"wilson_low": round(self.wilson[0], 6)}
            values |= {"wilson_high": round(self.wilson[1], 6)}
        if self.categories:
            values["categories"] = {
                name: _share_json(share) for name, share in self.categories.items()
            }
        return values


def _share_json(share: Share) -> dict[str, Any]:
    return {
        "score": round(share.mean, 6),
        "low": round(share.low, 6),
        "high": round(share.high, 6),
        "questions": share.count,
    }


def result(head: Head, rows: Sequence[Row], metric: Metric, seed: int = 0) -> Result:
    """Score rows and reckon how sure that is; blocking.

    A question without an answer scores 0.

    Raises:
        UsageError: there is no row, or one cannot be scored by the metric.
    """
    if not rows:
        raise UsageError("There is no answer to score.")
    for row in rows:
        metric.check(row.question, row.answers, row.options)
    scores = metric.scores([row.judged for row in rows])
    scores = [0.0 if row.error else score for row, score in zip(rows, scores, strict=True)]
    done = tuple(scored(rows, scores))
    names = dict.fromkeys(row.category for row in rows)
    categories: dict[str, Share] = {}
    for name in names if len(names) > 1 else ():
        chosen = [row for row in done if row.category == name]
        categories[name or "(none)"] = _share(chosen, seed)
    whole = wilson(round(sum(scores)), len(scores)) if metric.whole else None
    return Result(head, metric, done, _share(done, seed), whole, categories)


def _share(rows: Sequence[Row], seed: int) -> Share:
    scores = [row.score or 0.0 for row in rows]
    low, high = bootstrap(scores, [row.group for row in rows], seed)
    return Share(math.fsum(scores) / len(scores), low, high, len(scores))


# Two models -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same questions.

    Attributes:
        one: the first.
        other: the second.
        difference: of the second's mean from the first's, with its bootstrap interval; paired.
        better: questions on which the second scored higher.
        worse: questions on which the first did.
        test: what `p` is of: ``McNemar's exact test`` or ``paired permutation test``.
        p: how likely so large a difference is if neither is better; two-sided.
    """

    one: Result
    other: Result
    difference: Share
    better: int
    worse: int
    test: str
    p: float

    @property
    def significant(self) -> bool:
        """Whether chance alone is an unlikely reason."""
        return self.p < LEVEL

    def sentence(self) -> str:
        """Return what it means, for a person."""
        one, other, share = self.one.label, self.other.label, self.difference
        counts = (
            f"On {share.count:,} questions {other} did better on {self.better:,} and worse on "
            f"{self.worse:,} than {one}"
        )
        between = f"95 % interval {100 * share.low:+.1f} to {100 * share.high:+.1f}"
        difference = f"{100 * share.mean:+.1f} points, {between}; p = {self.p:.2g}, {self.test}"
        if not self.significant:
            return (
                f"{counts} ({difference}): so small a difference comes about by chance, too, and "
                "this set does not tell which of them is better."
            )
        better, lesser = (other, one) if share.mean > 0 else (one, other)
        return (
            f"{counts} ({difference}): {better} is better than {lesser} on questions like these, "
            "and chance alone would hardly make so large a difference."
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "one": self.one.label,
            "other": self.other.label,
            "difference": round(self.difference.mean, 6),
            "low": round(self.difference.low, 6),
            "high": round(self.difference.high, 6),
            "questions": self.difference.count,
            "better": self.better,
            "worse": self.worse,
            "test": self.test,
            "p": self.p,
            "significant": self.significant,
            "sentence": self.sentence(),
        }


def compare(one: Result, other: Result, seed: int = 0) -> Comparison:
    """Compare two models on the questions that both were asked; blocking.

    Raises:
        UsageError: there is none.
    """
    theirs = {(row.id, row.question): row for row in other.rows}
    pairs = [
        (row, theirs[row.id, row.question]) for row in one.rows if (row.id, row.question) in theirs
    ]
    if not pairs:
        raise UsageError(
            f"{one.label} and {other.label} were not asked one question in common: compare answers "
            "to the same set, put in the same words."
        )
    if len(pairs) < max(len(one.rows), len(other.rows)):
        metric = one.metric
        one = result(one.head, [mine for mine, _ in pairs], metric, seed)
        other = result(other.head, [its for _, its in pairs], metric, seed)
        pairs = list(zip(one.rows, other.rows, strict=True))
    differences = [(its.score or 0.0) - (mine.score or 0.0) for mine, its in pairs]
    groups = [mine.group for mine, _ in pairs]
    low, high = bootstrap(differences, groups, seed)
    mean = math.fsum(differences) / len(differences)
    better = sum(difference > 0 for difference in differences)
    worse = sum(difference < 0 for difference in differences)
    if one.metric.whole:
        test, p = "McNemar's exact test", mcnemar(worse, better)
    else:
        test, p = "paired permutation test", permutation(differences, groups, seed)
    return Comparison(one, other, Share(mean, low, high, len(pairs)), better, worse, test, p)


def by_kind(results: Sequence[Result]) -> dict[str, list[Share | None]]:
    """Return the figures of each kind of question, one for each result."""
    found: dict[str, list[Share | None]] = defaultdict(list)
    for name in dict.fromkeys(name for each in results for name in each.categories):
        found[name] = [each.categories.get(name) for each in results]
    return dict(found)
