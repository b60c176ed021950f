"""Examples from conversations of this program: what the person thought of the replies.

A reply rated good teaches (``sft``, and ``kto`` as good); one rated bad or corrected is a bad
example (``kto``); a correction, which the person wrote, teaches too; and a reply that is better
than a sibling or corrects it makes a ``preference``.
"""

from collections.abc import Iterator

from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.formats.values import BadRow
from vlmchat.chat.messages import Message, TextPart
from vlmchat.finetune.examples import Dropped, Example, Source, check


class _Tree:
    """A conversation with its entries by their uid."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.by_uid = {entry.uid: entry for entry in conversation.entries}
        self.replies = [
            entry
            for entry in conversation.entries
            if entry.message.role == "assistant" and entry.message.parts
        ]
        self.corrected = {
            label.other
            for entry in self.replies
            for label in entry.labels
            if label.kind == "correction"
        }

    def prompt(self, reply: Entry) -> tuple[Message, ...]:
        """Return what was said before a reply, the system prompt that it was given first."""
        said: list[Message] = []
        parent = reply.parent
        while parent is not None:
            entry = self.by_uid[parent]
            said.append(entry.message)
            parent = entry.parent
        if system := self._system(reply):
            said.append(Message("system", (TextPart(system),)))
        return tuple(reversed(said))

    def _system(self, reply: Entry) -> str:
        if reply.provenance is not None:
            return reply.provenance.system
        for label in reply.labels:  # a correction was given what the model had been given
            other = self.by_uid.get(label.other)
            if label.kind == "correction" and other is not None and other.provenance is not None:
                return other.provenance.system
        return self.conversation.system

    def worse(self, reply: Entry) -> list[Entry]:
        """Return the siblings that a reply is better than or corrects, each once."""
        found: dict[str, Entry] = {}
        for label in reply.labels:
            other = self.by_uid.get(label.other)
            compares = label.kind in ("better", "correction")
            if compares and other is not None and other.parent == reply.parent:
                found[other.uid] = other
        return [other for other in found.values() if other.message.parts]


def from_conversation(
    conversation: Conversation, source: Source, *, unrated: bool = False
) -> Iterator[Example | Dropped]:
    """Yield the examples in what was thought of a conversation's replies.

    Args:
        conversation: all of it, every branch.
        source: where it comes from.
        unrated: replies that were neither rated bad nor corrected teach too (``sft``).

    Yields:
        Examples, and one `Dropped` for each that cannot be learned from, or for the conversation
        if nothing in it was rated.
    """
    tree = _Tree(conversation)
    some = False
    for reply in tree.replies:
        for example in _of_reply(tree, reply, source, unrated=unrated):
            some = True
            try:
                yield check(example)
            except BadRow as error:
                yield Dropped(source.file, source.line, str(error), source.item)
    if not some:
        yield Dropped(
            source.file,
            source.line,
            "no reply in this conversation is rated or corrected: rate some, or ask for the "
            "unrated ones too.",
            source.item,
        )


def _of_reply(tree: _Tree, reply: Entry, source: Source, *, unrated: bool) -> Iterator[Example]:
    kinds = {label.kind for label in reply.labels}
    prompt, answer, group = tree.prompt(reply), (reply.message,), tree.conversation.uid
    bad = "bad" in kinds or reply.uid in tree.corrected
    complete = reply.state == "complete"
    good = complete and not bad and bool(kinds & {"good", "correction"})
    if good or (unrated and complete and not bad):
        yield Example("sft", (*prompt, *answer), source, group, trained=(len(prompt),))
    if good or bad:
        yield Example("kto", prompt, source, group, completion=answer, label=good)
    for other in tree.worse(reply):
        rejected = (other.message,)
        yield Example("preference", prompt, source, group, chosen=answer, rejected=rejected)
