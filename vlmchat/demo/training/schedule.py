"""How the learning rates go: up, slowly down for as long as one likes, and down at a start's end.

A warmup, rates that sink with the square root of the steps, and a cooldown (as in
arXiv:2106.04560): training can go on over any number of starts, and each may end in a cooldown
whose weights are good ones. The next start goes on from them at full height (WSD-S,
arXiv:2410.05192).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rates of one start.

    Attributes:
        warmup_steps: in which the rates rise, at the beginning of a phase.
        steady_steps: after which they sink with the square root of the steps; infinite if never.
        seconds: that this start has; infinite if nobody limited it.
        cooldown: seconds at the end in which the rates sink.
        floor: where they sink to, of their full height.
        steps: of this phase, over all starts, with which it ends; infinite if nobody limited them.
    """

    warmup_steps: int
    steady_steps: float = math.inf
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
        rising *= min(1.0, math.sqrt(self.steady_steps / (step + 1)))
        if self.cooldown <= 0:
            return rising
        left = min(1.0, max(0.0, (self.seconds - elapsed) / self.cooldown))
        return rising * (self.floor + (1 - self.floor) * left)

    def over(self, step: int, elapsed: float) -> bool:
        """Return whether this start is to end after so many steps and seconds."""
        return elapsed >= self.seconds or step >= self.steps
