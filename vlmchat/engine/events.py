"""What an answer in the making tells of itself; plain values, no torch."""

from dataclasses import dataclass
from typing import Any, Literal

# Fields of a request that other engines may not know; `/v1/models` names them.
EXTENSIONS = ("repeat_guard", "prompt_lookup", "when_full", "return_progress", "priority")


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the prompt has been read.

    Attributes:
        total: tokens of the prompt.
        cached: those of them that were in the cache already.
        processed: those that are read, the cached ones among them.
        tiles: tiles of pictures that have been looked at.
        tiles_total: those that have to be.
        milliseconds: since the answer began.
    """

    total: int
    cached: int
    processed: int
    tiles: int
    tiles_total: int
    milliseconds: float

    def as_dict(self) -> dict[str, float]:
        """Return llama-server's ``prompt_progress`` object, with the tiles added."""
        return {
            "total": self.total,
            "cache": self.cached,
            "processed": self.processed,
            "time_ms": round(self.milliseconds, 3),
            "vision_tiles": self.tiles,
            "vision_tiles_total": self.tiles_total,
        }


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock times of one answer, milliseconds, measured around the work itself.

    Attributes:
        vision_ms: decoding and cutting the pictures and running the vision tower.
        prompt_ms: all of the above and the prefill, up to the first token.
        predicted_ms: from the first token to the last.
        prompt_n: tokens of the prompt that were read for this answer.
        cache_n: tokens of the prompt that had been read before.
        predicted_n: tokens of the answer.
        vision_tiles: tiles that were encoded for this answer.
    """

    vision_ms: float
    prompt_ms: float
    predicted_ms: float
    prompt_n: int
    cache_n: int
    predicted_n: int
    vision_tiles: int

    def as_dict(self) -> dict[str, float]:
        """Return the object that llama-server calls ``timings``, with our two additions."""
        after_first = max(self.predicted_n - 1, 0)
        return {
            "cache_n": self.cache_n,
            "prompt_n": self.prompt_n,
            "prompt_ms": round(self.prompt_ms, 3),
            "prompt_per_second": _rate(self.prompt_n, self.prompt_ms),
            "predicted_n": self.predicted_n,
            "predicted_ms": round(self.predicted_ms, 3),
            "predicted_per_second": _rate(after_first, self.predicted_ms),
            "vision_ms": round(self.vision_ms, 3),
            "vision_tiles": self.vision_tiles,
        }


def _rate(count: int, milliseconds: float) -> float:
    return round(count / milliseconds * 1000, 3) if milliseconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known when an answer has ended.

    Attributes:
        finish_reason: ``length`` where the answer was not at its end.
        prompt_tokens: of the whole prompt.
        completion_tokens: of the answer.
        cached_tokens: those of the prompt's that had been read before.
        seed: of the random numbers.
        timings: how long it took.
        dropped_turns: oldest questions, with their answers, that were left out for want of room.
        repeated: it was ended because it said the same again and again.
    """

    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    seed: int
    timings: Timings
    dropped_turns: int = 0
    repeated: bool = False

    def remarks(self) -> dict[str, Any]:
        """Return what of it belongs to the answer's provenance."""
        found: dict[str, Any] = {"seed": self.seed}
        if self.dropped_turns:
            found["dropped_turns"] = self.dropped_turns
        if self.repeated:
            found["repeated"] = True
        return found
