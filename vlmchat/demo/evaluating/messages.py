"""An example as the message that the chat sends: pictures first, then the question."""

import io
from collections.abc import Iterable, Sequence

from PIL import Image

from vlmchat.chat.messages import Media, Message, TextPart, user_message
from vlmchat.media.sending import frame_parts

SECONDS_A_FRAME = 1.0
"""Between two frames of a clip: one a second, as the chat takes them of a video by default."""


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def message(
    images: Iterable[Image.Image], question: str, *, frames: bool, videos: bool = False
) -> Message:
    """Return a question about pictures, or about the frames of a clip, as the engine gets it.

    Tested against what becomes of a real video file in the engine.

    Args:
        images: RGB, in the order in which they are shown.
        question: what is asked.
        frames: the pictures are those of one clip; they go with their times.
        videos: the model has learned videos; see `vlmchat.media.sending.as_sent`.
    """
    media = [_media(image, place) for place, image in enumerate(images, 1)]
    if not frames:
        return user_message(question, media)
    parts = frame_parts(_timed(media), len(media) * SECONDS_A_FRAME, videos=videos)
    return Message("user", (*parts, TextPart(question)))


def _timed(media: Sequence[Media]) -> list[tuple[float, Media]]:
    return [(place * SECONDS_A_FRAME, each) for place, each in enumerate(media)]


def _media(image: Image.Image, place: int) -> Media:
    return Media.held(png(image), f"picture {place}.png", "image/png", image.width, image.height)
