"""A prompt as text, with the marks that stand for pictures: what a person can read of it."""

from collections.abc import Iterable, Iterator
from itertools import chain

from vlmchat.chat.messages import ImagePart, Message, TextPart
from vlmchat.media.tiles import ProcessorSpec, TilePlan, plan_tiles

IMAGE_TOKEN = "<image>"  # noqa: S105 - a token of the vocabulary


def image_block(plan: TilePlan, image_token: str = IMAGE_TOKEN) -> str:
    """Return the text that stands for a picture cut as `plan` says.

    Source: ``get_image_prompt_string`` in ``processing_smolvlm.py``; Idefics3 has the same.
    """
    fake, view = "<fake_token_around_image>", image_token * plan.tokens_per_tile
    rows = "".join(
        "".join(f"{fake}<row_{r + 1}_col_{c + 1}>{view}" for c in range(plan.cols)) + "\n"
        for r in range(plan.rows)
    )
    return f"{rows}{chr(10) if rows else ''}{fake}<global-img>{view}{fake}"


def prompt_text(messages: Iterable[Message], spec: ProcessorSpec) -> str:
    """Return the prompt that a SmolVLM gets for messages as they are sent (see `sending`).

    Source: the template in the models' ``chat_template.json``.
    """
    turns = chain.from_iterable(_turn(message, spec) for message in messages)
    return "".join(("<|im_start|>", *turns, "Assistant:"))


def _turn(message: Message, spec: ProcessorSpec) -> Iterator[str]:
    first = message.parts[0] if message.parts else None
    yield message.role.capitalize() + (":" if isinstance(first, ImagePart) else ": ")
    for part in message.parts:
        if isinstance(part, ImagePart):
            width, height = part.size
            yield image_block(plan_tiles(width, height, spec, part.detail))
        elif isinstance(part, TextPart):
            yield part.text
    yield "<end_of_utterance>\n"
