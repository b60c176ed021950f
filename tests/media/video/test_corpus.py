"""Every container with every codec: the frame returned is the one at its time."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.media.video.making import HEIGHT, WIDTH, animation, drawn, film, number_of, remuxed
from vlmchat.media.video.info import Sampled
from vlmchat.media.video.plan import Sampling
from vlmchat.media.video.probing import probe
from vlmchat.media.video.sampling import frames_at, sample

NAMES = {
    "libx264": "h264",
    "libx265": "hevc",
    "libvpx-vp9": "vp9",
    "libvpx": "vp8",
    "libsvtav1": "av1",
}
FILMS = [
    *((suffix, codec) for suffix in ("mp4", "mkv") for codec in NAMES if codec != "libvpx"),
    *((suffix, codec) for suffix in ("mp4", "mkv", "mov", "avi") for codec in ("mpeg4", "mjpeg")),
    *(("webm", codec) for codec in ("libvpx", "libvpx-vp9", "libsvtav1")),
    *(("mov", codec) for codec in ("libx264", "libx265")),
    *(("avi", codec) for codec in ("libx264", "libvpx-vp9")),
    *(("ts", codec) for codec in ("libx264", "libx265")),
]


def numbers(sampled: Sampled) -> list[int]:
    return [number_of(frame.image) for frame in sampled.frames]


def proven(sampled: Sampled, fps: float) -> list[int]:
    """Return the frames' numbers after checking that each has its own time."""
    found = numbers(sampled)
    assert [frame.time for frame in sampled.frames] == pytest.approx([n / fps for n in found])
    return found


@pytest.mark.parametrize(("suffix", "codec"), FILMS)
def test_every_container_and_codec(tmp_path: Path, suffix: str, codec: str) -> None:
    path = film(tmp_path / f"clip.{suffix}", codec, 40)
    info = probe(path)
    kind = {"mp4": "mov", "mov": "mov", "avi": "avi", "ts": "mpegts"}.get(suffix, "matroska")
    assert (info.container, info.codec) == (kind, NAMES.get(codec, codec))
    assert (info.width, info.height, info.bit_depth, info.transfer) == (WIDTH, HEIGHT, 8, "sdr")
    assert info.duration == pytest.approx(4.0, abs=0.15) and not info.animated
    assert info.fps == pytest.approx(10, rel=0.05)
    wanted = [0.0, 0.3, 0.35, 1.1, 1.25, 2.7, 3.9]
    near = frames_at(path, wanted, size=None)
    assert proven(near, 10) == [0, 3, 11, 12, 27, 39] and not near.notes
    assert proven(frames_at(path, [3.3], size=64), 10) == [33]
    assert proven(sample(path, Sampling(fps=2), 80), 10)[-1] == 39
    keys = sample(path, Sampling("keyframes", fps=10), 64)
    assert proven(keys, 10)[0] == 0 and all(f.image.size == (64, 48) for f in keys.frames)
    if codec not in ("mjpeg", "libsvtav1"):
        assert 2 <= len(keys.frames) <= 8


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_pictures(tmp_path: Path, suffix: str) -> None:
    path = animation(tmp_path / f"clip.{suffix}", 8, pauses=[100, 300, 50, 200, 0, 100, 100, 150])
    info = probe(path)
    assert (info.animated, info.frames, info.width, info.height) == (True, 8, WIDTH, HEIGHT)
    assert info.duration == pytest.approx(1.1)
    starts = [0, 0.1, 0.4, 0.45, 0.65, 0.75, 0.85, 0.95]
    got = frames_at(path, [0.0, 0.399, 0.4, 0.5, 0.7, 0.99, 5], size=None)
    assert numbers(got) == [0, 1, 2, 3, 4, 7]
    assert [frame.time for frame in got.frames] == pytest.approx([starts[n] for n in numbers(got)])
    assert numbers(sample(path, Sampling("keyframes", fps=100))) == list(range(8))


def test_seeking_far_and_going_on_find_the_same(tmp_path: Path) -> None:
    for suffix in ("mp4", "mkv", "ts", "avi"):
        path = film(tmp_path / f"long.{suffix}", count=400, gop=40)
        wanted = [n / 10 for n in range(0, 400, 7)]
        exact = list(range(0, 400, 7))
        assert proven(frames_at(path, wanted, 64), 10) == exact
        for seconds in (39.9, 0.0, 20.05, 3.95, 4.0):
            assert proven(frames_at(path, [seconds], 64), 10) == [int(seconds * 10 + 1e-6)]


@pytest.mark.parametrize("rotation", [90, 180, -90])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rotation(tmp_path: Path, rotation: int, suffix: str) -> None:
    upright = [drawn(n, 100, 160) for n in range(12)]
    stored = [np.rot90(pixels, -rotation // 90) for pixels in upright]
    size = stored[0].shape[1], stored[0].shape[0]
    path = film(
        tmp_path / f"turned.{suffix}", size=size, rotation=rotation, pictures=stored, count=12
    )
    info = probe(path)
    assert (info.width, info.height, info.rotation % 360) == (100, 160, rotation % 360)
    got = frames_at(path, [0.2, 1.1], size=None)
    assert proven(got, 10) == [2, 11] and got.frames[0].image.size == (100, 160)
    assert got.info.rotation == info.rotation
    assert frames_at(path, [0.2], 80).frames[0].image.size == (50, 80)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_mirrored(tmp_path: Path, rotation: int) -> None:
    stored = [np.rot90(drawn(n, 100, 160)[:, ::-1], -rotation // 90) for n in range(3)]
    size = stored[0].shape[1], stored[0].shape[0]
    path = film(
        tmp_path / "m.mp4", size=size, rotation=rotation, mirrored=True, pictures=stored, count=3
    )
    assert number_of(frames_at(path, [0.2], None).frames[0].image) == 2


def times_of(count: int, pauses: Sequence[Fraction]) -> list[Fraction]:
    times = [Fraction(0)]
    for number in range(count - 1):
        times.append(times[-1] + pauses[number % len(pauses)])
    return times


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_rate(tmp_path: Path, suffix: str) -> None:
    times = times_of(30, [Fraction(1, 25), Fraction(2), Fraction(1, 10), Fraction(7, 10)])
    path = film(tmp_path / f"vfr.{suffix}", times=times, count=30, fps=25, gop=9)
    got = frames_at(path, [float(t) + 0.01 for t in times], 64)
    assert numbers(got) == list(range(30))
    assert [f.time for f in got.frames] == pytest.approx([float(t) for t in times], abs=0.002)
    assert numbers(frames_at(path, [float(times[9]) - 0.005], 64)) == [8]


def test_a_time_that_is_missing(tmp_path: Path) -> None:
    path = film(tmp_path / "live.mkv", count=40, muxer={"live": "1"})
    assert probe(path).duration is None
    assert probe(path, scan=True).duration == pytest.approx(4.0, abs=0.01)
    got = sample(path, Sampling(fps=1), 64)
    assert proven(got, 10) == [0, 13, 26, 39]
    assert got.info.duration == pytest.approx(4.0, abs=0.01) and not got.notes


def test_starts_elsewhere(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", count=30)
    for path in (
        remuxed(clip, tmp_path / "late.ts", shift=36_000),
        remuxed(clip, tmp_path / "late.mkv", shift=500),
        remuxed(clip, tmp_path / "early.mp4", shift=-3, muxer={"use_editlist": "0"}),
    ):
        got = frames_at(path, [0.0, 0.35, 2.0], 64)
        assert proven(got, 10) == [0, 3, 20]


def test_odd_sizes(tmp_path: Path) -> None:
    for size in ((101, 67), (37, 201), (16, 16)):
        path = film(tmp_path / f"odd{size[0]}.mkv", size=size, form="yuv444p", count=12)
        got = frames_at(path, [0.7], None)
        assert got.frames[0].image.size == size == (got.info.width, got.info.height)
        assert size == (16, 16) or proven(got, 10) == [7]
    thin = film(tmp_path / "thin.mkv", size=(640, 4), form="yuv444p", count=2)
    assert frames_at(thin, [0], 64).frames[0].image.size == (64, 1)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = film(tmp_path / "wide.mp4", count=12, setup={"sample_aspect_ratio": Fraction(2, 1)})
    info = probe(path)
    assert (info.width, info.height) == (320, 120)
    got = frames_at(path, [0.9], 160)
    assert got.frames[0].image.size == (160, 60) and proven(got, 10) == [9]


def test_one_frame_and_a_long_hold(tmp_path: Path) -> None:
    path = film(tmp_path / "one.mp4", count=1)
    assert numbers(sample(path)) == [0]
    for method in ("uniform", "scenes", "keyframes"):
        assert len(sample(path, Sampling(method)).frames) == 1


def test_four_hours(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", count=60, fps=1, gop=30)
    path = remuxed(clip, tmp_path / "long.mkv", times=240)
    info = probe(path)
    assert info.duration == pytest.approx(4 * 3600, abs=2)
    got = sample(path, Sampling(max_frames=8), 64)
    assert len(got.frames) == 8 and not got.notes
    for frame in got.frames:
        assert number_of(frame.image) == round(frame.time) % 60


def test_audio_beside_the_picture(tmp_path: Path) -> None:
    path = film(tmp_path / "sound.mp4", count=30, sound=True)
    assert probe(path).has_audio
    assert proven(frames_at(path, [1.0, 2.9], 64), 10) == [10, 29]


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "dash+delay_moov"])
def test_in_fragments(tmp_path: Path, flags: str) -> None:
    path = film(tmp_path / "f.mp4", count=60, muxer={"movflags": flags})
    assert probe(path).duration == pytest.approx(6.0, abs=0.01)
    assert proven(sample(path, Sampling("keyframes", fps=2), 64), 10) == [0, 12, 24, 36, 48]
    assert proven(frames_at(path, [0.5, 3.3, 5.9], 64), 10) == [5, 33, 59]


def test_frames_before_an_open_keyframe(tmp_path: Path) -> None:
    """Frames shown before a keyframe but stored behind it need the group before."""
    open_gop = {"x265-params": "log-level=none:pools=1:bframes=3:open-gop=1:keyint=20"}
    path = film(tmp_path / "o.mkv", "libx265", count=120, options=open_gop)
    for number in (18, 19, 20, 39, 81, 118):
        assert proven(frames_at(path, [number / 10], 64), 10) == [number]
