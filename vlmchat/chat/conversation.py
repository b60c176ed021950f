"""A whole conversation as a value: every branch, what produced each reply, what was thought of it.

This is what the store gives out and takes in, and what exports are made from. A conversation is a
tree: an entry names its parent, the conversation its tip, and nothing that was said is overwritten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from vlmchat.chat.messages import Message

Author: TypeAlias = Literal["person", "model"]
State: TypeAlias = Literal["streaming", "complete", "stopped", "failed"]
LabelKind: TypeAlias = Literal["good", "bad", "better", "correction"]


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
class Label:
    """What a person thinks of a reply.

    Attributes:
        kind: ``good`` or ``bad``; ``better`` than a sibling; ``correction`` of a sibling, which
            the person wrote in its place.
        other: uid of that sibling; empty for ``good`` and ``bad``.
        created: seconds since 1970.
    """

    kind: LabelKind
    other: str = ""
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One message in its place in the tree.

    Attributes:
        uid: survives export and import.
        parent: uid of the message before it; ``None`` for a first one.
        created: seconds since 1970.
    """

    uid: str
    parent: str | None
    message: Message
    author: Author
    state: State = "complete"
    created: float = 0.0
    provenance: Provenance | None = None
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that belongs to one conversation.

    Attributes:
        tip: uid of the entry it was left at; ``None`` while nothing was said.
        entries: parents before their children, siblings oldest first.
    """

    uid: str
    title: str = ""
    system: str = ""
    created: float = 0.0
    updated: float = 0.0
    pinned: bool = False
    archived: bool = False
    tip: str | None = None
    entries: tuple[Entry, ...] = ()

    def path(self) -> tuple[Entry, ...]:
        """Return the entries from the first to the tip."""
        by_uid = {entry.uid: entry for entry in self.entries}
        found: list[Entry] = []
        uid = self.tip
        while uid is not None:
            entry = by_uid[uid]
            found.append(entry)
            uid = entry.parent
        return tuple(reversed(found))
