"""Messages and parts, as in the chat format of the SmolVLM course.

A message has a role and an ordered tuple of parts; a part is a text, an image or a video.
Everything here is immutable: changing a conversation makes new messages.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Literal, TypeAlias

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

Role: TypeAlias = Literal["system", "user", "assistant"]
DetailLevel: TypeAlias = Literal["low", "auto", "high"]
# A number is the most tiles that a picture may take, its global view among them.
Detail: TypeAlias = DetailLevel | int
DETAILS: tuple[DetailLevel, ...] = ("low", "auto", "high")
_MOST_TILES = 9999  # far above what any model takes; keeps numbers sane in files and on the wire


def parse_detail(value: object) -> Detail:
    """Return the detail in what a person typed, a file holds or a request carries.

    Args:
        value: ``low``, ``auto``, ``high`` (upper and lower case are the same), or a number of
            tiles from 1 up, as a number or as text.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(value, str):
        text = value.strip().lower()
        for level in DETAILS:
            if text == level:
                return level
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_TILES:
        return value
    raise UsageError(
        f"“{visible_line(str(value)[:40])}” is no detail: it is one of {', '.join(DETAILS)}, "
        "or the most tiles, as 5."
    )


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a picture, in its pixels as displayed (EXIF orientation applied).

    Attributes:
        left: first column.
        top: first row.
        right: the column after the last.
        bottom: the row after the last.
    """

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        """Check that it holds at least one pixel.

        Raises:
            UsageError: it holds none, or begins outside the picture.
        """
        if not (0 <= self.left < self.right and 0 <= self.top < self.bottom):
            raise UsageError(
                f"The region {self.left},{self.top},{self.right},{self.bottom} holds no pixel: "
                "give left, top, right, bottom, each from 0 and the last two the larger."
            )

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom: how it is written in files."""
        return (self.left, self.top, self.right, self.bottom)

    @classmethod
    def parse(cls, value: object) -> "Region":
        """Return the region in a list of four whole numbers.

        Raises:
            UsageError: it is none.
        """
        if (
            isinstance(value, list | tuple)
            and len(value) == 4
            and all(isinstance(edge, int) and not isinstance(edge, bool) for edge in value)
        ):
            return cls(*value)
        raise UsageError(
            f"“{visible_line(str(value)[:60])}” is no region: it is left, top, right, bottom."
        )

    def check(self, width: int, height: int) -> None:
        """Check that it lies within a picture of `width` × `height` pixels.

        Raises:
            UsageError: it does not.
        """
        if self.right > width or self.bottom > height:
            raise UsageError(
                f"The region {self.left},{self.top},{self.right},{self.bottom} reaches beyond the "
                f"picture, which has {width} × {height} pixels."
            )


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or a video as it was attached.

    Attributes:
        sha256: hexadecimal digest of `data`; the identity of the medium.
        name: the file's name as the person knows it (untrusted text).
        mime: media type of `data`, as ``image/jpeg``.
        width: pixels, as displayed (EXIF orientation applied).
        height: pixels, as displayed.
        size: length of `data`, bytes.
        read: returns `data`, from memory or from where it is kept.
        file: where it lies on the disk; a video always does, as it may be larger than the memory.
    """

    sha256: str
    name: str
    mime: str
    width: int
    height: int
    size: int
    read: Callable[[], bytes] = field(repr=False, compare=False)
    file: Path | None = field(default=None, repr=False, compare=False)

    @property
    def data(self) -> bytes:
        """The file's own bytes; may have to be read from the disk.

        Raises:
            VlmchatError: they cannot be read any more.
        """
        return self.read()

    @classmethod
    def held(cls, data: bytes, name: str, mime: str, width: int, height: int) -> "Media":
        """Return a picture whose bytes are kept in memory."""
        digest = hashlib.sha256(data).hexdigest()
        return cls(digest, name, mime, width, height, len(data), lambda: data)


@dataclass(frozen=True, slots=True)
class TextPart:
    """A run of text."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture, and how the model shall look at it.

    Attributes:
        media: the whole picture, as it was attached.
        detail: how finely.
        region: the part of it that is meant; ``None`` for all of it.

    Raises:
        UsageError: the region does not lie within the picture.
    """

    media: Media
    detail: Detail = "auto"
    region: Region | None = None

    def __post_init__(self) -> None:
        """Check the region against the picture."""
        if self.region is not None:
            self.region.check(self.media.width, self.media.height)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what the model is shown, pixels."""
        if self.region is None:
            return self.media.width, self.media.height
        return self.region.width, self.region.height


@dataclass(frozen=True, slots=True)
class Clip:
    """Which frames of a video the model gets.

    Attributes:
        times: when each frame is shown, seconds from the beginning, ascending; at least one.
        duration: length of the whole video, seconds; ``None`` if the file does not say.

    Raises:
        UsageError: there is no moment, or they do not ascend.
    """

    times: tuple[float, ...]
    duration: float | None = None

    def __post_init__(self) -> None:
        """Check the moments."""
        ascending = all(a < b for a, b in pairwise(self.times))
        if not self.times or not ascending or not 0 <= self.times[0] <= self.times[-1] < math.inf:
            raise UsageError("The frames of a video are named by their times in seconds, rising.")
        if self.duration is not None and not 0 <= self.duration < math.inf:
            raise UsageError("The length of a video is 0 seconds or more.")


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A video, and which of its frames the model gets."""

    media: Media
    clip: Clip


# What a person attaches to a question.
Attachment: TypeAlias = ImagePart | VideoPart
Part: TypeAlias = TextPart | ImagePart | VideoPart


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The message's text parts, joined by blank lines."""
        return "\n\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def media(self) -> tuple[Media, ...]:
        """The pictures and videos of the message, in order."""
        return tuple(part.media for part in self.attachments)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The parts that are not text, in order."""
        return tuple(part for part in self.parts if not isinstance(part, TextPart))


def user_message(
    text: str,
    attached: Sequence[Media | Attachment] = (),
    detail: Detail = "auto",
    regions: Iterable[Region | None] = (),
) -> Message:
    """Return a user turn with the media before the text, the order SmolVLM was trained on.

    Args:
        text: what is asked; may be empty.
        attached: pictures and videos; a bare medium is a picture.
        detail: how finely the model looks at bare pictures.
        regions: the part of each bare picture that is meant, in order; missing ones are whole.

    Raises:
        UsageError: a region does not lie within its picture.
    """
    cuts = chain(regions, repeat(None))
    parts: tuple[Part, ...] = tuple(
        ImagePart(item, detail, cut) if isinstance(item, Media) else item
        for item, cut in zip(attached, cuts, strict=False)
    )
    return Message("user", (*parts, TextPart(text)) if text else parts)


def with_detail(attachments: Iterable[Attachment], detail: Detail) -> tuple[Attachment, ...]:
    """Return attachments with the pictures among them looked at as finely as `detail` says."""
    return tuple(
        replace(part, detail=detail) if isinstance(part, ImagePart) else part
        for part in attachments
    )


def numbered(messages: Iterable[Message]) -> list[Message]:
    """Return `messages` with each picture named before it: “Image 1: ”, “Image 2: ” and so on.

    The count runs through the whole conversation, so that a later question can say “image 1”.
    """
    found: list[Message] = []
    count = 0
    for message in messages:
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, ImagePart):
                count += 1
                # Each name begins a line of its own, and so does what follows the last picture.
                gap = "\n" if parts else ""
                parts += [TextPart(f"{gap}Image {count}: "), part]
            elif isinstance(part, TextPart) and parts and isinstance(parts[-1], ImagePart):
                parts.append(TextPart("\n" + part.text))
            else:
                parts.append(part)
        found.append(Message(message.role, tuple(parts)) if message.media else message)
    return found
