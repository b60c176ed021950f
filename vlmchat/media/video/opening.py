"""Opening a film with libav, and reading from its header what it is.

libav guesses nothing here: the container's kind is known from the first bytes, nothing but the
one file can be opened, and frames larger than the limit are refused by its own decoders too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, cast

import av
from av.error import FFmpegError
from av.stream import Discard, Disposition

from vlmchat.errors import MediaError
from vlmchat.media.video.colour import transfer_of, upright_size
from vlmchat.media.video.info import VideoInfo
from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.orientation import degrees, has_index, stored_matrix
from vlmchat.media.video.plan import clock
from vlmchat.media.video.source import Source, TimeUpError, Watch
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

_BUFFER = 64 * 1024
_FULL_RANGE, _UNSPECIFIED = 2, 2  # AVColorRange, AVColorTransferCharacteristic
_CHROMA = {0: "gray", 1: "yuv420p", 2: "yuv422p", 3: "yuv444p"}
_MOST_FPS = 1000
# Reading no frames makes opening a hundred times faster; what is missed then is small and known.
_HASTE = {
    "probesize": "32",
    "analyzeduration": "0",
    "fpsprobesize": "0",
    "skip_frame": "all",
    # Decoders that skip what they are told to, or are quick; VP9's is neither.
    "codec_whitelist": "h264,hevc,av1,libdav1d,mpeg4,mjpeg",
}


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a video may not open other files")


@contextmanager
def opened(
    source: Source, kind: str, limits: VideoLimits, *, haste: bool = False
) -> Iterator["InputContainer"]:
    """Open a film.

    Args:
        source: the file.
        kind: its container, as `sniff` says.
        limits: the most pixels of a frame.
        haste: look at the header only, and not at the first frames.

    Raises:
        MediaError: damaged, cut off.
    """
    options = {"protocol_whitelist": "none", "max_pixels": str(limits.max_pixels)}
    source.seek(0)
    try:
        container = av.open(
            source,
            "r",
            format=kind,
            options=options | (_HASTE if haste else {}),
            io_open=_refuse,
            metadata_errors="replace",
            buffer_size=_BUFFER,
        )
    except (FFmpegError, MemoryError, ValueError, OSError, RuntimeError) as error:
        source.raise_failed()
        raise _unopened(source, kind, error) from error
    with container:
        source.raise_failed()
        yield container


@contextmanager
def clear_errors(label: str, watch: Watch) -> Iterator[None]:
    """Turn what libraries raise into one sentence; what cancelled the work passes.

    Raises:
        MediaError: instead of libav's and Pillow's errors, and of want of time or memory.
    """
    name = visible_line(label)
    try:
        yield
    except TimeUpError:
        raise MediaError(
            f"“{name}” takes too long to read: cut it, or convert it to MP4 first."
        ) from None
    except (FFmpegError, OSError, ValueError, OverflowError, MemoryError) as error:
        if error is watch.cancelled:
            raise
        if isinstance(error, MemoryError):
            raise MediaError(f"“{name}” needs more memory than there is: shrink it.") from error
        raise MediaError(f"“{name}” is damaged and cannot be read ({why(error)}).") from error


def _unopened(source: Source, kind: str, error: Exception) -> MediaError:
    if kind == "mov" and not has_index(source):
        return MediaError(
            f"“{source.label}” is cut off before its index, which is written last: "
            "record or copy it again."
        )
    if isinstance(error, MemoryError):
        return MediaError(f"“{source.label}” needs more memory to open than there is.")
    if isinstance(error, EOFError):
        return MediaError(f"“{source.label}” ends before its first frame: it was cut off.")
    return MediaError(f"“{source.label}” is damaged and cannot be opened ({why(error)}).")


def why(error: BaseException) -> str:
    """Return libav's reason in a few words, without its file names and numbers."""
    text = getattr(error, "strerror", None) or str(error)
    return visible_line(str(text)).strip().rstrip(".") or type(error).__name__


def film_stream(container: "InputContainer", source: Source) -> "VideoStream":
    """Return the stream to show; all others are told to stay silent.

    Raises:
        MediaError: there is none, or none that can be decoded.
    """
    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not films:
        what = "only sound" if container.streams.audio else "no video"
        raise MediaError(f"“{source.label}” holds {what}: choose a file with pictures in it.")
    # The type stub forgets that there may be no decoder.
    known = [s for s in films if cast(object, s.codec_context) is not None]
    if not known:
        raise MediaError(
            f"“{source.label}” is stored with a codec that is not known here: "
            "convert it to H.264, VP9 or AV1."
        )
    # The first is what players show, unless another is marked as the default.
    chosen = next((s for s in known if s.disposition & Disposition.default), known[0])
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    return chosen


def describe(
    container: "InputContainer", stream: "VideoStream", source: Source, kind: str
) -> VideoInfo:
    """Return what the header says; see `VideoInfo`."""
    codec = stream.codec_context
    matrix = stored_matrix(source, kind, stream.id)
    aspect = stream.sample_aspect_ratio
    width, height = upright_size(
        codec.width, codec.height, float(aspect) if aspect else None, matrix
    )
    form, depth = _pixels(codec)
    if form is None and codec.codec.canonical_name == "vp9":
        form, depth = _vp9_pixels(next((bytes(p)[:8] for p in container.demux(stream)), b""))
    duration = _duration(container, stream)
    return VideoInfo(
        container=kind,
        codec=codec.codec.canonical_name,
        width=width,
        height=height,
        duration=duration,
        fps=_fps(stream, duration),
        frames=stream.frames or None,
        has_audio=bool(container.streams.audio),
        rotation=degrees(matrix),
        pixel_format=form,
        bit_depth=depth,
        transfer=transfer_of(codec.color_trc),
        size=source.size,
    )


def hidden_transfer(stream: "VideoStream", info: VideoInfo) -> bool:
    """Return whether only frames can say if the video is of high dynamic range."""
    return info.bit_depth > 8 and stream.codec_context.color_trc == _UNSPECIFIED


def accept(info: VideoInfo, source: Source, limits: VideoLimits) -> None:
    """Refuse what is larger or longer than the limits.

    Raises:
        MediaError: too many pixels, no pixels, too long.
    """
    if info.width <= 0 or info.height <= 0:
        raise MediaError(f"“{source.label}” is damaged: it does not say how large its frames are.")
    if info.width * info.height > limits.max_pixels:
        raise MediaError(
            f"“{source.label}” has frames of {info.width} × {info.height} pixels; the most that "
            f"is opened is {limits.max_pixels / 1e6:.0f} million: make it smaller first."
        )
    if info.duration is not None and info.duration > limits.max_seconds:
        raise MediaError(
            f"“{source.label}” is {clock(info.duration)} long; the most that is opened is "
            f"{clock(limits.max_seconds)}: cut it first."
        )


def _duration(container: "InputContainer", stream: "VideoStream") -> float | None:
    if stream.duration and stream.time_base and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None


def _fps(stream: "VideoStream", duration: float | None) -> float | None:
    if stream.frames and duration:
        # Counted over the whole file, where the header's own average looks at the beginning.
        counted = stream.frames / duration
        if 0 < counted <= _MOST_FPS:
            return counted
    rate = stream.average_rate
    return float(rate) if rate and 0 < rate <= _MOST_FPS else None


def _pixels(codec: "VideoCodecContext") -> tuple[str | None, int]:
    """Return libav's name of the pixel format, and bits a component."""
    if codec.format is not None:
        depth = max((part.bits for part in codec.format.components), default=8)
        return codec.format.name, depth
    found = _configured(codec.codec.canonical_name, codec.extradata or b"")
    if found is None or found[0] not in _CHROMA:
        return None, 8
    chroma, depth = found
    name = _CHROMA[chroma] + (f"{depth}le" if depth > 8 else "")
    if depth == 8 and chroma and codec.color_range == _FULL_RANGE:
        name = name.replace("yuv", "yuvj")
    return name, depth


def _vp9_pixels(head: bytes) -> tuple[str | None, int]:
    """Return pixel format and bit depth by a VP9 keyframe's first bytes (bitstream guide, 6.2)."""
    if len(head) < 5 or head[0] >> 6 != 2:
        return None, 8
    profile = (head[0] >> 5 & 1) | (head[0] >> 4 & 1) << 1
    if profile < 2:
        return ("yuv420p" if profile == 0 else None), 8
    # After the keyframe's marks (profile 3 has one more) and a 24-bit sync code: 12 or 10.
    depth = 12 if head[4] >> (7 if profile == 2 else 6) & 1 else 10
    return (f"yuv420p{depth}le" if profile == 2 else None), depth


def _configured(codec: str, extra: bytes) -> tuple[int, int] | None:
    """Return chroma format and bit depth from a codec's set-up record (ISO/IEC 14496-15)."""
    if codec == "hevc" and len(extra) > 18 and extra[0] == 1:
        return extra[16] & 3, (extra[17] & 7) + 8
    if codec != "h264" or len(extra) < 8 or extra[0] != 1:
        return None
    at = 5
    for mask in (31, 255):  # sequence, then picture parameter sets
        if at >= len(extra):
            return None
        count, at = extra[at] & mask, at + 1
        for _ in range(count):
            at += 2 + int.from_bytes(extra[at : at + 2], "big")
    if extra[1] in (66, 77, 88):  # Baseline, Main, Extended
        return 1, 8
    return (extra[at] & 3, (extra[at + 1] & 7) + 8) if at + 1 < len(extra) else None
