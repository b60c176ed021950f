"""Messages as they go to an engine: any engine, without extensions of ours.

What an engine could read otherwise than a person sees it (a part of a picture, transparency,
printing colours, 16 bits) goes as the PNG of exactly those pixels; everything else as it is. A
video goes as the frames that its clip names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from vlmchat.chat.messages import ImagePart, Media, Message, Part, TextPart, VideoPart, numbered
from vlmchat.media.crop import cropped, plain
from vlmchat.media.images import is_plain
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import clock


def as_sent(
    messages: Iterable[Message], number_images: bool | None = None, *, videos: bool = True
) -> list[Message]:
    """Return `messages` with whole, plain pictures; blocking, as it may read and decode.

    Args:
        messages: the conversation, oldest first.
        number_images: name each picture (“Image 1: ”); by default as the rules in force say.
        videos: the model has learned videos: it gets them in SmolVLM2's own form, others as
            pictures with a sentence that says what they are.

    Raises:
        MediaError: a picture or a video cannot be read.
    """
    wanted = rules().number_images if number_images is None else number_images
    prepared = numbered(messages) if wanted else list(messages)
    return [
        replace(message, parts=tuple(chain.from_iterable(_sent(p, videos) for p in message.parts)))
        if message.media
        else message
        for message in prepared
    ]


def _sent(part: Part, videos: bool) -> Sequence[Part]:
    if isinstance(part, TextPart):
        return (part,)
    if isinstance(part, VideoPart):
        return _video(part, videos)
    if part.region is not None:
        return (ImagePart(cropped(part.media, part.region), part.detail),)
    if is_plain(part.media.data, part.media.name):
        return (part,)
    return (ImagePart(plain(part.media), part.detail),)


def _video(part: VideoPart, videos: bool) -> Sequence[Part]:
    """Return the frames of a video with their times (see `as_sent`)."""
    from vlmchat.media.frames import frames_of

    frames = list(zip(part.clip.times, frames_of(part), strict=True))
    return frame_parts(frames, part.clip.duration, videos=videos)


def frame_parts(
    frames: Sequence[tuple[float, Media]], duration: float | None, *, videos: bool
) -> Sequence[Part]:
    """Return a video's frames with their times, for a model that has learned videos or has not.

    Args:
        frames: (time in seconds, picture) in temporal order, at least one.
        duration: of the whole video, seconds.
        videos: see `as_sent`.
    """
    from vlmchat.media.video_prompt import video_parts

    if videos:
        return video_parts(frames, duration)
    count = "one picture" if len(frames) == 1 else f"{len(frames)} pictures"
    parts: list[Part] = [TextPart(f"A video follows as {count}, in the order of time.")]
    for seconds, picture in frames:
        parts += [TextPart(f"\nAt {clock(seconds)}: "), ImagePart(picture, "low")]
    return (*parts, TextPart("\n\n"))
