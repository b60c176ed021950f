"""Examples from conversations of this program: what the person thought of the replies.

A reply rated good teaches (``sft``, and ``kto`` as good); one rated bad or corrected is a bad
example (``kto``); a correction, which the person wrote, teaches too; and a reply that is better
than a sibling or corrects it makes a ``preference``.
"""

from collections.abc import Iterator

from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.formats.values import BadRow
from vlmchat.chat.rated import RatedReplies
from vlmchat.finetune.examples import Dropped, Example, Source, check


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
    rated = RatedReplies(conversation)
    some = False
    for reply in rated.replies:
        for example in _of_reply(rated, reply, source, unrated=unrated):
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


def _of_reply(
    rated: RatedReplies, reply: Entry, source: Source, *, unrated: bool
) -> Iterator[Example]:
    prompt, answer, group = rated.prompt(reply), (reply.message,), rated.conversation.uid
    good = rated.good(reply)
    if good or (unrated and rated.unspoiled(reply)):
        yield Example("sft", (*prompt, *answer), source, group, trained=(len(prompt),))
    if good or rated.bad(reply):
        yield Example("kto", prompt, source, group, completion=answer, label=good)
    for other in rated.worse(reply):
        rejected = (other.message,)
        yield Example("preference", prompt, source, group, chosen=answer, rejected=rejected)
