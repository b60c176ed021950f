"""What a person wishes to be looked at: which frames of a video, how finely, which part.

Each wish keeps the name of the option it came by, so that what is wrong with it can be said.
"""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Detail, ImagePart, Region, parse_detail
from vlmchat.errors import UsageError
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import Method, Sampling, clock
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from pathlib import Path

    from vlmchat.media.attaching import Attached

_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,7}(?:\.\d{1,6})?)", re.ASCII)
_EDGES = re.compile(r"\s*(\d{1,7})" + r"\s*,\s*(\d{1,7})" * 3 + r"\s*", re.ASCII)


def parse_time(text: str, option: str) -> float:
    """Return the seconds in ``65``, ``0:05`` or ``1:02:03``; the last may have a fraction.

    Args:
        text: as it was typed.
        option: what an error calls it.

    Raises:
        UsageError: it is none of these, or has more than 59 seconds or minutes behind a colon.
    """
    match = _TIME.fullmatch(text.strip())
    if match is not None:
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        colons = text.count(":")
        if (colons == 0 or seconds < 60) and (colons < 2 or minutes < 60):
            return hours * 3600 + minutes * 60 + seconds
    raise UsageError(
        f"{option}: “{visible_line(text[:40])}” is no time: write it as 65, 0:05 or 1:02:03."
    )


def parse_region(text: str, option: str) -> Region:
    """Return the region in ``left,top,right,bottom``, pixels.

    Raises:
        UsageError: it is none, or holds no pixel.
    """
    match = _EDGES.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{option}: “{visible_line(text[:40])}” is no region: write left,top,right,bottom "
            "in pixels, as 0,0,640,480."
        )
    left, top, right, bottom = map(int, match.groups())
    try:
        return Region(left, top, right, bottom)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for; ``None`` leaves it to the settings.

    Attributes:
        fps: frames a second of video.
        max_frames: the most frames of a video.
        start: in point, seconds.
        end: out point, seconds.
        method: how frames are chosen.
        detail: how finely pictures are looked at.
        region: the part of a picture that is meant.
    """

    fps: float | None = None
    max_frames: int | None = None
    start: float | None = None
    end: float | None = None
    method: Method | None = None
    detail: Detail | None = None
    region: Region | None = None

    @property
    def of_videos(self) -> list[str]:
        """The options given that are about videos."""
        given = {
            "--fps": self.fps,
            "--max-frames": self.max_frames,
            "--from": self.start,
            "--to": self.end,
            "--frames": self.method,
        }
        return [name for name, value in given.items() if value is not None]

    @property
    def of_pictures(self) -> list[str]:
        """The options given that are about pictures."""
        given = {"--detail": self.detail, "--crop": self.region}
        return [name for name, value in given.items() if value is not None]

    def sampling(self, room: int | None = None) -> Sampling:
        """Return which frames of a video are taken: the rules in force, changed as wished.

        Args:
            room: how many frames there is room for, where no other number is wished.
        """
        base = rules().sampling
        most = base.max_frames if room is None else max(1, min(base.max_frames, room))
        end = base.end if self.end is None else self.end
        return Sampling(
            self.method or base.method,
            self.fps or base.fps,
            self.max_frames or most,
            base.start if self.start is None else self.start,
            end,
        )

    def check(self, pictures: int, videos: int) -> None:
        """Check that every wish has something it is about.

        Args:
            pictures: how many are given.
            videos: how many are given, animated pictures among them.

        Raises:
            UsageError: one has not.
        """
        if self.of_videos and not videos:
            raise UsageError(f"{self.of_videos[0]} is about videos, and none is given.")
        if self.of_pictures and not pictures:
            raise UsageError(f"{self.of_pictures[0]} is about pictures, and none is given.")
        if self.region is not None and pictures > 1:
            raise UsageError("--crop is about one picture, and several are given.")


def wishes(
    fps: float | None = None,
    max_frames: int | None = None,
    start: str | None = None,
    end: str | None = None,
    method: Method | None = None,
    detail: str | None = None,
    crop: str | None = None,
) -> Wishes:
    """Return what these options say, as they were typed.

    Raises:
        UsageError: one makes no sense; the sentence names it.
    """
    if fps is not None and not 0 < fps <= 1000:
        raise UsageError("--fps: frames a second must be more than 0 and at most 1000.")
    if max_frames is not None and max_frames < 1:
        raise UsageError("--max-frames: at least 1 frame is needed.")
    begin = None if start is None else parse_time(start, "--from")
    stop = None if end is None else parse_time(end, "--to")
    if stop is not None and stop < (begin or 0):
        raise UsageError(
            f"--to: {clock(stop)} lies before {clock(begin or 0)}, where --from begins."
        )
    return Wishes(
        fps,
        max_frames,
        begin,
        stop,
        method,
        None if detail is None else parse_wished_detail(detail),
        None if crop is None else parse_region(crop, "--crop"),
    )


def parse_wished_detail(text: str) -> Detail:
    """Return the detail that ``--detail`` names.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_detail(text)
    except UsageError as error:
        raise UsageError(f"--detail: {error}") from None


def attach_as_wished(
    path: "Path", wished: Wishes, detail: Detail = "auto", room: int | None = None
) -> "Attached":
    """Return the picture or video at `path`, looked at as wished; reads and decodes.

    Args:
        path: a file.
        wished: by the person.
        detail: of pictures where no other is wished.
        room: how many frames of a video there is room for, where no number is wished.

    Raises:
        MediaError: it cannot be read.
        UsageError: it has nothing that is wished for.
    """
    from vlmchat.media.attaching import attach, video_kind

    video = bool(video_kind(path))
    try:
        attached = attach(path, wished.detail or detail, wished.sampling(room) if video else None)
        part = attached.part
        if wished.region is not None and isinstance(part, ImagePart):
            part = replace(part, region=wished.region)
            return replace(attached, part=part)
    except UsageError as error:
        if type(error) is not UsageError:  # what is wrong with a file says so itself
            raise
        option = "--from" if video else "--crop"
        raise UsageError(f"{option}: {error}") from None
    return attached
