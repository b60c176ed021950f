"""Messages and parts, as in the chat format of the SmolVLM course.

A message has a role and an ordered tuple of parts; a part is a text or an image. Everything here
is immutable: changing a conversation makes new messages.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]
Detail: TypeAlias = Literal["low", "auto", "high"]
DETAILS: tuple[Detail, ...] = ("low", "auto", "high")


@dataclass(frozen=True, slots=True)
class Media:
    """A picture as it was attached.

    Attributes:
        sha256: hexadecimal digest of `data`; the identity of the medium.
        name: the file's name as the person knows it (untrusted text).
        mime: media type of `data`, as ``image/jpeg``.
        width: pixels, as displayed (EXIF orientation applied).
        height: pixels, as displayed.
        size: length of `data`, bytes.
        read: returns `data`, from memory or from where it is kept.
    """

    sha256: str
    name: str
    mime: str
    width: int
    height: int
    size: int
    read: Callable[[], bytes] = field(repr=False, compare=False)

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
    """A picture, and how finely the model shall look at it."""

    media: Media
    detail: Detail = "auto"


Part: TypeAlias = TextPart | ImagePart


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
        """The pictures of the message, in order."""
        return tuple(part.media for part in self.parts if isinstance(part, ImagePart))


def user_message(text: str, media: tuple[Media, ...] = (), detail: Detail = "auto") -> Message:
    """Return a user turn with the pictures before the text, the order SmolVLM was trained on."""
    images: tuple[Part, ...] = tuple(ImagePart(item, detail) for item in media)
    return Message("user", (*images, TextPart(text)) if text else images)
