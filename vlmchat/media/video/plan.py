"""Which moments of a video are looked at.

The rule: ``count = min(budget, max(1, round(fps × length)))`` moments, the first at the in point,
the last at the out point (or at the last frame), the others evenly between; a single moment lies
in the middle. The frame shown at a moment is the one a player shows: the last that has begun.

SmolVLM2's own sampler (``SmolVLMVideoProcessor.sample_frames`` in transformers) counts the same
way and spreads frame numbers by ``linspace`` over the same closed interval, so for a constant
frame rate both take the same frames. We differ in two things on purpose. It leaves out the first
and last second where ``duration - 2 > budget × fps``, which compares seconds with frames and
hides the beginning from a person who asked for the whole: here in and out points say what is left
out, and nothing else does. And its single frame is the very first one, which is so often black.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vlmchat.errors import UsageError
from vlmchat.media.video.info import VideoInfo
from vlmchat.media.video.limits import DEFAULT_LIMITS, VideoLimits

Method = Literal["uniform", "scenes", "keyframes"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How frames are chosen.

    Attributes:
        method: ``uniform`` spreads them evenly, ``scenes`` takes the first frame and those after
            the largest changes, ``keyframes`` those that are stored whole.
        fps: frames wanted a second of video.
        max_frames: the budget.
        start: in point, seconds from the beginning.
        end: out point, seconds; ``None`` for the end of the video.

    Raises:
        UsageError: a value that makes no sense.
    """

    method: Method = "uniform"
    fps: float = 1.0
    max_frames: int = 64
    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if self.method not in ("uniform", "scenes", "keyframes"):
            raise UsageError("Frames are chosen by uniform, scenes or keyframes: name one of them.")
        if not 0 < self.fps <= 1000:
            raise UsageError("Frames a second must be more than 0 and at most 1000.")
        if self.max_frames < 1:
            raise UsageError("The frame budget must be at least 1.")
        if not 0 <= self.start < float("inf"):
            raise UsageError("The in point must be 0 seconds or later.")
        if self.end is not None and not self.start <= self.end < float("inf"):
            raise UsageError("The out point must not lie before the in point.")


def span(info: VideoInfo, sampling: Sampling) -> tuple[float, float]:
    """Return the first and the last moment looked at, seconds.

    Raises:
        UsageError: the in point lies behind the end of the video.
    """
    duration = info.duration or 0.0
    if sampling.start > 0 and sampling.start >= duration:
        raise UsageError(
            f"The in point {clock(sampling.start)} lies behind the end of the video, "
            f"which is {clock(duration)} long: choose an earlier one."
        )
    # The last frame begins one frame before the end.
    last = max(0.0, duration - (1 / info.fps if info.fps else 0.0))
    end = last if sampling.end is None else min(sampling.end, last)
    return sampling.start, max(sampling.start, end)


def plan_count(info: VideoInfo, sampling: Sampling, limits: VideoLimits = DEFAULT_LIMITS) -> int:
    """Return how many moments are looked at, at least one and never more than there are frames."""
    duration = info.duration or 0.0
    end = duration if sampling.end is None else min(sampling.end, duration)
    length = max(0.0, end - sampling.start)
    count = min(sampling.max_frames, limits.max_frames, max(1, round(sampling.fps * length)))
    if info.fps:
        first, last = span(info, sampling)
        count = min(count, int((last - first) * info.fps + 1e-6) + 1)
    return min(count, info.frames) if info.frames else count


def plan_times(
    info: VideoInfo, sampling: Sampling, limits: VideoLimits = DEFAULT_LIMITS
) -> list[float]:
    """Return the moments to look at, seconds, ascending; see the module for the rule.

    Args:
        info: of the video; an unknown duration counts as 0.
        sampling: how they are chosen; the method does not matter here.
        limits: caps the count.

    Raises:
        UsageError: the in point lies behind the end of the video.
    """
    first, last = span(info, sampling)
    count = plan_count(info, sampling, limits)
    if count == 1:
        return [(first + last) / 2]
    return [first + (last - first) * number / (count - 1) for number in range(count)]


def thinned(times: Sequence[float], count: int) -> list[float]:
    """Return at most `count` of `times`, evenly taken, the first and the last among them."""
    if len(times) <= count:
        return list(times)
    if count == 1:
        return [times[0]]
    return [times[round(number * (len(times) - 1) / (count - 1))] for number in range(count)]


def clock(seconds: float) -> str:
    """Return `seconds` as ``0:12`` or ``1:02:03``."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
