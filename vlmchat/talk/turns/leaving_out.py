"""What an engine did not read, or did not say to the end, told to the person."""

from vlmchat.client.protocol import Finished


def turns_left_out(finished: Finished | None) -> int:
    """Return how many of the oldest questions the engine left out for want of room."""
    count = finished.provenance.get("dropped_turns") if finished else None
    return count if isinstance(count, int) and count > 0 else 0


def ran_in_circles(finished: Finished | None) -> bool:
    """Return whether the engine ended the answer because it repeated itself."""
    return finished is not None and finished.provenance.get("repeated") is True


def left_out(finished: Finished) -> str:
    """Return the sentence about what is missing; empty when nothing is."""
    count = turns_left_out(finished)
    if count:
        what = "oldest question was" if count == 1 else f"{count} oldest questions were"
        return (
            f"The conversation is longer than the model's context: the {what} left out of this "
            "answer, with what was said to it."
        )
    if ran_in_circles(finished):
        return "The answer was ended because it said the same again and again (repeat_guard)."
    return ""
