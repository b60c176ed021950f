"""What the frames of a video cost in the prompt, as far as the model is known."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


def frame_tokens(chat: "Front") -> int | None:
    """Return what each frame costs with the model that answers; ``None`` where nobody knows."""
    from vlmchat.talk.plan import frame_tokens as tokens_per_frame

    spec = chat.plans.spec
    return None if spec is None else tokens_per_frame(spec)


def video_tokens(count: int, each: int) -> int:
    """Return what a video costs: its frames, and the sentence before them."""
    from vlmchat.talk.plan import VIDEO_TOKENS

    return count * each + VIDEO_TOKENS


def cost_text(count: int, each: int | None) -> str:
    """Return ``12 frames · ~924 tokens`` for a person."""
    frames = f"{count} {'frame' if count == 1 else 'frames'}"
    return frames if each is None else f"{frames} · ~{video_tokens(count, each)} tokens"
