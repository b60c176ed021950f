"""Films made for tests: every frame carries its number, so that a test can prove which one it got.

The number is drawn as twelve black or white blocks, one a bit, which survive lossy coding, scaling
and little space.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

COLUMNS, ROWS = 4, 3
WIDTH, HEIGHT = 160, 120
FAST: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "bf": "2", "x264-params": "scenecut=0:b-adapt=0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:bframes=2"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "mpeg4": {"bf": "2"},
    "mjpeg": {},
}
Pixels = npt.NDArray[np.uint8]


def needs_encoder(*codecs: str) -> None:
    """Skip the test where this libav cannot make its film."""
    for codec in codecs:
        try:
            av.Codec(codec, "w")
        except ValueError:
            pytest.skip(f"this libav has no encoder {codec}")


def drawn(number: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Return an RGB picture of `number`."""
    across = np.arange(width) * COLUMNS // width
    down = np.arange(height) * ROWS // height
    bits = (number >> (down[:, None] * COLUMNS + across[None, :])) & 1
    grey = (bits * 176 + 40).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def number_of(image: Image.Image) -> int:
    """Return the number drawn in a picture."""
    grey = np.asarray(image.convert("L"), float)
    height, width = grey.shape
    number = 0
    for row in range(ROWS):
        for column in range(COLUMNS):
            top, bottom = (4 * row + 1) * height // (4 * ROWS), (4 * row + 3) * height // (4 * ROWS)
            left, right = (
                (4 * column + 1) * width // (4 * COLUMNS),
                (4 * column + 3) * width // (4 * COLUMNS),
            )
            block = grey[top : max(top + 1, bottom), left : max(left + 1, right)]
            number |= int(block.mean() > 128) << (row * COLUMNS + column)
    return number


def film(
    path: Path,
    codec: str = "libx264",
    count: int = 30,
    *,
    fps: int = 10,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    form: str = "yuv420p",
    times: Sequence[Fraction] | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    gop: int = 12,
    rotation: int = 0,
    mirrored: bool = False,
    sound: bool = False,
    container: str | None = None,
    pictures: Iterable[Pixels] | None = None,
    setup: dict[str, Any] | None = None,
) -> Path:
    """Write a film and return its path.

    Args:
        path: where; the suffix chooses the container unless `container` does.
        codec: an encoder's name.
        count: frames.
        fps: frames a second where `times` does not say.
        size: width and height as stored.
        form: the pixel format.
        times: when each frame is shown, seconds; any rate.
        options: the encoder's.
        muxer: the container's.
        gop: the most frames from keyframe to keyframe.
        rotation: degrees counter-clockwise by which players turn it.
        mirrored: whether players mirror it too.
        sound: add a silent track.
        container: the muxer's name.
        pictures: other frames than numbers, RGB.
        setup: attributes set on the encoder.
    """
    needs_encoder(codec)
    base = Fraction(1, fps * 100 if times is not None else fps)
    with av.open(str(path), "w", format=container, options=muxer or {}) as out:
        stream = cast(
            VideoStream,
            out.add_stream(codec, rate=fps, options=FAST.get(codec, {}) | (options or {})),
        )
        encoder = set_up(stream, size, form, gop, base, setup or {})
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        track = out.add_stream("aac", rate=8000) if sound else None
        frames = pictures if pictures is not None else (drawn(n, *size) for n in range(count))
        for number, pixels in enumerate(frames):
            frame = to_frame(pixels, encoder)
            frame.time_base = base
            frame.pts = number if times is None else int(times[number] / base)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if track is not None:
            silence(out, track, count / fps)
    return path


def set_up(
    stream: VideoStream,
    size: tuple[int, int],
    form: str,
    gop: int,
    base: Fraction,
    setup: dict[str, Any],
) -> VideoCodecContext:
    """Open a stream's encoder, or skip the test where this libav's cannot do that."""
    encoder = stream.codec_context
    encoder.width, encoder.height = size
    # MJPEG knows full range only.
    encoder.pix_fmt = "yuvj420p" if encoder.name == "mjpeg" else form
    encoder.gop_size = gop
    encoder.thread_count = 1
    encoder.time_base = base
    for name, value in setup.items():
        setattr(encoder, name, value)
    try:
        encoder.open(strict=False)
    except av.error.ArgumentError:
        pytest.skip(f"this libav's {encoder.name} encodes no {encoder.pix_fmt}")
    return encoder


def to_frame(pixels: npt.NDArray[Any], encoder: VideoCodecContext) -> VideoFrame:
    """Return pixels (RGB or RGBA) as a frame in the encoder's format."""
    form = {3: "rgb24", 4: "rgba"}[pixels.shape[2]]
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=form)
    return frame.reformat(format=encoder.pix_fmt, interpolation="BICUBIC")


def silence(out: Any, track: Any, seconds: float) -> None:
    """Mux so many seconds of silence."""
    for number in range(int(seconds * 8000 / 1024) + 1):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        frame.pts = number * 1024
        out.mux(track.encode(frame))
    out.mux(track.encode())


def remuxed(
    source: Path,
    path: Path,
    *,
    times: int = 1,
    shift: int = 0,
    container: str | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write the packets of `source` again, `times` over, each time later; `shift` in seconds."""
    with (
        av.open(str(source)) as src,
        av.open(str(path), "w", format=container, options=muxer or {}) as out,
    ):
        stream = src.streams.video[0]
        target = out.add_stream_from_template(stream)
        base = stream.time_base or Fraction(1, 1000)
        packets = [
            (bytes(p), p.pts or 0, p.dts or 0, p.duration or 0, p.is_keyframe)
            for p in src.demux(stream)
            if p.size
        ]
        length = max(p[1] + p[3] for p in packets) - min(p[1] for p in packets)
        offset = int(shift / base)
        for turn in range(times):
            late = offset + turn * length
            for data, pts, dts, duration, key in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.duration = pts + late, dts + late, duration
                packet.is_keyframe = key
                packet.time_base = base
                packet.stream = target
                out.mux(packet)
    return path


def animation(path: Path, count: int = 8, pause: int = 100, **options: Any) -> Path:
    """Write an animated picture with Pillow; `pause` in milliseconds."""
    pictures = [Image.fromarray(drawn(n)) for n in range(count)]
    pauses = options.pop("pauses", [pause] * count)
    if path.suffix == ".webp":
        options = {"lossless": True, "method": 0} | options
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=pauses, loop=0, **options
    )
    return path
