"""How SmolVLM2 is told of a video: an introduction, each frame with its time, a blank line.

Source: ``transformers/models/smolvlm/processing_smolvlm.py`` (``DEFAULT_VIDEO_INTRO``,
``FRAME_TIMESTAMP_MESSAGE``, ``DEFAULT_MEDIA_OUTTRO``, ``replace_video_token``).
"""

from collections.abc import Sequence
from datetime import timedelta

from num2words import num2words

from vlmchat.chat.messages import ImagePart, Media, Part, TextPart


def video_parts(frames: Sequence[tuple[float, Media]], duration: float | None) -> tuple[Part, ...]:
    """Return a video as the parts of a message: text and single-tile pictures.

    Args:
        frames: (time in seconds, picture) in temporal order, at least one.
        duration: length of the whole video in seconds; ``None`` takes the last frame's time.
    """
    whole = int(frames[-1][0] if duration is None else duration)
    intro = (
        f"You are provided the following series of {num2words(len(frames))} frames "
        f"from a {timedelta(seconds=whole)} [H:MM:SS] video.\n"
    )
    parts: list[Part] = [TextPart(intro)]
    for seconds, picture in frames:
        stamp = f"\nFrame from {int(seconds // 60):02d}:{int(seconds % 60):02d}:"
        parts += [TextPart(stamp), ImagePart(picture, "low")]
    return (*parts, TextPart("\n\n"))
