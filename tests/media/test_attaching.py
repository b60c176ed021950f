"""Files made attachments: what they are is seen from their first bytes."""

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.media.video.making import film, number_of
from tests.pictures import encoded
from vlmchat.chat.messages import ImagePart, VideoPart
from vlmchat.errors import MediaError
from vlmchat.media import frames as frames_module
from vlmchat.media.attaching import attach, sampled_anew, within
from vlmchat.media.frames import FrameCache, frames_of
from vlmchat.media.video.plan import Sampling


def numbers(part: VideoPart) -> list[int]:
    import io

    return [number_of(Image.open(io.BytesIO(frame.data))) for frame in frames_of(part)]


def video(path: Path, **rule: float) -> VideoPart:
    part = attach(path, sampling=Sampling(**rule)).part  # type: ignore[arg-type]
    assert isinstance(part, VideoPart)
    return part


def test_a_video_names_the_frames_it_was_sampled_at(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", count=30, fps=10)
    part = video(path, fps=2)
    assert part.clip.times == pytest.approx((0.0, 0.5, 1.1, 1.7, 2.3, 2.9), abs=0.051)
    assert part.clip.duration == pytest.approx(3.0)
    assert part.media.file == path and part.media.mime == "video/mp4"
    assert numbers(part) == [round(time * 10) for time in part.clip.times]


def test_frames_are_decoded_again_once_they_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.webm", "libvpx-vp9", count=20, fps=10)
    part = video(path, fps=3)
    before = [frame.sha256 for frame in frames_of(part)]
    monkeypatch.setattr(frames_module, "_cache", FrameCache())
    assert [frame.sha256 for frame in frames_of(part)] == before
    path.unlink()
    assert [frame.sha256 for frame in frames_of(part)] == before
    monkeypatch.setattr(frames_module, "_cache", FrameCache())
    with pytest.raises(MediaError, match="does not exist"):
        frames_of(part)


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    part = video(film(tmp_path / "a.mp4", count=10, fps=10), fps=10)
    pictures = frames_of(part)
    cache = FrameCache(budget=sum(frame.size for frame in pictures[:5]))
    for time, frame in zip(part.clip.times, pictures, strict=True):
        cache.put("x", time, frame)
    assert cache.get("x", part.clip.times[0]) is None
    assert cache.get("x", part.clip.times[-1]) == pictures[-1]


def test_other_frames_of_the_same_video(tmp_path: Path) -> None:
    part = video(film(tmp_path / "a.mp4", count=30, fps=10))
    new = sampled_anew(part, Sampling(fps=10, start=1.0, end=1.3)).part
    assert isinstance(new, VideoPart) and new.media == part.media
    assert numbers(new) == [10, 11, 13]


def test_what_moves_is_a_video_and_what_does_not_is_a_picture(tmp_path: Path) -> None:
    moving, still = tmp_path / "moving.gif", tmp_path / "still.gif"
    pages = [Image.new("RGB", (20, 20), (n * 60, 0, 0)) for n in range(4)]
    pages[0].save(moving, save_all=True, append_images=pages[1:], duration=500)
    pages[0].save(still)
    (tmp_path / "photo.mp4").write_bytes(encoded("JPEG"))
    assert isinstance(attach(moving).part, VideoPart)
    assert isinstance(attach(still).part, ImagePart)
    assert isinstance(attach(tmp_path / "photo.mp4").part, ImagePart)
    avif = tmp_path / "a.avif"
    pages[1].save(avif)
    assert isinstance(attach(avif).part, ImagePart)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.mp4", b"nothing of the kind", "not a video"),
        ("a.txt", b"nothing of the kind", "not a picture or video"),
        ("a.mp4", b"", "0 bytes"),
    ],
)
def test_what_is_neither(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(MediaError, match=words):
        attach(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, words in ((tmp_path, "folder"), (tmp_path / "pipe.mp4", "regular"),
                        (tmp_path / "none.mp4", "does not exist")):  # fmt: skip
        with pytest.raises(MediaError, match=words):
            attach(path)


def test_a_budget_only_lessens_the_frames() -> None:
    rule = Sampling(max_frames=8)
    assert within(rule, None) is rule and within(rule, 20) is rule
    assert within(rule, 3).max_frames == 3 and within(rule, 0).max_frames == 1
