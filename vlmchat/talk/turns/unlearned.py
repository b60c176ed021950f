"""What a person should know who shows a video to a model that has not learned videos."""

from vlmchat.chat.messages import VideoPart
from vlmchat.client.protocol import ModelInfo
from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible_line


def unlearned(model: ModelInfo | None, asked: Turn) -> str | None:
    """Return the sentence for a question with the first video of its conversation.

    Args:
        model: what answers.
        asked: the question.

    Returns:
        ``None`` where nothing is to be said: the model has learned videos, there is none in the
        question, or it was said before.
    """
    frames = _frames(asked)
    if model is None or not frames or model.video:
        return None
    before = asked.parent
    while before is not None:
        if _frames(before):
            return None
        before = before.parent
    pictures = "one picture with its time" if frames == 1 else f"{frames} pictures with their times"
    return f"{visible_line(model.title)} has not learned videos: it gets {pictures}."


def _frames(turn: Turn) -> int:
    return sum(len(x.clip.times) for x in turn.attachments if isinstance(x, VideoPart))
