"""A video in plain mode: everything by words."""

from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, running
from tests.media.video.making import film
from tests.plain.piping import piped


def test_frames_by_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = film(tmp_path / "a clip.mp4", count=12, fps=2)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    lines = [
        f"'{clip}'",
        "/frames",
        "/frames 4",
        "/frames drop 2",
        "/frames drop 9",
        "/frames add 0:01",
        "What happens?",
        "/view 1",
        "/gallery",
        "1",
        "/quit",
    ]
    with running(FakeEngine()) as fake:
        done = piped("\n".join([*lines, ""]), "--plain", "--engine-url", fake.url)
    said = done.stdout
    assert done.returncode == 0, said
    facts = "a clip.mp4, MP4, 160 by 120 pixels"
    assert f"With the next question goes: {facts}" in said and "0:06 long, 6 frames" in said
    assert "Frames of a clip.mp4: 1 at 0:00, 2 at 0:01," in said
    assert "Note: 3 frames. /frames changes them" in said
    assert "Error: There is no frame 9: they go from 1 to 3." in said
    assert "Fake VLM has not learned videos: it gets 4 pictures with their times." in said
    assert "Video 1 of 1: a clip.mp4" in said and "4 frames" in said
    assert said.count("With the next question goes:") >= 2, said  # again, from the gallery
    content = fake.requests[0]["messages"][0]["content"]
    assert sum(part["type"] == "image_url" for part in content) == 4
