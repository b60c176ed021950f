"""What the store gives back: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from vlmchat.chat.messages import Message

Author: TypeAlias = Literal["person", "model"]
State: TypeAlias = Literal["streaming", "complete", "stopped", "failed"]


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
class Provenance:
    """What produced a reply.

    Attributes:
        engine: model, revision, quantization, adapter, device, dtype, seed, as the engine said.
        sampling: the parameters that were sent.
        system: the system prompt that was sent.
        timings: as the engine said, and the first-token time as it was seen.
    """

    engine: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    system: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    timings: Mapping[str, Any] = field(default_factory=dict)


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
    """One place where a medium was attached."""

    sha256: str
    name: str
    mime: str
    width: int
    height: int
    message: int
    thread: int
    created: float
