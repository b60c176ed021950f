"""The conversation in memory: a tree of turns with a path through it.

It is the truth while the chat runs, whether or not anything is saved.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from vlmchat.chat.conversation import Author, Conversation, Entry, Label, Provenance, State
from vlmchat.chat.messages import Attachment, Media, Message, Part, Role, TextPart
from vlmchat.client.protocol import Finished, Usage
from vlmchat.talk.turns.leaving_out import ran_in_circles, turns_left_out

TurnState: TypeAlias = Literal["waiting", "streaming", "done", "stopped", "failed"]
_SAVED: dict[TurnState, State] = {
    "waiting": "stopped",
    "streaming": "stopped",
    "done": "complete",
    "stopped": "stopped",
    "failed": "failed",
}


@dataclass(eq=False, slots=True)
class Reply:
    """How a model's answer came about.

    Attributes:
        speaker: the model's title (untrusted text).
        first_token_seconds: from sending the question to the first text, measured here.
        seconds: from the first text to the end, measured here.
        told: what the engine says that it answers with; empty if it does not.
        finished: the engine's own account, when it came to an end.
        made: what produced the answer, once it ended.
        reading: how far the engine has read the question, in words; empty once it answers.
    """

    speaker: str = "Model"
    first_token_seconds: float | None = None
    seconds: float = 0.0
    told: Mapping[str, Any] = field(default_factory=dict)
    finished: Finished | None = None
    made: Provenance | None = None
    reading: str = ""

    @property
    def tokens(self) -> int | None:
        """Tokens in the answer, when the engine counted them."""
        usage = self.finished.usage if self.finished else None
        return usage.completion_tokens if usage else None

    @property
    def tokens_per_second(self) -> float | None:
        """Decoding speed: the engine's own figure, else tokens after the first by our clock."""
        if self.finished is None:
            return None
        speed = self.finished.timings.get("predicted_per_second")
        if isinstance(speed, int | float) and speed > 0:
            return float(speed)
        tokens = self.tokens
        if tokens is not None and tokens > 1 and self.seconds > 0:
            return (tokens - 1) / self.seconds
        return None


@dataclass(eq=False, slots=True)
class Turn:
    """One message in its place in the tree.

    Attributes:
        role: who speaks.
        parts: what is said; a reply that streams has one text part.
        author: who wrote it: a person may write an answer, too.
        uid: its name on the disk and in exports.
        parent: the turn before it; ``None`` for a first one.
        children: what followed, oldest first.
        created: seconds since 1970.
        state: how far it is.
        saved: of a model's answer that was saved, what produced it.
        labels: what the person thinks of it.
    """

    role: Role
    parts: tuple[Part, ...]
    author: Author = "person"
    uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    parent: "Turn | None" = None
    children: list["Turn"] = field(default_factory=list)
    created: float = field(default_factory=time.time)
    state: TurnState = "done"
    saved: Provenance | None = None
    labels: list[Label] = field(default_factory=list)
    _reply: Reply | None = None

    @property
    def reply(self) -> Reply | None:
        """How a model's answer came about; of a saved one it is worked out when asked for."""
        if self._reply is None and self.role == "assistant" and self.author == "model":
            self._reply = _reply_of(self.saved)
        return self._reply

    @reply.setter
    def reply(self, reply: Reply) -> None:
        self._reply = reply

    @property
    def message(self) -> Message:
        """The turn as a message."""
        return Message(self.role, self.parts)

    @property
    def text(self) -> str:
        """The text parts, joined by blank lines."""
        if len(self.parts) == 1 and isinstance(self.parts[0], TextPart):
            return self.parts[0].text
        return self.message.text

    @property
    def media(self) -> tuple[Media, ...]:
        """The pictures and videos, in order."""
        return self.message.media

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The parts that are not text, in order."""
        return self.message.attachments

    @property
    def question(self) -> "Turn | None":
        """The turn that this reply answers."""
        return self.parent

    @property
    def rating(self) -> str:
        """``good``, ``bad`` or nothing."""
        return next((label.kind for label in self.labels if label.kind in ("good", "bad")), "")

    def say(self, text: str) -> None:
        """Make `text` all that is said."""
        self.parts = (TextPart(text),)

    def footnote(self) -> str:
        """Return the line of figures under a reply."""
        parts: list[str] = []
        if self.author == "person":
            parts.append("written by you")
        reply = self.reply
        if reply is not None and reply.first_token_seconds is not None:
            parts.append(f"first token {seconds_text(reply.first_token_seconds)}")
        if reply is not None and (speed := reply.tokens_per_second) is not None:
            parts.append(f"{speed:.1f} tokens/s")
        if reply is not None and (tokens := reply.tokens) is not None:
            parts.append(f"{tokens} token{'' if tokens == 1 else 's'}")
        if reply is not None and (count := turns_left_out(reply.finished)):
            parts.append(f"{count} oldest question{'' if count == 1 else 's'} left out")
        if reply is not None and ran_in_circles(reply.finished):
            parts.append("repeated itself")
        if self.state == "stopped":
            parts.append("stopped")
        elif self.state == "failed":
            parts.append("broken off" if self.text else "no answer")
        elif self.cut_short:
            parts.append("cut short by max_tokens")
        return " · ".join(parts)

    @property
    def cut_short(self) -> bool:
        """Whether the answer reached the longest length it was allowed."""
        finished = self.reply.finished if self.reply else None
        return finished is not None and finished.finish_reason == "length"

    def lineage(self) -> "list[Turn]":
        """Return the turns from the first to this one."""
        found: list[Turn] = []
        turn: Turn | None = self
        while turn is not None:
            found.append(turn)
            turn = turn.parent
        found.reverse()
        return found


class Tree:
    """All turns of a conversation, and where in it the person is."""

    def __init__(self) -> None:
        self.roots: list[Turn] = []
        self._tip: Turn | None = None
        self._path: list[Turn] | None = []

    @property
    def tip(self) -> Turn | None:
        """The last turn of the path."""
        return self._tip

    @tip.setter
    def tip(self, turn: Turn | None) -> None:
        if turn is not self._tip:
            self._tip, self._path = turn, None

    @property
    def path(self) -> list[Turn]:
        """The turns from the first to the tip; not to be changed."""
        if self._path is None:
            self._path = self._tip.lineage() if self._tip else []
        return self._path

    def add(self, turn: Turn) -> None:
        """Put a turn below its parent and go there."""
        self.siblings(turn).append(turn)
        if self._path is not None and turn.parent is self._tip:
            self._path, self._tip = [*self._path, turn], turn
        else:
            self.tip = turn

    def drop(self, turn: Turn) -> None:
        """Take a turn and what follows it out again, and go to the turn before it."""
        self.siblings(turn).remove(turn)
        self.tip = turn.parent

    def siblings(self, turn: Turn) -> list[Turn]:
        """Return all turns with the same parent, itself among them, oldest first."""
        return turn.parent.children if turn.parent else self.roots

    def switch(self, turn: Turn) -> None:
        """Go to `turn`, and on to where its branch was left last."""
        leaves: list[Turn] = []
        waiting = [turn]
        while waiting:
            item = waiting.pop()
            waiting.extend(item.children)
            if not item.children:
                leaves.append(item)
        self.tip = max(leaves, key=lambda leaf: leaf.created)

    def beside(self, turn: Turn, step: int) -> Turn | None:
        """Return the sibling `step` places on, if there is one."""
        siblings = self.siblings(turn)
        place = siblings.index(turn) + step
        return siblings[place] if 0 <= place < len(siblings) else None

    def find(self, uid: str) -> Turn | None:
        """Return the turn of that name."""
        return next((turn for turn in self.walk() if turn.uid == uid), None)

    def walk(self) -> Iterator[Turn]:
        """Yield every turn, parents before their children."""
        waiting = list(reversed(self.roots))
        while waiting:
            turn = waiting.pop()
            yield turn
            waiting.extend(reversed(turn.children))


def seconds_text(seconds: float) -> str:
    """Return a duration for a person (``0.4 s``, ``12 s``)."""
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def history(system: str, path: Iterable[Turn]) -> list[Message]:
    """Return the messages to send, in order.

    Questions that stayed without a word of answer are joined with the one after them: many chat
    templates demand that user and assistant turns alternate.
    """
    messages: list[Message] = []
    if system:
        messages.append(Message("system", (TextPart(system),)))
    for turn in path:
        if turn.role == "assistant" and not turn.text:
            continue
        parts = turn.parts
        if messages and messages[-1].role == turn.role:
            parts = (*messages.pop().parts, *parts)
        messages.append(Message(turn.role, parts))
    return messages


# To and from values -------------------------------------------------------------------------------


def entry_of(turn: Turn) -> Entry:
    """Return a turn as it is saved and exported."""
    parent = turn.parent.uid if turn.parent else None
    made = turn.reply.made if turn.reply else None
    state, labels = _SAVED[turn.state], tuple(turn.labels)
    return Entry(turn.uid, parent, turn.message, turn.author, state, turn.created, made, labels)


def saved_state(turn: Turn) -> State:
    """Return the state of a turn as it is saved."""
    return _SAVED[turn.state]


def tree_of(conversation: Conversation) -> Tree:
    """Return a saved conversation as a tree to go on with."""
    tree = Tree()
    turns: dict[str, Turn] = {}
    for entry in conversation.entries:
        parent = turns[entry.parent] if entry.parent is not None else None
        turn = Turn(
            entry.message.role,
            entry.message.parts,
            entry.author,
            entry.uid,
            parent,
            created=entry.created,
            state="done" if entry.state == "complete" else _unfinished(entry.state),
            saved=entry.provenance,
            labels=list(entry.labels),
        )
        turns[entry.uid] = turn
        (parent.children if parent else tree.roots).append(turn)
    tree.tip = turns[conversation.tip] if conversation.tip is not None else None
    return tree


def _unfinished(state: State) -> TurnState:
    return "failed" if state == "failed" else "stopped"


def _reply_of(made: Provenance | None) -> Reply:
    if made is None:
        return Reply()
    first = made.timings.get("first_token_seconds")
    reply = Reply(str(made.engine.get("title", "Model")), made=made)
    reply.first_token_seconds = float(first) if isinstance(first, int | float) else None
    seconds = made.timings.get("seconds")
    reply.seconds = float(seconds) if isinstance(seconds, int | float) else 0.0
    reply.finished = _finished_of(made)
    return reply


def _finished_of(made: Provenance) -> Finished | None:
    if made.finish_reason is None:
        return None
    usage = None
    if made.prompt_tokens is not None and made.completion_tokens is not None:
        usage = Usage(made.prompt_tokens, made.completion_tokens, made.cached_tokens or 0)
    numbers = {k: v for k, v in made.timings.items() if isinstance(v, int | float)}
    return Finished(made.finish_reason, usage, numbers, dict(made.engine))


def copy_of_path(conversation: Conversation, title: str) -> Conversation:
    """Return the path of `conversation` as a conversation of its own, with names of its own."""
    now = time.time()
    names = {entry.uid: uuid.uuid4().hex for entry in conversation.entries}
    entries = tuple(
        replace(
            entry,
            uid=names[entry.uid],
            parent=names[entry.parent] if entry.parent is not None else None,
            labels=tuple(label for label in entry.labels if not label.other),
        )
        for entry in conversation.path()
    )
    tip = entries[-1].uid if entries else None
    return Conversation(
        uuid.uuid4().hex, title, conversation.system, now, now, tip=tip, entries=entries
    )
