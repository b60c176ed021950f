"""What is done when a conversation is longer than the model's context."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Message
from vlmchat.engine.prompt import Prompt
from vlmchat.engine.sampling import SamplingParams
from vlmchat.errors import ContextOverflowError

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

_ANSWER = 256  # tokens left for an answer that says not how long it may be
_BLOCK = 4  # a quarter of the context is dropped at a time


def check_fits(prompt: Prompt, context: int) -> None:
    """Refuse a prompt that leaves no room for an answer, before anything is computed.

    Raises:
        ContextOverflowError: names both numbers and what to remove.
    """
    size = len(prompt.ids)
    if size < context:
        return
    count, tokens = len(prompt.images), prompt.image_tokens
    advice = "remove older turns or shorten the text"
    if count:
        pictures = "the picture takes" if count == 1 else f"the {count} pictures take"
        advice = (
            f"{pictures} {tokens} of them: remove pictures, look at them with detail “low”, "
            "or remove older turns"
        )
    raise ContextOverflowError(
        f"The conversation has {size} tokens and the model holds {context} with the answer; "
        f"{advice}."
    )


def shortened(
    loaded: "LoadedModel",
    messages: Sequence[Message],
    params: SamplingParams,
    *,
    going_on: bool = False,
) -> tuple[Prompt, int]:
    """Return the prompt with the oldest turns left out that do not fit.

    The system prompt and the last question always stay. More is dropped than must be, in steps of
    a quarter of the context, so that the next questions drop the same turns: then their beginning
    is one that was read before.

    Returns:
        The prompt, and how many turns (questions with their answers) were left out.
    """
    builder, context = loaded.builder, loaded.context
    prompt = builder.build(messages, going_on=going_on)
    # An answer of which only the first words fit is none.
    room = context - min(params.max_tokens or _ANSWER, context // 8)
    excess = len(prompt.ids) - room
    if excess <= 0:
        return prompt, 0
    head = [item for item in messages[:1] if item.role == "system"]
    begins = [at for at, item in enumerate(messages) if item.role == "user"][1:]
    block = max(context // _BLOCK, 1)
    wanted = room - (-(-excess // block) * block - excess)
    made: dict[int, Prompt] = {}

    def size(begin: int) -> int:
        rest = [*head, *messages[begin:]]
        made[begin] = builder.build(rest, going_on=going_on)
        return len(made[begin].ids)

    # The later a conversation begins, the shorter it is.
    count = bisect_left(begins, -wanted, key=lambda begin: -size(begin))
    if count == len(begins):
        count = bisect_left(begins, -room, key=lambda begin: -size(begin))
    if not begins:
        return prompt, 0
    count = min(count, len(begins) - 1)
    begin = begins[count]
    if begin not in made:
        size(begin)
    return made[begin], count + 1
