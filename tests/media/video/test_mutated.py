"""Mutated videos: no crash, no hang, no flood of memory; each answer a sentence or frames."""

import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests.media.video.making import animation, drawn, film

BATCH = 250


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one small file of each kind."""
    folder = tmp_path_factory.mktemp("originals")
    kinds = {
        "a.mp4": "libx264",
        "b.mkv": "libx265",
        "c.webm": "libvpx-vp9",
        "d.avi": "mpeg4",
        "e.mov": "mjpeg",
        "f.ts": "libx264",
        "g.mkv": "libsvtav1",
    }
    for name, codec in kinds.items():
        if codec in av.codecs_available:
            film(folder / name, codec, 12, size=(64, 48), gop=5, sound=name == "a.mp4")
    clear = [drawn(n, 64, 48) for n in range(6)]
    film(folder / "h.mkv", "libx264", size=(64, 48), pictures=clear, rotation=90)
    for name in ("i.gif", "j.webp", "k.png"):
        animation(folder / name, 5)
    return folder


def run(folder: Path, first: int, count: int) -> str:
    command = [sys.executable, "-m", "tests.media.video.mutating", str(folder), str(first)]
    done = subprocess.run(
        [*command, str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
        cwd=Path(__file__).parents[3],
    )
    *_, last = done.stdout.splitlines() or ["nothing"]
    assert done.returncode == 0, f"{last}: exit {done.returncode}\n{done.stderr[-3000:]}"
    assert not done.stderr, f"{last}: {done.stderr[-2000:]}"
    return last


def test_two_hundred(originals: Path) -> None:
    assert run(originals, 0, 200).startswith("done")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("batch", range(1, 21))
def test_five_thousand(originals: Path, batch: int) -> None:
    assert run(originals, batch * BATCH, BATCH).startswith("done")
