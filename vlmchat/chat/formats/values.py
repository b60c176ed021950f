"""What reading and writing conversations share: reports, problems, and checked fields of rows."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

from vlmchat.chat.conversation import Conversation
from vlmchat.chat.messages import ImagePart, Media, Role, VideoPart
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

# Checks the bytes of a file and makes them a picture; gets the file's name for its errors.
MakeMedia: TypeAlias = Callable[[bytes, str], Media]
# Opens the video at a path with these frames, or with those that the rules choose.
OpenVideo: TypeAlias = Callable[[Path, tuple[float, ...] | None], VideoPart]
# What stands in a written file for a picture or a video: a data: URL, or a path relative to the
# file.
Link: TypeAlias = Callable[[Media], str]

TITLE = 60
_ROLES: dict[str, Role] = {
    **{"user": "user", "human": "user", "person": "user"},
    **{"assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"},
    **{"model": "assistant", "bing": "assistant", "bard": "assistant"},
    **{"system": "system", "developer": "system"},
}
_MOST_NESTED = 32
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class BadRow(UsageError):  # noqa: N818 - it is caught and becomes a `Problem`
    """One conversation of a file cannot be read; the sentence says why."""

    code = "bad_row"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one row of a file.

    Attributes:
        file: its name.
        line: where the row begins, from 1; ``None`` when the whole file is meant.
        reason: one sentence.
    """

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        """Return the problem as one line."""
        where = f", line {self.line}" if self.line is not None else ""
        return f"{visible_line(self.file)}{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What a file held.

    Attributes:
        conversations: those that could be read.
        problems: one for each that could not.
        notes: what was left out of those that could, one sentence each.
    """

    conversations: tuple[Conversation, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Videos:
    """How videos are read.

    Attributes:
        open: looks into a file; what it raises is told with the row.
        scratch: an empty folder for videos that come packed or written as text; it has to stay
            until what was read is stored.
        max_frames: the most frames a row may name.
    """

    open: OpenVideo
    scratch: Path
    max_frames: int = 256


@dataclass(frozen=True, slots=True)
class Views:
    """What the readable formats show of media, made by whoever can decode.

    Attributes:
        storyboard: small pictures of the frames of a video, in order.
        cut: the part of a picture that was meant, as a picture of its own.
    """

    storyboard: Callable[[VideoPart], list[Media]]
    cut: Callable[[ImagePart], Media]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may cost before it is refused.

    Attributes:
        max_bytes: size of the file of conversations; unpacked, where it is packed.
        max_picture_bytes: size of one picture.
        max_held_bytes: all pictures that come in the file itself and are held in memory.
        max_video_bytes: size of one video.
        max_unpacked_bytes: all videos that come packed or as text and are unpacked to the disk.
        max_files: files of an archive, or of a folder that pictures are looked up in.
    """

    max_bytes: int = 1_000_000_000
    max_picture_bytes: int = 200_000_000
    max_held_bytes: int = 2_000_000_000
    max_video_bytes: int = 20_000_000_000
    max_unpacked_bytes: int = 20_000_000_000
    max_files: int = 200_000


DEFAULT_LIMITS = Limits()


def sound(text: str) -> str:
    """Return `text` without lone surrogates, which neither UTF-8 nor the database can hold.

    Two halves of a pair become the character they mean, a half alone becomes U+FFFD.
    """
    if not _HALF_PAIR.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def sound_value(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a JSON value with `sound` applied to every string in it."""
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, list):
        return [sound_value(item) for item in value]
    if isinstance(value, dict):
        return {sound(key): sound_value(item) for key, item in value.items()}
    return value


def short(value: object) -> str:
    """Return `value` as it may stand in a sentence: visible, on one line, not too long."""
    text = visible_line(str(value))
    return text if len(text) <= 60 else f"{text[:57]}…"


def dict_of(value: object, what: str) -> dict[str, Any]:
    """Return `value` if it is an object."""
    if not isinstance(value, dict):
        raise BadRow(f"{what} is not an object.")
    return cast("dict[str, Any]", value)


def list_of(value: object, what: str) -> list[Any]:
    """Return `value` if it is a list."""
    if not isinstance(value, list):
        raise BadRow(f"{what} is not a list.")
    return value


def text_of(row: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """Return the text under `key`; without a default it must be there."""
    value = row.get(key, default)
    if not isinstance(value, str):
        raise BadRow(f"“{key}” is missing or not a text.")
    return value


def number_of(row: Mapping[str, Any], key: str) -> float:
    """Return the number under `key`, 0 if there is none."""
    value = row.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRow(f"“{key}” is not a number.")
    if not abs(value) < 1e12:
        raise BadRow(f"“{key}” is no time.")
    return float(value)


def count_of(row: Mapping[str, Any], key: str) -> int | None:
    """Return the count under `key`, if there is one."""
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise BadRow(f"“{key}” is not a count.")
    return value


def free_of(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object under `key`, whatever is in it as long as it is not nested deeply."""
    value = dict_of(row.get(key, {}), f"“{key}”")
    level: list[object] = [value]
    for _ in range(_MOST_NESTED):
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return value
    raise BadRow(f"“{key}” is nested more than {_MOST_NESTED} deep.")


def _inside(item: object) -> Iterable[object]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def role_of(name: object) -> Role:
    """Return the role that other programs call `name`."""
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise BadRow(f"The role “{short(name)}” is not one of system, user and assistant.")
    return role


def time_of(row: Mapping[str, Any], *keys: str) -> float:
    """Return the first time found under one of `keys`, in seconds since 1970; 0 if there is none.

    Numbers and ISO 8601 are understood; anything else is no reason to refuse a conversation.
    """
    for key in keys:
        value = row.get(key)
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).timestamp()
            except (ValueError, OverflowError, OSError):
                continue
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:
            return float(value)
    return 0.0


def title_from(text: str) -> str:
    """Return the title of a conversation that begins with `text`."""
    return visible_line(" ".join(text.split()))[:TITLE]
