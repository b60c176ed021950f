"""How the learning rates go: up, level for as long as one likes, and down at the end of a start.

A warmup, a constant stretch and a decay (WSD, arXiv:2404.06395): training can go on over any number
of starts, and each may end in a cooldown whose weights are good ones. The next start goes on from
them at full height (WSD-S, arXiv:2410.05192).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rates of one start.

    Attributes:
        warmup_steps: in which the rates rise, at the beginning of a phase.
        seconds: that this start has; infinite if nobody limited it.
        cooldown: seconds at the end in which the rates sink.
        floor: where they sink to, of their full height.
        steps: of this phase, over all starts, with which it ends; infinite if nobody limited them.
    """

    warmup_steps: int
    seconds: float = math.inf
    cooldown: float = 0.0
    floor: float = 0.02
    steps: float = math.inf

    def factor(self, step: int, elapsed: float) -> float:
        """Return what the rates are multiplied with.

        Args:
            step: of this phase, from 0, over all starts.
            elapsed: seconds of this start.
        """
        rising = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.cooldown <= 0:
            return rising
        left = min(1.0, max(0.0, (self.seconds - elapsed) / self.cooldown))
        return rising * (self.floor + (1 - self.floor) * left)

    def over(self, step: int, elapsed: float) -> bool:
        """Return whether this start is to end after so many steps and seconds."""
        return elapsed >= self.seconds or step >= self.steps
