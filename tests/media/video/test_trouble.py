"""Files that are cut off, damaged, hostile or no videos: one clear sentence, or what there is."""

import os
import random
import time
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.media.video.making import (
    animation,
    drawn,
    film,
    needs_encoder,
    number_of,
    remuxed,
    silence,
)
from tests.media.video.test_corpus import proven
from vlmchat.errors import MediaError, UsageError
from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.plan import Sampling
from vlmchat.media.video.probing import probe
from vlmchat.media.video.sampling import frames_at, sample


def said(path: Path, limits: VideoLimits | None = None) -> str:
    """Return the sentence that both probing and sampling answer."""
    texts = []
    for ask in (sample, probe):
        with pytest.raises(MediaError) as caught:
            ask(path, limits=limits or VideoLimits())
        texts.append(sentence(caught.value))
    return texts[0]


def sentence(error: BaseException) -> str:
    text = str(error)
    assert text.endswith(".") and "\n" not in text and "Traceback" not in text, text
    return text


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    short = path.with_name(f"cut-{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.ts"])
def test_cut_off_in_the_middle(tmp_path: Path, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    muxer = {"movflags": "faststart"} if name.endswith("mp4") else {}
    noisy = [drawn(n) for n in range(200)]
    path = cut(film(tmp_path / name, codec, 200, muxer=muxer, pictures=noisy), 0.6)
    got = sample(path, Sampling(fps=1), 64)
    # Without its index, an AVI's last frame may be one off.
    found = [number_of(frame.image) for frame in got.frames]
    near = 0.11 if name.endswith("avi") else 1e-6
    assert [frame.time for frame in got.frames] == pytest.approx([n / 10 for n in found], abs=near)
    assert found[0] == 0 and 80 < found[-1] < 160 and len(found) >= 8
    if name[-3:] not in (".ts", "avi"):  # whose length is guessed by what is there
        assert any("cut off at 0:" in note for note in got.notes)
    assert got.info.duration == pytest.approx(found[-1] / 10, abs=1.0)


def test_without_its_index(tmp_path: Path) -> None:
    assert "cut off before its index" in said(cut(film(tmp_path / "a.mp4", count=60), 0.5))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_cut_off(tmp_path: Path, suffix: str) -> None:
    path = cut(animation(tmp_path / f"a.{suffix}", 20), 0.5)
    if suffix == "webp":  # its reader wants the file whole
        with pytest.raises(MediaError) as caught:
            sample(path)
        sentence(caught.value)
        return
    got = sample(path, Sampling(fps=10))
    assert 3 < len(got.frames) < 20 and any("cut off" in note for note in got.notes)


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", count=100)
    data = bytearray(path.read_bytes())
    chance = random.Random(4)
    for _ in range(40):
        data[chance.randrange(len(data) // 3, len(data) * 2 // 3)] = chance.randrange(256)
    path.write_bytes(data)
    got = sample(path, Sampling(fps=10, max_frames=100), 64)
    assert len(got.frames) > 30 and any("damaged" in note for note in got.notes)
    assert [f.time for f in got.frames] == sorted(f.time for f in got.frames)


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("hello " * 1000)
    (tmp_path / "noise.mp4").write_bytes(random.Random(1).randbytes(100_000))
    (tmp_path / "box.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(1000))
    Image.new("RGB", (30, 30)).save(tmp_path / "still.png")
    Image.new("RGB", (30, 30)).save(tmp_path / "still.webp")
    Image.new("RGB", (30, 30)).save(tmp_path / "photo.jpg")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "empty" in said(tmp_path / "empty.mp4")
    assert "not a video" in said(tmp_path / "text.mp4")
    assert "not a video" in said(tmp_path / "noise.mp4")
    assert "index" in said(tmp_path / "box.mp4")
    assert "still picture" in said(tmp_path / "still.png")
    assert "still picture" in said(tmp_path / "still.webp")
    assert "not a video" in said(tmp_path / "photo.jpg")
    assert "not a regular file" in said(tmp_path / "pipe.mp4")
    assert "folder" in said(tmp_path)
    assert "does not exist" in said(tmp_path / "nowhere.mp4")


def test_playlists_are_refused_by_name(tmp_path: Path) -> None:
    real = film(tmp_path / "real.mp4", count=3)
    lists = {
        "HLS": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{real}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{real}'\n",
        "DASH": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        "Ogg": "OggS" + "\0" * 50,
        "FLV": "FLV\1" + "\0" * 50,
    }
    for name, text in lists.items():
        path = tmp_path / f"{name}.mp4"
        path.write_text(text)
        assert name in said(path)


def test_the_name_of_a_file_means_nothing(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", count=12)
    for name in ("a.m3u8", "http:x", "concat:a|b", "[b]a.avi", "a\x1b[31m.mkv", "a%03d.png"):
        other = tmp_path / name
        other.write_bytes(path.read_bytes())
        assert proven(frames_at(other, [0.5], 64), 10) == [5]
    (tmp_path / "bad\x1b[31m.mkv").write_bytes(b"x")
    assert "\x1b" not in said(tmp_path / "bad\x1b[31m.mkv")


def test_sound_without_pictures(tmp_path: Path) -> None:
    needs_encoder("aac")
    for name in ("a.m4a", "a.mkv"):
        with av.open(str(tmp_path / name), "w", format="mp4" if name[-1] == "a" else None) as out:
            silence(out, out.add_stream("aac", rate=8000), 2.0)
        assert "only sound" in said(tmp_path / name)


def test_no_frames(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", count=3)
    path = tmp_path / "none.mkv"
    with av.open(str(clip)) as src, av.open(str(path), "w") as out:
        out.add_stream_from_template(src.streams.video[0])
        out.start_encoding()
    with pytest.raises(MediaError) as caught:
        sample(path)
    assert "ends before its first frame" in sentence(caught.value)
    assert said(cut(clip, 0.02))


def test_locked_by_drm(tmp_path: Path) -> None:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16}
    path = film(tmp_path / "locked.mp4", muxer=key | {"encryption_kid": "11" * 16})
    with pytest.raises(MediaError) as caught:
        sample(path)
    assert "DRM" in sentence(caught.value)


def test_limits(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", count=60)
    assert "160 × 120" in said(path, VideoLimits(max_pixels=19_000)) and probe(path).width == 160
    assert "0:06" in said(path, VideoLimits(max_seconds=5))
    assert "most that is read" in said(path, VideoLimits(max_bytes=1000))
    book = animation(tmp_path / "a.gif", 20)
    assert "most that is read" in said(book, VideoLimits(max_picture_bytes=1000))
    assert "most that" in said(book, VideoLimits(max_pixels=1000))
    few = VideoLimits(max_frames=3)
    assert len(sample(path, Sampling(fps=10), 64, few).frames) == 3
    with pytest.raises(UsageError):
        frames_at(path, [0, 1, 2, 3], 64, few)
    with pytest.raises(UsageError):
        frames_at(path, [])


def test_frames_that_grow_past_the_limit(tmp_path: Path) -> None:
    """The header says small, the frames are large: libav's own limit holds."""
    small = film(tmp_path / "s.ts", count=10, size=(64, 48))
    large = film(tmp_path / "l.ts", count=10, size=(1280, 720))
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    got = sample(path, Sampling(fps=10), None, VideoLimits(max_pixels=100_000))
    assert {frame.image.size for frame in got.frames} == {(64, 48)}


def test_time_is_up(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", count=100)
    assert "too long" in sentence_of_time(path)

    def slow() -> None:
        time.sleep(0.012)

    got = sample(path, Sampling(fps=10), 64, VideoLimits(decode_seconds=0.9), check=slow)
    assert 0 < len(got.frames) < 100 and "stopped after 0.9 seconds" in got.notes[-1]


def sentence_of_time(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        sample(path, limits=VideoLimits(decode_seconds=0))
    with pytest.raises(MediaError):
        probe(path, VideoLimits(decode_seconds=0))
    with pytest.raises(MediaError):
        sample(path, limits=VideoLimits(max_packets=1))
    return sentence(caught.value)


class Enough(Exception):  # noqa: N818
    """What a person's check raises."""


@pytest.mark.parametrize("kind", [Enough, ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.gif"])
def test_cancelled_anywhere(tmp_path: Path, kind: type[BaseException], name: str) -> None:
    make = animation if name.endswith("gif") else film
    path = make(tmp_path / name, count=30)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    sample(path, check=count)
    assert calls > 3
    for stop in {1, 2, 3, calls // 2, calls}:
        left = stop

        def check() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise kind("enough")

        with pytest.raises(kind, match="enough"):
            sample(path, check=check)


def test_nothing_on_disk_changes(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", count=10)
    before = (path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir()))
    sample(path)
    probe(path)
    assert before == (path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir()))
    assert number_of(frames_at(path, [99], 64).frames[0].image) == 9


def test_a_track_that_hides(tmp_path: Path) -> None:
    """A time stamp that jumps back does not hang or lose the beginning."""
    clip = film(tmp_path / "a.ts", count=30)
    late = remuxed(clip, tmp_path / "b.ts", shift=1000)
    path = tmp_path / "c.ts"
    path.write_bytes(late.read_bytes() + clip.read_bytes())
    assert "26:14:06 long" in said(path)
    got = sample(path, Sampling(max_frames=4), 64, VideoLimits(max_seconds=1e6))
    assert got.frames
