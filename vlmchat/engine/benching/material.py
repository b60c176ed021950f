"""The pictures and texts that are measured with: the same on every machine and in every run."""

import io
from functools import cache

import numpy as np
from PIL import Image

from vlmchat.chat.messages import Detail, Media, Message, TextPart, user_message
from vlmchat.media.images import media_from_bytes

QUESTION = "What is in this picture? Describe it in one or two sentences."
SECOND_QUESTION = "And what is in the background?"

# Of several kinds, as what is said about pictures is: a description, an instruction, a list, a
# table that was read out, code, another language, and figures.
PASSAGES = (
    "The photograph shows a narrow street in the early morning. On the left, three bicycles lean "
    "against a yellow wall; behind them, a woman in a dark coat opens the shutters of a bakery. "
    "The road is wet, and the lamps are reflected in it. In the background a church tower rises "
    "above the roofs, half hidden in the fog, and two pigeons sit on the sign of a pharmacy.",
    "To change the battery, first switch the device off and hold it with the screen facing down. "
    "Push the cover towards the arrow until it clicks, then lift it. Take out the old battery, put "
    "the new one in with its contacts on the left, and close the cover again. If the light stays "
    "red for more than ten seconds, repeat these steps or ask for help where you bought it.",
    "Here are the main points of the meeting:\n1. The budget for next year was accepted.\n2. Two "
    "new members will join the team in March.\n3. The library will be open on Saturdays from nine "
    "to one.\n4. Nobody could say why the heating fails; a report is expected by Friday.\n"
    "In short, most of the questions have been answered, and the rest was put off.",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    "
    "return total / len(values) if values else None\n\nprint(mean([1, 2, 3.5]))  # 2.1666\n"
    "The function adds up all numbers in a list and divides the sum by their count; for an empty "
    "list it returns None instead of failing. Water boils at 100 degrees Celsius at sea level.",
    "Invoice 2087, 14 June 2021. Three chairs at 49.90 each, one table at 189.00, delivery 25.00. "
    "The total is 363.70, to be paid within thirty days. The chart below compares the sales of "
    "four years: they rose from 120 in 2017 to 310 in 2020, and most of the growth came from the "
    "north, while the share of the south fell from forty to less than twenty per cent.",
    "Am Abend saßen sie am Ufer und schauten den Schiffen nach. The old man told them that he had "
    "crossed the ocean twice, once as a boy and once as a soldier, and that the second time he had "
    "not slept at all. “What did you think about?” asked the girl. He smiled and said nothing. "
    "C’était une nuit sans lune, and one could hear the water long before one saw it.",
)


def picture(width: int, height: int, seed: int) -> Media:
    """Return a photograph-like picture (JPEG): soft shapes with grain."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (height // 64 + 2, width // 64 + 2, 3), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = chance.integers(0, 16, (height, width, 1), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(soft) // 16 * 15 + grain).save(buffer, "JPEG", quality=90)
    return media_from_bytes(buffer.getvalue(), f"picture-{width}x{height}-{seed}.jpg")


def asked(media: Media, detail: Detail, text: str = QUESTION) -> Message:
    """Return a question about a picture."""
    return user_message(text, (media,), detail)


def second_turn(first: Message, answer: str) -> list[Message]:
    """Return a conversation that goes on with another question about the same picture."""
    return [first, Message("assistant", (TextPart(answer or "A picture."),)), _SECOND]


_SECOND = user_message(SECOND_QUESTION)


@cache
def long_text() -> str:
    """Return a text of more tokens than any context that is measured."""
    return "\n\n".join(PASSAGES * 24)
