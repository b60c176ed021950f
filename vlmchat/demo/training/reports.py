"""What workers tell each other about a step, and how it adds up."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Score:
    """How one kind of picture or question went.

    Attributes:
        count: pictures or answers.
        right: so many of them, a partly right one counting as a part.
        whole: those that were wholly right.
    """

    count: int = 0
    right: float = 0.0
    whole: int = 0

    def add(self, other: "Score") -> None:
        """Take another score in."""
        self.count += other.count
        self.right += other.right
        self.whole += other.whole

    def plain(self) -> dict[str, float]:
        """Return shares of one, for the log."""
        most = max(1, self.count)
        return {
            "count": self.count,
            "right": round(self.right / most, 4),
            "whole": round(self.whole / most, 4),
        }


@dataclass(slots=True)
class Report:
    """What a step, or a measurement, found.

    Attributes:
        losses: by name; of several reports the mean.
        scores: by kind.
        images: pictures seen.
        of: how many reports are in it.
    """

    losses: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    images: int = 0
    of: int = 1

    def score(self, kind: str) -> Score:
        """Return the score of a kind, which begins at nothing."""
        return self.scores.setdefault(kind, Score())

    def plain(self) -> dict[str, object]:
        """Return the losses and scores, for the log."""
        return {
            "losses": {name: round(loss, 5) for name, loss in self.losses.items()},
            "kinds": {kind: score.plain() for kind, score in sorted(self.scores.items())},
        }


def merged(reports: Iterable[Report]) -> Report:
    """Return several reports as one."""
    found = Report(of=0)
    sums: dict[str, float] = {}
    for report in reports:
        found.of += report.of
        found.images += report.images
        for name, loss in report.losses.items():
            sums[name] = sums.get(name, 0.0) + loss * report.of
        for kind, score in report.scores.items():
            found.score(kind).add(score)
    found.losses = {name: total / max(1, found.of) for name, total in sums.items()}
    return found
