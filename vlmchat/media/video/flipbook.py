"""Frames of an animated picture (GIF, WebP, PNG) at chosen moments, by Pillow.

Pillow lays frames over each other as their disposal asks, so frames are read in order.
"""

import bisect
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, cast

from PIL import Image

from vlmchat.errors import MediaError
from vlmchat.media.video.animation import Animation, scanned
from vlmchat.media.video.colour import Background, fitted
from vlmchat.media.video.info import Frame, VideoInfo
from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.source import Source
from vlmchat.text import human_bytes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_FORMATS = {"gif": "GIF", "webp": "WEBP", "apng": "PNG"}
_EARLY = 1e-6  # seconds; what adding up pauses may be off


def describe_picture(source: Source, kind: str, limits: VideoLimits) -> tuple[VideoInfo, Animation]:
    """Return what an animated picture holds, without decoding.

    Raises:
        MediaError: still, damaged, too large.
    """
    if source.size > limits.max_picture_bytes:
        raise MediaError(
            f"“{source.label}” has {human_bytes(source.size)}; the most that is read of an "
            f"animated picture is {human_bytes(limits.max_picture_bytes)}: convert it to MP4."
        )
    found = scanned(source, kind)
    if found.most > limits.max_pixels:
        raise MediaError(
            f"“{source.label}” has frames of {found.most / 1e6:.0f} million pixels; the most that "
            f"is opened is {limits.max_pixels / 1e6:.0f} million: make it smaller first."
        )
    duration, count = sum(found.pauses), len(found.pauses)
    info = VideoInfo(
        container=kind,
        codec=kind,
        width=found.width,
        height=found.height,
        duration=duration,
        fps=count / duration,
        frames=count,
        animated=True,
        bit_depth=found.depth,
        size=source.size,
    )
    return info, found


class Flipbook:
    """One open animated picture.

    Attributes:
        info: what the header says.
        damaged: how many frames could not be decoded.
        made_up: always false.

    Raises:
        MediaError: still, damaged, too large.
    """

    made_up = False

    def __init__(self, source: Source, kind: str, limits: VideoLimits) -> None:
        self._source = source
        self._kind = kind
        self.info, self._found = describe_picture(source, kind, limits)
        self.damaged = 0
        self._starts = [0.0, *itertools.accumulate(self._found.pauses)][:-1]
        self._end = self.info.duration or 0.0

    def pictures(
        self, times: Sequence[float], longest: int | None, background: Background = "white"
    ) -> Iterator[Frame]:
        """Yield the frame shown at each moment; the same frame is yielded once."""
        wanted = sorted({max(0, bisect.bisect_right(self._starts, t + _EARLY) - 1) for t in times})
        if not wanted:
            return
        shown = 0
        with self._opened() as book:
            for number in range(wanted[-1] + 1):
                self._source.watch.packet()
                if not self._turn_to(book, number + self._found.first):
                    break
                if number in wanted:
                    image = self._picture(book, longest, background)
                    if image is None:
                        break
                    shown += 1
                    yield Frame(self._starts[number], image)
        if shown < len(wanted):
            self.damaged += 1

    key_pictures = pictures

    def key_times(self, start: float, end: float) -> list[float]:
        """Return the times of all frames between two moments: each is stored for itself."""
        return [t for t in self._starts if start - _EARLY <= t <= end + _EARLY]

    def reach(self) -> float | None:
        """Return when the last frame in the file ends, seconds."""
        return self._end

    @property
    def cut(self) -> bool:
        """Whether the file ends before its end mark."""
        return not self._found.whole

    def _opened(self) -> "ImageFile":
        self._source.seek(0)
        try:
            with warnings.catch_warnings():
                # Sizes are refused by our own limit.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return Image.open(cast(IO[bytes], self._source), formats=(_FORMATS[self._kind],))
        except Exception as error:
            self._source.raise_failed()
            raise MediaError(f"“{self._source.label}” is damaged and cannot be opened.") from error

    def _turn_to(self, book: "ImageFile", number: int) -> bool:
        try:
            book.seek(number)
            book.load()
        except MemoryError:
            raise
        except Exception:  # Pillow's readers raise all sorts on damaged files
            self._source.raise_failed()
            return False
        return True

    def _picture(
        self, book: "ImageFile", longest: int | None, background: Background
    ) -> Image.Image | None:
        clear = book.has_transparency_data
        # Premultiplied alpha, or the invisible colours would bleed into the edges.
        image = book.convert("RGBA").convert("RGBa") if clear else book.convert("RGB")
        target = fitted(*image.size, longest)
        if target != image.size:
            image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
        if not clear:
            return image
        below = Image.new("RGBA", image.size, background)
        return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")
