"""What the store gives back: plain values."""

from dataclasses import dataclass
from typing import TypeAlias

from vlmchat.chat.conversation import Author, State
from vlmchat.chat.messages import Message, Region

Shown: TypeAlias = tuple[str, Region | None]


@dataclass(frozen=True, slots=True)
class Thread:
    """One conversation as lists show it; times are seconds since 1970.

    Attributes:
        tip: the message that the conversation was left at.
        deleted: when it was deleted; ``None`` if it was not.
    """

    id: int
    uid: str
    title: str
    system: str
    draft: str
    created: float
    updated: float
    pinned: bool
    archived: bool
    deleted: float | None
    tip: int | None


@dataclass(frozen=True, slots=True)
class Node:
    """One message in its place in the tree.

    Attributes:
        parent: the message before it; ``None`` for the first.
        siblings: all messages with the same parent, itself among them, oldest first.
    """

    id: int
    uid: str
    thread: int
    parent: int | None
    author: Author
    state: State
    created: float
    message: Message
    siblings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One message that a search found.

    Attributes:
        excerpt: pieces of its text, each with whether it matched.
    """

    message: int
    thread: int
    title: str
    role: str
    created: float
    excerpt: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class MediaUse:
    """One place where a medium was attached.

    Attributes:
        size: bytes.
        message: where it was attached.
        kind: ``image`` or ``video``.
        region: the part of a picture that was meant; ``None`` for all of it.
    """

    sha256: str
    name: str
    mime: str
    width: int
    height: int
    size: int
    message: int
    thread: int
    created: float
    kind: str = "image"
    region: Region | None = None

    @property
    def shown(self) -> Shown:
        """What there is to be seen: the medium's digest, and which part of it."""
        return self.sha256, self.region
