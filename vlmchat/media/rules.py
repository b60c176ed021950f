"""What a medium may cost, and how it is shown to the model: set once, used everywhere.

Light: nothing is imported that decodes. The settings (``[media]``) are put in force by `use_rules`
when the program starts and when they change; the engine gets its limits on its command line.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.plan import Sampling

Background: TypeAlias = Literal["white", "black"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may cost before it is refused.

    Attributes:
        max_bytes: size of the file, bytes.
        max_pixels: width times height.
    """

    max_bytes: int = 200_000_000
    max_pixels: int = 100_000_000


@dataclass(frozen=True, slots=True)
class MediaRules:
    """How this process reads pictures.

    Attributes:
        limits: what is refused.
        background: what transparent parts are laid over for the model.
        number_images: whether each picture is named before it (“Image 1: ”) when it is sent.
        sampling: which frames of a video are taken, where the person says nothing.
        video_limits: which videos are refused.
    """

    limits: Limits = Limits()
    background: Background = "white"
    number_images: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    video_limits: VideoLimits = field(default_factory=VideoLimits)


DEFAULT_LIMITS = Limits()
_rules = MediaRules()


def rules() -> MediaRules:
    """Return the rules in force in this process."""
    return _rules


def use_rules(new: MediaRules) -> None:
    """Put `new` in force from now on, in every thread of this process."""
    global _rules  # noqa: PLW0603 - one value for the process, replaced as a whole
    _rules = new


def limits_or_rules(limits: Limits | None) -> Limits:
    """Return `limits`, or those in force where none are given."""
    return _rules.limits if limits is None else limits
