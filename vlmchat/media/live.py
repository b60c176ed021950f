"""A camera, a stream, or a file as it is played: always the newest frame, and only that one.

A thread of its own decodes; whoever asks gets what is seen at that moment, however long the last
answer took. One decoded frame is held, so the memory does not grow.
"""

import contextlib
import errno
import io
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import av
from av.error import ExitError, FFmpegError
from av.stream import Disposition

from vlmchat.chat.messages import Detail, Media
from vlmchat.errors import MediaError
from vlmchat.media.frames import EDGE
from vlmchat.media.live_names import Opening
from vlmchat.media.rules import rules
from vlmchat.media.video.colour import Painter
from vlmchat.media.video.opening import clear_errors, film_stream, opened, why
from vlmchat.media.video.plan import clock
from vlmchat.media.video.sniff import PICTURES, sniff
from vlmchat.media.video.source import Source, Watch

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL import Image

_OPEN_SECONDS, _READ_SECONDS = 10.0, 5.0
_AGAIN = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds before each try to connect again
_JUMP = 10.0  # seconds; where the times of a stream leap that far, they begin anew
_LATE = 1.0  # seconds behind, from which on only whole frames are decoded
_MOST_BROKEN = 1000  # packets in a row that cannot be decoded
_JOIN = 0.3  # seconds; a thread that waits for the network ends when that gives up
_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen at a moment.

    Attributes:
        number: how many frames had come by then; rises from look to look.
        time: seconds from the beginning of the source.
        image: 8-bit RGB, upright, with square pixels.
    """

    number: int
    time: float
    image: "Image.Image"

    def as_media(self, title: str) -> Media:
        """Return it as a picture to send; blocking."""
        buffer = io.BytesIO()
        self.image.save(buffer, "JPEG", quality=_QUALITY)
        name = f"{title} {clock(self.time)}.jpg"
        return Media.held(buffer.getvalue(), name, "image/jpeg", *self.image.size)


@dataclass(slots=True)
class _Shown:
    """The newest frame as it was decoded, and what makes a picture of it."""

    number: int
    time: float
    frame: "VideoFrame"
    painter: Painter


class _StoppedError(Exception):
    """Nobody looks any more."""


@dataclass(slots=True)
class _Open:
    """An open source."""

    container: "InputContainer"
    stream: "VideoStream"
    stack: ExitStack
    paced: bool
    lasting: bool


class LiveSource:
    """What is seen now. The methods may be called from any thread.

    Args:
        opening: what to open.
        longest: the longest edge of what is seen, pixels; ``None`` for as large as it is.
        say: told a sentence when a stream breaks off and when it is back; from another thread.
        again: seconds to wait before each try to connect again.
    """

    def __init__(
        self,
        opening: Opening,
        longest: int | None = None,
        say: Callable[[str], None] = lambda _: None,
        again: Sequence[float] = _AGAIN,
    ) -> None:
        self.opening = opening
        self._longest = longest
        self._say = say
        self._again = again
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._newest: _Shown | None = None
        self._painting = threading.Lock()
        self._ended = False
        self._error: MediaError | None = None
        self._open: _Open | None = None
        self._thread: threading.Thread | None = None
        self._pace = _Pace()

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self.close()

    def open(self) -> None:
        """Open the source; blocking.

        Raises:
            MediaError: it cannot be opened.
        """
        self._open = self._opened()

    def start(self) -> None:
        """Begin to look; what was not opened yet is opened first.

        Raises:
            MediaError: it cannot be opened.
        """
        if self._open is None:
            self.open()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def newest(self, after: int = 0, seconds: float = 1.0) -> Seen | None:
        """Return what is seen now; blocking.

        Args:
            after: the number of the frame that was looked at last; a newer one is waited for.
            seconds: how long.

        Returns:
            ``None`` when there is nothing newer; see `ended`.
        """

        def there() -> bool:
            return self._ended or (self._newest is not None and self._newest.number > after)

        with self._changed:
            self._changed.wait_for(there, seconds)
            found = self._newest
        if found is None or found.number <= after:
            return None
        with self._painting:
            return Seen(found.number, found.time, found.painter.picture(found.frame))

    @property
    def ended(self) -> bool:
        """Whether no newer frame will come."""
        return self._ended

    @property
    def error(self) -> MediaError | None:
        """What ended it, if it was no end as it should be."""
        return self._error

    def close(self) -> None:
        """Look no more; returns at once."""
        self._stopped.set()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_JOIN)
        elif self._open is not None:
            self._open.stack.close()
            self._open = None

    # The thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        source = self._open
        try:
            while source is not None:
                source = self._played(source)
        except Exception as error:  # decoders raise what they like; a thread has nobody to tell
            self._error = self._broken(error)
        finally:
            self._open = None
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _played(self, source: _Open) -> _Open | None:
        """Look until the source ends; return it opened anew where it only broke off."""
        try:
            with source.stack:
                self._play(source)
            reason = "it ended"
            if not source.lasting:
                return None
        except _StoppedError:
            return None
        except MediaError as error:
            self._error = error
            return None
        except (FFmpegError, OSError, ValueError) as error:
            if self.opening.kind == "file":
                self._error = self._broken(error)
                return None
            silent = isinstance(error, ExitError)  # what libav says when its time is up
            reason = f"nothing came for {_READ_SECONDS:g} seconds" if silent else why(error)
        return self._connected_again(reason)

    def _play(self, source: _Open) -> None:
        broken = 0
        stream = source.stream
        self._pace.begin(source.paced, self.opening.kind == "file")
        aspect = stream.sample_aspect_ratio
        stretch = float(aspect) if aspect else None
        # One for all frames: each looks up once which way up frames are, which keeps that frame's
        # memory until Python collects garbage.
        painter = Painter(self._longest, rules().background, stretch)
        for packet in source.container.demux(stream):
            if self._stopped.is_set():
                raise _StoppedError
            if source.paced and self._pace.skips(packet.is_keyframe):
                continue
            try:
                frames = packet.decode()
                broken = 0
            except FFmpegError:
                broken += 1
                if broken > _MOST_BROKEN:
                    raise
                continue
            for frame in frames:
                self._arrived(frame, painter)

    def _arrived(self, frame: "VideoFrame", painter: Painter) -> None:
        moment, wait = self._pace.moment(frame)
        if wait > 0 and self._stopped.wait(wait):
            raise _StoppedError
        limits = rules().video_limits
        if frame.width * frame.height > limits.max_pixels:
            raise MediaError(
                f"“{self.opening.title}” has frames of {frame.width} × {frame.height} pixels; the "
                f"most that is opened is {limits.max_pixels / 1e6:.0f} million."
            )
        with self._changed:
            number = self._newest.number + 1 if self._newest else 1
            self._newest = _Shown(number, moment, frame, painter)
            self._changed.notify_all()

    def _connected_again(self, reason: str) -> _Open | None:
        title = self.opening.title
        self._say(f"“{title}” broke off ({reason}): connecting again.")
        for seconds in self._again:
            if self._stopped.wait(seconds):
                return None
            try:
                source = self._opened()
            except MediaError as error:
                reason = str(error)
                continue
            self._say(f"“{title}” is back.")
            return source
        self._error = MediaError(
            f"“{title}” broke off and did not come back in {len(self._again)} tries: {reason}"
        )
        return None

    def _broken(self, error: BaseException) -> MediaError:
        return MediaError(f"“{self.opening.title}” cannot be played further ({why(error)}).")

    # Opening ----------------------------------------------------------------------------------

    def _opened(self) -> _Open:
        with ExitStack() as stack:
            if self.opening.kind == "file":
                container, stream = self._file(stack)
                paced, lasting = True, False
            else:
                container = stack.enter_context(self._connected())
                stream = self._stream(container)
                # Cameras that send one picture after the other do not say when.
                paced = self.opening.paced and "mpjpeg" not in container.format.name
                lasting = self.opening.lasting and not container.duration
            # Threads that each decode a frame of their own would show what was seen a while ago.
            stream.thread_type = "SLICE"
            return _Open(container, stream, stack.pop_all(), paced, lasting)
        raise AssertionError

    def _file(self, stack: ExitStack) -> "tuple[InputContainer, VideoStream]":
        path = Path(self.opening.url)
        limits = replace(rules().video_limits, decode_seconds=math.inf, max_packets=sys.maxsize)
        watch = Watch(limits, self._check)
        with clear_errors(path.name, watch):
            source = stack.enter_context(Source(path, limits, watch))
            kind = sniff(source)
            if kind in PICTURES:
                raise MediaError(f"“{source.label}” is a picture: attach it rather than watch it.")
            container = stack.enter_context(opened(source, kind, limits))
            return container, film_stream(container, source)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise _StoppedError

    @contextlib.contextmanager
    def _connected(self) -> "Iterator[InputContainer]":
        opening = self.opening
        options = {"max_pixels": str(rules().video_limits.max_pixels), **opening.options}
        try:
            container = av.open(
                opening.url,
                "r",
                format=opening.format,
                options=options,
                timeout=(_OPEN_SECONDS, _READ_SECONDS),
                metadata_errors="replace",
            )
        except (FFmpegError, MemoryError, ValueError, OSError, RuntimeError) as error:
            raise self._unopened(error) from error
        with container:
            yield container

    def _unopened(self, error: Exception) -> MediaError:
        title, url = self.opening.title, self.opening.url
        if isinstance(error, ExitError):
            return MediaError(f"“{title}” sends nothing: check that it is on, and the address.")
        if self.opening.kind == "stream":
            return MediaError(f"“{title}” cannot be opened ({why(error)}): check the address.")
        if isinstance(error, FileNotFoundError):
            return MediaError(f"There is no {title} here ({url}): connect it, or name another.")
        if isinstance(error, PermissionError):
            return MediaError(
                f"The {title} may not be used: allow it, on Linux to the group video."
            )
        if isinstance(error, OSError) and error.errno == errno.EBUSY:
            return MediaError(f"The {title} is in use: close the program that uses it.")
        if isinstance(error, ValueError) and "format" in str(error):
            return MediaError(f"This PyAV knows no cameras ({self.opening.format} is missing).")
        return MediaError(f"The {title} cannot be opened ({why(error)}).")

    def _stream(self, container: "InputContainer") -> "VideoStream":
        films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        known = [s for s in films if cast(object, s.codec_context) is not None]
        if not known:
            what = "with a codec that is not known here" if films else "without pictures"
            raise MediaError(f"“{self.opening.title}” is a stream {what}.")
        return known[0]


class _Pace:
    """When each frame is to be seen."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._paced = self._exact = False
        self._anchor: tuple[float, float] | None = None
        self._last = 0.0
        self._late = 0.0
        self._hurrying = False

    def begin(self, paced: bool, exact: bool) -> None:
        """Begin anew, with a source that was just opened."""
        self._paced, self._exact = paced, exact
        self._anchor = None
        self._hurrying = False
        self._late = 0.0

    def skips(self, keyframe: bool) -> bool:
        """Return whether a packet is left out, because the picture is late already."""
        if self._late > _LATE:
            self._hurrying = True
        elif keyframe:
            self._hurrying = False
        return self._hurrying and not keyframe

    def moment(self, frame: "VideoFrame") -> tuple[float, float]:
        """Return when a frame is shown, seconds from the beginning, and how long to wait for it."""
        now = time.monotonic()
        began = self._began = now if self._began is None else self._began
        seconds = frame.time
        if not self._paced or seconds is None:
            return now - began, 0.0
        far = not self._exact and max(seconds - self._last, self._late) > _JUMP
        if self._anchor is None or far or seconds < self._last - 1:
            self._anchor = (now, seconds)
        self._last = seconds
        due = self._anchor[0] + seconds - self._anchor[1]
        self._late = now - due
        return due - began, due - now


def longest_edge(detail: Detail) -> int | None:
    """Return how large frames are wanted: one tile, unless they are to be looked at more finely.

    Args:
        detail: of the pictures; ``auto`` is quick rather than fine, as what is seen passes by.
    """
    return EDGE if detail in ("low", "auto") else None


def cameras() -> list[str]:
    """Return the names of the cameras of Windows, in their order; blocking."""
    try:
        found = av.enumerate_input_devices("dshow")
    except (AttributeError, ValueError, OSError, FFmpegError):
        return []
    return [device.name for device in found if "video" in device.media_types]
