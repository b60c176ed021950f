"""Which moments are looked at."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.media.video.making import Pixels, film, number_of
from tests.media.video.test_corpus import proven
from vlmchat.errors import UsageError
from vlmchat.media.video.info import VideoInfo
from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.plan import Method, Sampling, clock, plan_count, plan_times, thinned
from vlmchat.media.video.sampling import sample


def info(duration: float | None, fps: float | None = 25.0, frames: int | None = None) -> VideoInfo:
    return VideoInfo("mov", "h264", 640, 480, duration, fps, frames)


def test_the_rule() -> None:
    ten = info(10)
    assert plan_times(ten, Sampling()) == pytest.approx(np.linspace(0, 9.96, 10))
    assert len(plan_times(ten, Sampling(fps=0.5))) == 5
    assert plan_times(ten, Sampling(max_frames=3)) == pytest.approx([0, 4.98, 9.96])
    assert plan_times(ten, Sampling(max_frames=1)) == pytest.approx([4.98])
    assert plan_times(ten, Sampling(start=2, end=4, fps=2)) == pytest.approx([2, 8 / 3, 10 / 3, 4])
    assert plan_times(ten, Sampling(start=9, end=99)) == pytest.approx([9.48])
    assert plan_times(ten, Sampling(start=3, end=3)) == [3]
    assert plan_times(info(0.2), Sampling(fps=1000)) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert plan_times(info(5, None, 3), Sampling(fps=2)) == pytest.approx([0, 2.5, 5])
    assert plan_times(info(None, None), Sampling()) == [0]
    assert plan_count(info(1e6), Sampling(max_frames=10_000), VideoLimits(max_frames=7)) == 7


def test_as_smolvlm_samples() -> None:
    """The same frames as transformers' sampler takes, where it leaves nothing out."""
    for frames, fps, wanted, budget in ((250, 25, 1, 64), (901, 30, 2, 64), (300, 10, 1, 7)):
        duration = frames / fps
        count = max(1, min(round(wanted * duration), budget))
        theirs = np.unique(np.linspace(0, frames - 1, count, dtype=int))
        ours = plan_times(info(duration, fps, frames), Sampling(fps=wanted, max_frames=budget))
        assert [int(t * fps + 1e-6) for t in ours] == theirs.tolist()


@pytest.mark.parametrize(
    "values",
    [
        {"fps": 0},
        {"fps": float("nan")},
        {"max_frames": 0},
        {"start": -1},
        {"start": float("inf")},
        {"start": 5, "end": 4},
        {"method": "random"},
    ],
)
def test_what_makes_no_sense(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Sampling(**values)  # type: ignore[arg-type]


def test_behind_the_end() -> None:
    with pytest.raises(UsageError, match="0:12"):
        plan_times(info(10), Sampling(start=12))


def test_small_things() -> None:
    assert [clock(s) for s in (0, 12.9, 61, 3723)] == ["0:00", "0:12", "1:01", "1:02:03"]
    assert thinned([1, 2, 3, 4, 5], 3) == [1, 3, 5]
    assert thinned([1, 2], 3) == [1, 2] and thinned([4, 5], 1) == [4]


def coloured(count: int, cuts: list[int]) -> list[Pixels]:
    """Return frames whose colour changes at each cut."""
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 40), (20, 20, 20)]
    frames = []
    for number in range(count):
        colour = colours[sum(number >= cut for cut in cuts) % len(colours)]
        pixels = np.full((120, 160, 3), colour, np.uint8)
        pixels[:, number % 150 : number % 150 + 4] = 255
        frames.append(pixels)
    return frames


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_scenes(tmp_path: Path, suffix: str) -> None:
    cuts = [23, 41, 70]
    path = film(tmp_path / f"cuts.{suffix}", pictures=coloured(100, cuts), gop=30)
    got = sample(path, Sampling("scenes", fps=2), 64)
    times = [frame.time for frame in got.frames]
    # Frames are compared four a second, so a change is found within a quarter of one.
    assert times[0] == 0 and len(times) == 4
    for time, cut in zip(times[1:], cuts, strict=True):
        assert 0 <= time - cut / 10 <= 0.26
    two = sample(path, Sampling("scenes", fps=2, max_frames=2), 64)
    assert len(two.frames) == 2
    inside = sample(path, Sampling("scenes", fps=2, start=3, end=6), 64)
    assert len(inside.frames) == 2 and inside.frames[0].time == pytest.approx(3)


def test_scenes_of_a_long_film(tmp_path: Path) -> None:
    path = film(
        tmp_path / "l.mp4", pictures=coloured(300, [90, 200]), fps=1, gop=10, size=(160, 120)
    )
    got = sample(path, Sampling("scenes"), 64)
    assert [frame.time for frame in got.frames] == [0, 90, 200]


def test_no_scenes(tmp_path: Path) -> None:
    path = film(tmp_path / "still.mp4", pictures=coloured(40, []))
    got = sample(path, Sampling("scenes"), 64)
    assert len(got.frames) == 4 and "No change of scene" in got.notes[0]


@pytest.mark.parametrize("method", ["uniform", "keyframes", "scenes"])
def test_in_and_out_points(tmp_path: Path, method: Method) -> None:
    path = film(tmp_path / "a.mp4", count=100, gop=10)
    got = sample(path, Sampling(method, fps=1, start=3, end=7), 64)
    found = proven(got, 10)
    assert 1 <= len(found) <= 4 and found[0] >= 30 and found[-1] <= 70
    with pytest.raises(UsageError):
        sample(path, Sampling(method, start=11), 64)


def test_never_more_than_exist(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1), Fraction(8)]
    path = film(tmp_path / "few.mkv", times=times, count=3)
    got = sample(path, Sampling(fps=10), 64)
    assert [number_of(frame.image) for frame in got.frames] == [0, 1, 2]


def test_light_to_import() -> None:
    code = (
        "import sys, vlmchat.media.video.plan, vlmchat.media.video.sniff;"
        "print([m for m in ('av', 'numpy', 'PIL', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = (
        "import sys, vlmchat.media.video.sampling, vlmchat.media.video.probing;"
        "print([m for m in ('textual', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
