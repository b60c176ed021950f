"""Frames of a film at chosen moments, by seeking where they are far apart.

Between two moments the reader either goes on decoding or jumps to the last keyframe before the
second, whichever decodes less; the container's own index tells, and where there is none the
distance between keyframes seen so far. On the way, frames that no other refers to are left out.
"""

import math
import os
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast

import av
from av.codec import CodecContext
from av.error import FFmpegError

from vlmchat.errors import MediaError
from vlmchat.media.video.colour import Background, Painter
from vlmchat.media.video.info import Frame, VideoInfo
from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.opening import accept, describe, film_stream, why
from vlmchat.media.video.source import Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_BACK = (0.5, 2.0, 8.0, 32.0, 128.0)  # seconds, where a seek landed too late
_HURRY = 0.5  # seconds before the moment in which every frame is decoded
_LONG = 3600.0  # seconds
_FIRST_GUESS = 2.0  # seconds between keyframes, before any were seen
_BEFORE = 60.0  # seconds before the first frame: where a seek to the beginning aims
# libav's own decoders of these leave the transparent layer out.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class Film:
    """One open film, read from its beginning towards its end.

    Args:
        container: as `opened` gives it.
        source: the file it reads.
        kind: its container.
        limits: pixels and threads.

    Attributes:
        info: what the header says.
        damaged: how many packets could not be decoded, or were decoded with faults.
        made_up: whether frames had no times of their own.

    Raises:
        MediaError: no video in it, none that can be decoded, too large or too long.
    """

    def __init__(
        self, container: "InputContainer", source: Source, kind: str, limits: VideoLimits
    ) -> None:
        self._container = container
        self._source = source
        self._stream = film_stream(container, source)
        self.info = describe(container, self._stream, source, kind)
        self.damaged = 0
        self.made_up = False
        accept(self.info, source, limits)
        self._decoder = _decoder(self._stream, limits, source, _threads(limits, self.info))
        self._base = self._stream.time_base or Fraction(1, av.time_base)
        # AVI numbers frames as they are decoded, and libav cannot tell the order in which those of
        # these two are shown; they come out in that order, one a tick.
        self._counted = kind == "avi" and self.info.codec in ("h264", "hevc")
        self._origin = self._beginning(kind)
        rate = self.info.fps or 25.0
        self._step = max(1, round(1 / (rate * float(self._base))))
        self._gap = _FIRST_GUESS
        self._seekable = True
        self._rewind()

    def _beginning(self, kind: str) -> int:
        """Return the timestamp that players call 0:00."""
        if kind == "avi":
            first = next(self._packets(), None)
            return 0 if first is None or first.pts is None else first.pts
        start = cast("int | None", self._container.start_time)
        if start is not None:
            return round(Fraction(start, av.time_base) / self._base)
        return self._stream.start_time or 0

    def _rewind(self) -> None:
        self._frames: Generator[VideoFrame, None, None] | None = None
        self._shown: VideoFrame | None = None
        self._ahead: VideoFrame | None = None
        self._read = -math.inf  # the decoding time of the newest packet, ticks
        self._last: int | None = None  # the time of the newest frame, ticks
        self._skipped: int | None = None  # the latest moment of a packet left out, ticks
        self._first: int | None = None  # the time of the first packet since a seek, ticks
        self._landed = math.inf  # its decoding time, ticks
        self._want: float = math.inf
        self._may_hurry = False

    def seconds(self, ticks: float) -> float:
        """Return a timestamp as seconds from the beginning."""
        return float((Fraction(ticks) - self._origin) * self._base)

    def ticks(self, seconds: float) -> int:
        """Return seconds from the beginning as a timestamp, rounded down but for float noise."""
        return math.floor(seconds / float(self._base) + 0.05) + self._origin

    # Moments ------------------------------------------------------------------------------------

    def pictures(
        self, times: Sequence[float], longest: int | None, background: Background = "white"
    ) -> Iterator[Frame]:
        """Yield the frame shown at each moment; the same frame is yielded once.

        Args:
            times: seconds, ascending.
            longest: the longest edge, pixels.
            background: what shows through transparent frames.
        """
        painter = self._painter(longest, background)
        before: int | None = None
        self._seek(None)
        for seconds in times:
            frame = self._at(self.ticks(seconds))
            if frame is None:
                return
            stamp = cast(int, frame.pts)
            if stamp != before:
                before = stamp
                yield Frame(max(0.0, self.seconds(stamp)), painter.picture(frame))

    def key_pictures(
        self, times: Sequence[float], longest: int | None, background: Background = "white"
    ) -> Iterator[Frame]:
        """Yield the keyframe at or before each moment, decoding nothing else; see `pictures`."""
        painter = self._painter(longest, background)
        before: int | None = None
        for seconds in times:
            frame = self._key_at(self.ticks(seconds))
            stamp = None if frame is None else frame.pts
            if frame is not None and stamp is not None and stamp != before:
                before = stamp
                yield Frame(max(0.0, self.seconds(stamp)), painter.picture(frame))

    def _painter(self, longest: int | None, background: Background) -> Painter:
        aspect = self._stream.sample_aspect_ratio
        return Painter(longest, background, float(aspect) if aspect else None)

    def _at(self, want: int) -> "VideoFrame | None":
        """Return the frame shown at a timestamp: the last that begins there or before."""
        if self._better_to_seek(want):
            self._approach(want)
        self._forward(want)
        if self._skipped is not None and (
            self._shown is None or cast(int, self._shown.pts) < self._skipped
        ):
            # What was left out in haste was the one: once more, with everything.
            self._approach(want, hurry=False)
            self._forward(want)
        return self._shown or self._ahead

    def _approach(self, want: int, hurry: bool = True) -> None:
        """Seek so that the next frame decoded is not behind `want`, if there is such a place."""
        read = self._read
        for back in (0.0, *_BACK):
            target = want - int(back / float(self._base))
            if target <= self._origin or not self._seek(target):
                break
            self._may_hurry, self._want = hurry, want
            frame = next(self._decoded(), None)
            if frame is not None and cast(int, frame.pts) <= want:
                self._shown = frame
                if self._landed <= read:
                    # It went back to what had been read: keyframes are further apart than thought.
                    self._gap *= 2
                return
        self._seek(None)
        self._may_hurry, self._want = hurry, want

    def _forward(self, want: int) -> None:
        self._want = want
        if self._ahead is not None:
            if cast(int, self._ahead.pts) > want:
                return
            self._shown, self._ahead = self._ahead, None
        for frame in self._decoded():
            if cast(int, frame.pts) > want:
                self._ahead = frame
                return
            self._shown = frame

    def _better_to_seek(self, want: int) -> bool:
        if not self._seekable:
            return False
        if self._frames is None:
            return want > self._origin
        if self._ahead is not None and cast(int, self._ahead.pts) > want:
            return False
        entries = self._stream.index_entries
        number = entries.search_timestamp(want, backward=True) if len(entries) else -1
        if number >= 0 and entries[number].timestamp > self._read:
            return True
        if len(entries) and entries[-1].timestamp >= want:
            return False  # the index goes on: there is no keyframe in between
        position = self._last if self._last is not None else self._read
        return (want - position) * float(self._base) > self._gap

    # Packets ------------------------------------------------------------------------------------

    def _seek(self, ticks: int | None) -> bool:
        """Stand before the last keyframe at or before a timestamp; ``None`` is the beginning."""
        if self._frames is not None:
            self._frames.close()
        self._rewind()
        target = self._origin - round(_BEFORE / float(self._base)) if ticks is None else ticks
        try:
            self._container.seek(target, stream=self._stream)
            self._source.raise_failed()
        except (FFmpegError, OSError):
            self._source.raise_failed()
            self._seekable = False
            if ticks is not None:
                return False
            try:
                self._container.seek(0, stream=self._stream, any_frame=True)
            except (FFmpegError, OSError):
                self._source.raise_failed()
        self._decoder.flush_buffers()
        return True

    def _decoded(self) -> "Iterator[VideoFrame]":
        if self._frames is None:
            self._frames = self._decoding()
        return self._frames

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """Yield packets until the file ends, for good or by damage."""
        packets = self._container.demux(self._stream)
        while True:
            self._source.watch.packet()
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError, ValueError) as error:
                self._source.raise_failed()
                if isinstance(error, MemoryError):
                    raise
                self.damaged += 1
                return
            if packet is None or packet.size == 0:
                self._source.raise_failed()
                return
            yield packet

    def _decoding(self) -> "Generator[VideoFrame, None, None]":
        for packet in self._packets():
            dts = packet.dts if packet.dts is not None else packet.pts
            if dts is not None:
                self._read = max(self._read, dts)
                if self._first is None:
                    self._first, self._landed = packet.pts or dts, dts
            self._choose_haste(packet)
            yield from self._decode(packet)
        yield from self._decode(None)

    def _choose_haste(self, packet: "Packet[VideoStream]") -> None:
        if packet.has_sidedata("encryption_info"):
            raise MediaError(f"“{self._source.label}” is protected by DRM: it cannot be decoded.")
        pts = packet.pts
        hurry = (
            not self._counted
            and self._may_hurry
            and pts is not None
            and pts < self._want - _HURRY / float(self._base)
        )
        if hurry and pts is not None:
            self._skipped = pts if self._skipped is None else max(self._skipped, pts)
        level: Literal["NONREF", "DEFAULT"] = "NONREF" if hurry else "DEFAULT"
        if self._decoder.skip_frame != level:
            self._decoder.skip_frame = level

    def _decode(self, packet: "Packet[VideoStream] | None") -> "Iterator[VideoFrame]":
        try:
            frames = self._decoder.decode(packet)
        except EOFError:
            return
        except (FFmpegError, ValueError, OSError) as error:
            if isinstance(error, MemoryError):
                raise
            self.damaged += 1
            return
        for frame in frames:
            if self._counted or frame.pts is None:
                self.made_up |= not self._counted
                first = self._origin if self._first is None else self._first
                frame.pts = first if self._last is None else self._last + self._step
            self.damaged += frame.is_corrupt
            self._last = frame.pts
            if self._skipped is not None and frame.pts >= self._skipped:
                self._skipped = None
            yield frame

    def _key_at(self, want: int) -> "VideoFrame | None":
        """Return the keyframe at or before a timestamp, alone."""
        for back in (0.0, *_BACK, None):
            target = None if back is None else want - round(back / float(self._base))
            if not self._seek(target):
                return None
            packet = self._key_packet(want)
            if packet is None:
                continue
            self._first = packet.pts
            self._choose_haste(packet)
            found = [*self._decode(packet), *self._decode(None)]
            self._decoder.flush_buffers()
            if found:
                return found[0]
        return None

    def _key_packet(self, want: int) -> "Packet[VideoStream] | None":
        """Return the last keyframe's packet between here and a timestamp."""
        best = None
        for packet in self._packets():
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or stamp <= want:
                best = packet if packet.is_keyframe else best
            if stamp == want or (packet.dts or 0) > want:
                break
        return best

    # Scanning -----------------------------------------------------------------------------------

    def key_times(self, start: float, end: float) -> list[float]:
        """Return the times of the keyframes between two moments, seconds, ascending."""
        first, last = self.ticks(start), self.ticks(end)
        keys = (
            self._indexed_keys() if self.info.container == "mov" else self._passed_keys(start, last)
        )
        return [max(0.0, self.seconds(key)) for key in sorted(keys) if first <= key <= last]

    def _indexed_keys(self) -> list[int]:
        """Return the keyframes' times by a full index, which holds decoding times."""
        self._seek(None)
        packet = next(self._packets(), None)
        if packet is None or packet.pts is None or packet.dts is None:
            return []
        # A keyframe waits as long between decoding and being shown as the first one does.
        wait = packet.pts - packet.dts
        return [e.timestamp + wait for e in self._stream.index_entries if e.is_keyframe]

    def _passed_keys(self, start: float, last: int) -> list[int]:
        """Return the keyframes' times by reading all packets."""
        found: list[int] = []
        self._seek(self.ticks(start) if start > 0 else None)
        for packet in self._packets():
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.is_keyframe:
                found.append(stamp)
                if stamp > last:
                    break
        return found

    def reach(self) -> float | None:
        """Return when the last frame that is really in the file ends, seconds.

        Only packets are read, and only from the last keyframe on where the file can be searched.
        ``None`` where no packet has a time.
        """
        ends = None
        if self.info.duration is not None:
            self._seek(self.ticks(self.info.duration))
            ends = self._last_end()
        if ends is None:
            self._seek(None)
            ends = self._last_end()
        self._seek(None)
        return None if ends is None else self.seconds(ends)

    def _last_end(self) -> int | None:
        ends: int | None = None
        for packet in self._packets():
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                stop = stamp + (packet.duration or self._step)
                ends = stop if ends is None else max(ends, stop)
        return ends


def _threads(limits: VideoLimits, info: VideoInfo) -> int:
    """Return how many threads decode: every one holds frames, and a long film a long index."""
    long = info.duration is not None and info.duration > _LONG
    return limits.threads or (1 if long else min(2, os.cpu_count() or 1))


def _decoder(
    stream: "VideoStream", limits: VideoLimits, source: Source, threads: int
) -> "VideoCodecContext":
    """Return a decoder of our own for a stream, within the limits."""
    own = stream.codec_context
    alpha = stream.metadata.get("alpha_mode") == "1"
    name = _WITH_ALPHA.get(own.codec.canonical_name) if alpha else None
    if name is not None and name in av.codecs_available:
        decoder = cast("VideoCodecContext", CodecContext.create(name, "r"))
        decoder.extradata = own.extradata
    else:
        decoder = own
    decoder.options = {"max_pixels": str(limits.max_pixels)}
    decoder.thread_count = threads
    decoder.thread_type = "AUTO"
    try:
        decoder.open(strict=False)
    except (FFmpegError, MemoryError, ValueError) as error:
        raise MediaError(
            f"“{source.label}” cannot be decoded ({own.codec.canonical_name}: {why(error)})."
        ) from error
    return decoder
