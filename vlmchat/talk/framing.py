"""Which frames of an attached video go to the model: said in words, and done.

``/frames`` is understood here for both fronts:

    12                          so many frames
    fps 2                       so many a second, as far as there is room for them
    from 0:05 to 0:17           in and out points (``from start``, ``to end`` take them away)
    uniform, scenes, keyframes  how they are chosen
    drop 3 5                    leave frames out, by their numbers
    add 0:07                    put the frame at a moment in
    of clip.mp4, of 2           which video, where several are attached (the last one without)

They may stand together: “of 1 scenes 8 from 0:10”.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Attachment, VideoPart
from vlmchat.errors import UsageError
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import Method, Sampling
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.attachments import Attachments

METHODS: tuple[Method, ...] = ("uniform", "scenes", "keyframes")
# More a second than any video has: the count alone decides.
ALL = 1000.0
EXAMPLES = "12, fps 2, from 0:05 to 0:17, scenes, drop 3 or add 0:07"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks of a video's frames; what is not named stays as it is.

    Attributes:
        which: number or name of the video among the attached ones; empty for the last.
        count: how many frames.
        fps: how many a second.
        start: in point, seconds.
        end: out point, seconds; infinite for the end of the video.
        method: how they are chosen.
        drop: numbers of frames to leave out.
        add: moments whose frames are put in, seconds.
    """

    which: str = ""
    count: int | None = None
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    method: Method | None = None
    drop: tuple[int, ...] = ()
    add: tuple[float, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is to be changed: the frames are to be shown."""
        return self == Wish(self.which)

    def sampling(self, now: Sampling) -> Sampling | None:
        """Return how frames are chosen anew; ``None`` if they are not.

        Args:
            now: how they were chosen until now.

        Raises:
            UsageError: the out point lies before the in point, and the like.
        """
        new = now
        if self.fps is not None:
            new = replace(new, fps=self.fps, max_frames=rules().sampling.max_frames)
        if self.count is not None:
            new = replace(new, fps=ALL, max_frames=self.count)
        if self.method is not None:
            new = replace(new, method=self.method)
        start = now.start if self.start is None else self.start
        end = now.end if self.end is None else self.end if self.end < math.inf else None
        new = replace(new, start=start, end=end)
        named = (self.count, self.fps, self.start, self.end, self.method)
        return None if named == (None,) * 5 else new


def moment(text: str) -> float:
    """Return the seconds in ``0:07``, ``1:02:03``, ``7.5`` or ``7s``.

    Raises:
        UsageError: it is no time.
    """
    pieces = text.strip().lower().removesuffix("s").split(":")
    plain = [piece.replace(".", "", 1) if number == 0 else piece for number, piece in
             enumerate(reversed(pieces))]  # fmt: skip
    if len(pieces) > 3 or not all(piece.isascii() and piece.isdecimal() for piece in plain):
        raise UsageError(f"“{visible_line(text)}” is no time: write it as 0:07 or 1:02:03.")
    seconds = 0.0
    for piece in pieces:
        seconds = 60 * seconds + float(piece)
    return seconds


def parse(argument: str, names: Sequence[str] = ()) -> Wish:
    """Return what ``/frames`` is asked for.

    Args:
        argument: see the module.
        names: of the attached videos; one of them may stand at the beginning, spaces and all.

    Raises:
        UsageError: it cannot be understood.
    """
    which, rest = _which(argument.strip(), names)
    return _Words(which, rest.split()).wish()


def _which(argument: str, names: Sequence[str]) -> tuple[str, str]:
    """Part the video's name from what follows."""
    said = argument.partition(" ")[0].lower() == "of"
    rest = argument[2:].strip() if said else argument
    for name in sorted(names, key=len, reverse=True):
        for written in (name, f"“{name}”", f'"{name}"', f"'{name}'"):
            if rest == written or rest.startswith(f"{written} "):
                return name, rest[len(written) :].strip()
    if not said:
        return "", rest
    which, _, rest = rest.partition(" ")
    return which, rest.strip()


class _Words:
    """The words of one wish, from the first to the last."""

    def __init__(self, which: str, words: list[str]) -> None:
        self._wish = Wish(which)
        self._left = words

    def wish(self) -> Wish:
        while self._left:
            word = self._left.pop(0)
            self._take(word, word.lower())
        return self._wish

    def _take(self, word: str, name: str) -> None:
        wish = self._wish
        if name == "fps":
            wish = replace(wish, fps=self._number(self._next("fps")))
        elif name == "from":
            text = self._next("from").lower()
            wish = replace(wish, start=0.0 if text == "start" else moment(text))
        elif name == "to":
            text = self._next("to").lower()
            wish = replace(wish, end=math.inf if text == "end" else moment(text))
        elif name == "drop":
            wish = replace(wish, drop=tuple(self._whole(text) for text in self._several("drop")))
        elif name == "add":
            wish = replace(wish, add=tuple(moment(text) for text in self._several("add")))
        elif method := next((known for known in METHODS if known == name), None):
            wish = replace(wish, method=method)
        elif name.isascii() and name.isdecimal():
            wish = replace(wish, count=self._whole(name))
        else:
            raise UsageError(f"Frames cannot be “{visible_line(word)}”: write {EXAMPLES}.")
        self._wish = wish

    def _next(self, before: str) -> str:
        if not self._left:
            raise UsageError(f"What “{before}” means is missing: write {EXAMPLES}.")
        return self._left.pop(0)

    def _several(self, before: str) -> list[str]:
        found = [self._next(before)]
        while self._left and self._left[0][:1].isdecimal():
            found.append(self._left.pop(0))
        return [text.rstrip(",") for text in found]

    def _number(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"“{visible_line(text)}” is no number of frames a second.") from None

    def _whole(self, text: str) -> int:
        most = rules().video_limits.max_frames
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
            raise UsageError(f"“{visible_line(text)}” is no number from 1 to {most}.")
        return int(text)


def videos_of(items: Sequence[Attachment]) -> list[VideoPart]:
    """Return the videos among what is attached."""
    return [item for item in items if isinstance(item, VideoPart)]


def video_of(items: Sequence[Attachment], which: str = "") -> VideoPart:
    """Return the attached video of that number or name; the last one without.

    The number is that of ``/detach``: pictures count too.

    Raises:
        UsageError: there is none like that.
    """
    videos = videos_of(items)
    if not videos:
        raise UsageError("No video is attached: /attach adds one.")
    if not which:
        return videos[-1]
    for number, item in reversed(list(enumerate(items, 1))):
        if isinstance(item, VideoPart) and which in (str(number), item.media.name):
            return item
    raise UsageError(f"No video that is attached is called “{visible_line(which)}”.")


def sampling_of(attachments: "Attachments", item: VideoPart) -> Sampling:
    """Return how the frames of an attached video were chosen."""
    from vlmchat.media.attaching import within

    known = attachments.samplings.get(item.media.sha256)
    return known or within(rules().sampling, attachments.room())


async def reframe(attachments: "Attachments", wish: Wish) -> None:
    """Do what `wish` says; what is wrong with it is told by `attachments`.

    What was named before is read first, so that one wish after the other comes true.
    """
    from vlmchat.media.reframing import reframed

    async def change() -> None:
        item = video_of(attachments.items, wish.which)
        sampling = wish.sampling(sampling_of(attachments, item))
        new = await asyncio.to_thread(reframed, item, sampling, wish.drop, wish.add)
        attachments.take_frames(item, new, sampling)

    await attachments.change(change)
