"""What a person thought of the replies of a conversation, as fine-tuning needs to know it."""

from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.messages import Message, TextPart


class RatedReplies:
    """The replies of a conversation, every branch of it, with what was thought of them.

    Attributes:
        conversation: the whole.
        replies: the assistant's, without those that say nothing.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._by_uid = {entry.uid: entry for entry in conversation.entries}
        self.replies = [
            entry
            for entry in conversation.entries
            if entry.message.role == "assistant" and entry.message.parts
        ]
        # The replies that a person has written something better for.
        self._corrected = {
            label.other
            for entry in self.replies
            for label in entry.labels
            if label.kind == "correction"
        }

    def bad(self, reply: Entry) -> bool:
        """Return whether a reply was rated bad or corrected."""
        return reply.uid in self._corrected or any(label.kind == "bad" for label in reply.labels)

    def good(self, reply: Entry) -> bool:
        """Return whether a reply is whole, and was rated good or written as a correction."""
        liked = any(label.kind in ("good", "correction") for label in reply.labels)
        return liked and self.unspoiled(reply)

    def unspoiled(self, reply: Entry) -> bool:
        """Return whether a reply is whole, and neither rated bad nor corrected."""
        return reply.state == "complete" and not self.bad(reply)

    def worse(self, reply: Entry) -> list[Entry]:
        """Return the siblings that a reply is better than or corrects, each once."""
        found: dict[str, Entry] = {}
        for label in reply.labels:
            other = self._by_uid.get(label.other)
            compares = label.kind in ("better", "correction")
            if compares and other is not None and other.parent == reply.parent:
                found[other.uid] = other
        return [other for other in found.values() if other.message.parts]

    def prompt(self, reply: Entry) -> tuple[Message, ...]:
        """Return what was said before a reply, the system prompt that it was given first."""
        said: list[Message] = []
        parent = reply.parent
        while parent is not None:
            entry = self._by_uid[parent]
            said.append(entry.message)
            parent = entry.parent
        if system := self._system(reply):
            said.append(Message("system", (TextPart(system),)))
        return tuple(reversed(said))

    def _system(self, reply: Entry) -> str:
        if reply.provenance is not None:
            return reply.provenance.system
        for label in reply.labels:  # a correction was given what the model had been given
            other = self._by_uid.get(label.other)
            if label.kind == "correction" and other is not None and other.provenance is not None:
                return other.provenance.system
        return self.conversation.system
