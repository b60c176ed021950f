"""Messages as they go to an engine: any engine, without extensions of ours.

What an engine could read otherwise than a person sees it (a part of a picture, transparency,
printing colours, 16 bits) goes as the PNG of exactly those pixels; everything else as it is.
"""

from collections.abc import Iterable
from dataclasses import replace

from vlmchat.chat.messages import ImagePart, Message, Part, numbered
from vlmchat.media.crop import cropped, plain
from vlmchat.media.images import is_plain
from vlmchat.media.rules import rules


def as_sent(messages: Iterable[Message], number_images: bool | None = None) -> list[Message]:
    """Return `messages` with whole, plain pictures; blocking, as it may read and decode.

    Args:
        messages: the conversation, oldest first.
        number_images: name each picture (“Image 1: ”); by default as the rules in force say.

    Raises:
        MediaError: a picture cannot be read.
    """
    wanted = rules().number_images if number_images is None else number_images
    prepared = [
        replace(message, parts=tuple(map(_sent, message.parts))) if message.media else message
        for message in messages
    ]
    return numbered(prepared) if wanted else prepared


def _sent(part: Part) -> Part:
    if not isinstance(part, ImagePart):
        return part
    if part.region is not None:
        return ImagePart(cropped(part.media, part.region), part.detail)
    if is_plain(part.media.data, part.media.name):
        return part
    return ImagePart(plain(part.media), part.detail)
