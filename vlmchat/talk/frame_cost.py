"""What the frames of a video cost in the prompt, as far as the model is known."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmchat.media.tiles import ProcessorSpec
    from vlmchat.talk.front import Front

# “\\nFrame from 00:07:” in SmolLM2's tokenizer, which writes each digit by itself.
_STAMP = 10


def tokens_per_frame(spec: "ProcessorSpec") -> int:
    """Return the tokens of a frame with its time: a picture of one tile."""
    from vlmchat.media.tiles import TilePlan

    plan = TilePlan(0, 0, spec.tile, spec.tokens_per_tile, spec.blank_line_tokens)
    return plan.prompt_tokens + _STAMP


def frame_tokens(chat: "Front") -> int | None:
    """Return what each frame costs with the model that answers; ``None`` where nobody knows."""
    from vlmchat.models.catalogue import lookup

    model = chat.session.engine.model
    settings = chat.settings
    names = [model.id if model else "", settings.engine.model if settings else ""]
    entry = next((found for name in names if name and (found := lookup(name))), None)
    return tokens_per_frame(entry.processor) if entry else None


def cost_text(count: int, each: int | None) -> str:
    """Return ``12 frames · ~924 tokens`` for a person."""
    frames = f"{count} {'frame' if count == 1 else 'frames'}"
    return frames if each is None else f"{frames} · ~{count * each} tokens"
