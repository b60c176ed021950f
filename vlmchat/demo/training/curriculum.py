"""What is drawn next: how hard, and how often each kind, by what has been learned so far.

Every kind of picture or question has a level from 0 to 1, which widens what its generator draws.
It rises when the running accuracy on it passes a bar; what is seldom wholly right yet is drawn more
often. Of several questions about a picture those are asked that are not answered yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vlmchat.demo.training.settings import Curriculum


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is drawn and asked next.

    Attributes:
        weights: how often each kind is drawn; they sum to 1.
        levels: how hard each is.
        needs: share of its questions that is asked of each task, from 0 to 1; all of the others.
    """

    weights: Mapping[str, float]
    levels: Mapping[str, float]
    needs: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far one kind has come.

    Attributes:
        level: from 0 to 1.
        accuracy: running mean of what is right, from 0 to 1.
        whole: running mean of what is right without any mistake, from 0 to 1.
        seen: pictures or answers since the level rose.
        total: all of them.
    """

    level: float = 0.0
    accuracy: float = 0.0
    whole: float = 0.0
    seen: int = 0
    total: int = 0


class Ladder:
    """The levels of all kinds.

    Args:
        kinds: their names.
        settings: bars and steps.
        bar: accuracy from which on a level is done.
        least_seen: pictures or answers that a level takes at the least.
        level: at which they begin.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        settings: Curriculum,
        bar: float,
        least_seen: int,
        level: float = 0.0,
    ) -> None:
        self.kinds = {kind: Progress(level) for kind in kinds}
        self._settings = settings
        self._bar = bar
        self._least_seen = least_seen

    def saw(self, kind: str, right: float, whole: int, count: int) -> None:
        """Take in how many of `count` pictures or answers of a kind were right.

        Args:
            kind: one of the kinds.
            right: so many of them, counting parts of one as part.
            whole: those without any mistake.
            count: at least 1.
        """
        progress = self.kinds[kind]
        # Early on the plain mean, so that a kind does not have to climb out of its first zero.
        kept = min(self._settings.memory**count, progress.seen / (progress.seen + count))
        progress.accuracy = kept * progress.accuracy + (1 - kept) * right / count
        progress.whole = kept * progress.whole + (1 - kept) * whole / count
        progress.seen += count
        progress.total += count
        if (
            progress.level < 1
            and progress.seen >= self._least_seen
            and progress.accuracy >= self._bar
        ):
            progress.level = min(1.0, round(progress.level + self._settings.rise, 6))
            progress.seen = 0

    def level(self, kind: str) -> float:
        """Return how hard this kind is drawn."""
        return self.kinds[kind].level

    def weights(self) -> dict[str, float]:
        """Return how often each kind is drawn; they sum to 1."""
        least, favour = self._settings.least, self._settings.favour
        raw = {
            kind: favour.get(kind, 1.0)
            * (least + (1 - least) * (1 - progress.whole * (1 + progress.level) / 2))
            for kind, progress in self.kinds.items()
        }
        whole = sum(raw.values())
        return {kind: weight / whole for kind, weight in raw.items()}

    def needs(self) -> dict[str, float]:
        """Return the weights as shares of the greatest."""
        weights = self.weights()
        return {kind: weight / max(weights.values()) for kind, weight in weights.items()}

    def plain(self) -> dict[str, Any]:
        """Return the state as what a JSON file can hold."""
        return {
            kind: [
                *(progress.level, progress.accuracy, progress.seen, progress.total),
                progress.whole,
            ]
            for kind, progress in self.kinds.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state; kinds that it does not know begin anew."""
        for kind, values in state.items():
            if kind in self.kinds:
                level, accuracy, seen, total, *whole = values
                self.kinds[kind] = Progress(
                    *(float(level), float(accuracy)),
                    whole=float(whole[0]) if whole else float(accuracy),
                    seen=int(seen),
                    total=int(total),
                )
