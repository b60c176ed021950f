"""Which part of a picture a person means, and attaching it."""

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from vlmchat.chat.messages import Attachment, ImagePart, Region
from vlmchat.errors import UsageError
from vlmchat.talk.plan import region_words
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

Part: TypeAlias = tuple[int, int, int, int] | str
OFF: Literal["off"] = "off"
# Columns and rows of eighths, from and to: names that can be put together.
_ACROSS = {"left": (0, 4), "right": (4, 8)}
_DOWN = {"top": (0, 4), "upper": (0, 4), "bottom": (4, 8), "lower": (4, 8)}
_MIDDLE = {"middle": (2, 6), "centre": (2, 6), "center": (2, 6)}
_WORDS = (*_ACROSS, *_DOWN, *_MIDDLE, "half", "quarter")
PARTS = {
    "left": "The left half",
    "right": "The right half",
    "top": "The upper half",
    "bottom": "The lower half",
    "middle": "The half in the middle",
    "top left": "A quarter; so are top right, bottom left, bottom right",
    OFF: "The whole picture again",
}
_EDGES = re.compile(r"(?:^|\s)(\d{1,6})(?:\s*,\s*|\s+)(\d{1,6})(?:\s*,\s*|\s+)"
                    r"(\d{1,6})(?:\s*,\s*|\s+)(\d{1,6})\s*\Z")  # fmt: skip


def parse_crop(argument: str) -> tuple[str, Part | None]:
    """Return which picture is named, and the part of it: its edges, a name, ``off`` or none."""
    argument = argument.strip()
    if match := _EDGES.search(argument):
        left, top, right, bottom = map(int, match.groups())
        return argument[: match.start()].strip(), (left, top, right, bottom)
    words = argument.split()
    count = 0
    while count < len(words) and words[-1 - count].lower() in (*_WORDS, OFF):
        count += 1
    if not count:
        return argument, None
    head = " ".join(words[: len(words) - count])
    return head, " ".join(words[-count:]).lower()


def region_of(part: Part, width: int, height: int) -> Region:
    """Return the region that a part is in a picture of `width` × `height` pixels.

    Raises:
        UsageError: there is no such part.
    """
    if not isinstance(part, str):
        return Region(*part)
    columns, rows = (0, 8), (0, 8)
    for word in part.split():
        if word in _MIDDLE:
            columns, rows = _MIDDLE[word], _MIDDLE[word]
        elif word in _ACROSS:
            columns = _ACROSS[word]
        elif word in _DOWN:
            rows = _DOWN[word]
        elif word == OFF:
            raise UsageError("“off” takes the whole picture again: it stands alone.")
    if columns == rows == (0, 8):
        raise UsageError(f"“{visible_line(part)}” is no part: it is left, top right, middle …")
    left, top = width * columns[0] // 8, height * rows[0] // 8
    right, bottom = max(left + 1, width * columns[1] // 8), max(top + 1, height * rows[1] // 8)
    return Region(left, top, right, bottom)


def pictures_to_crop(chat: "Front") -> list[ImagePart]:
    """Return the pictures that are attached; those of the conversation where none is."""
    attached = [item for item in chat.attachments.items if isinstance(item, ImagePart)]
    if attached:
        return attached
    asked = [item for turn in chat.session.path for item in turn.attachments]
    return [item for item in asked if isinstance(item, ImagePart)]


def picture_named(chat: "Front", which: str) -> ImagePart:
    """Return the picture of that number or name, the last one without; see `pictures_to_crop`.

    Numbers are those of the attachments, among which there may be videos.

    Raises:
        UsageError: there is none.
    """
    pictures = pictures_to_crop(chat)
    if not pictures:
        raise UsageError("There is no picture to crop yet: /attach adds one.")
    if not which:
        return pictures[-1]
    numbered: list[Attachment] = chat.attachments.items
    if not any(isinstance(item, ImagePart) for item in numbered):
        numbered = list(pictures)
    if which.isdecimal() and 1 <= int(which) <= len(numbered):
        found = numbered[int(which) - 1]
        if isinstance(found, ImagePart):
            return found
        raise UsageError(f"Number {which} is a video: only pictures are cropped.")
    for item in reversed(pictures):
        if item.media.name == which:
            return item
    raise UsageError(
        f"No picture is called “{visible_line(which)}”, and this is no part of one: give left, "
        "top, right, bottom as pixels, or a name as left, top right or middle."
    )


def attach_part(chat: "Front", item: ImagePart, region: Region | None) -> ImagePart:
    """Attach a part of a picture; where the picture is attached already, in its place.

    Raises:
        UsageError: the region does not lie within it.
    """
    if region is not None and region.edges == (0, 0, item.media.width, item.media.height):
        region = None
    new = ImagePart(item.media, item.detail, region)
    # The same picture may have been asked about before: that one is not meant.
    if any(other is item for other in chat.attachments.items):
        chat.attachments.replace(item, new)
    else:
        chat.attachments.add(new)
    return new


def crop(chat: "Front", which: str, part: Part) -> str:
    """Attach the part that a person named, and return what was done as a sentence.

    Raises:
        UsageError: there is no such picture or part.
    """
    item = picture_named(chat, which)
    if part == OFF:
        region = None
        if not which and item.region is None:
            cropped = [other for other in pictures_to_crop(chat) if other.region is not None]
            item = cropped[-1] if cropped else item
    else:
        region = region_of(part, item.media.width, item.media.height)
        region.check(item.media.width, item.media.height)
    new = attach_part(chat, item, region)
    return attached_words(chat, new)


def attached_words(chat: "Front", item: ImagePart) -> str:
    """Return the sentence that tells what of a picture goes with the next question."""
    what = region_words(item).removeprefix("of which ") or "the whole picture"
    facts = ", ".join(chat.plans.facts(item))
    cost = f": {facts}" if facts else ""
    return f"With the next question goes {what} of {visible_line(item.media.name)}{cost}."
