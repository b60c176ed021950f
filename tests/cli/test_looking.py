"""``ask`` with videos, ``inspect`` and ``watch`` as a shell runs them."""

import base64
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_ask import COMMAND, refused, run
from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, running
from tests.media.video.making import animation, film, number_of
from tests.pictures import draw, saved
from tests.plain.piping import piped
from vlmchat.media.cutting import tile_pictures
from vlmchat.media.images import decode
from vlmchat.media.tiles import plan_tiles
from vlmchat.models.catalogue import CATALOGUE, by_id


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 20 seconds of numbers, turned by a quarter, with sound."""
    path = tmp_path_factory.mktemp("films") / "clip.mp4"
    return film(path, count=200, fps=10, sound=True, rotation=90)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeEngine]:
    with running(FakeEngine()) as engine:
        yield engine


def pictures(body: dict[str, Any]) -> list[Image.Image]:
    """Return the pictures of a request."""
    parts = [part for part in body["messages"][-1]["content"] if part["type"] == "image_url"]
    urls = [part["image_url"]["url"] for part in parts]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def test_the_engine_gets_the_frames_that_are_asked_for(clip: Path, fake: FakeEngine) -> None:
    options = ["--fps", 2, "--max-frames", 5, "--from", "0:05", "--to", "0:17", "--frames"]
    at = ["--engine-url", fake.url, "--json"]
    done = run("ask", "-a", clip, *options, "uniform", *at, "What happens?")
    assert done.returncode == 0, done.stderr
    (sent,) = json.loads(done.stdout)["sent"]
    assert (sent["kind"], sent["duration"]) == ("video", 20.0)
    assert sent["times"] == [5.0, 8.0, 11.0, 14.0, 17.0] and "tiles" not in sent
    turned = [
        picture.transpose(Image.Transpose.ROTATE_270) for picture in pictures(fake.requests[-1])
    ]
    assert [number_of(picture) for picture in turned] == [50, 80, 110, 140, 170]


@pytest.mark.slow
def test_what_a_local_model_gets_is_what_was_planned(
    tiny_model: Path, engine: EngineProcess, clip: Path, tmp_path: Path
) -> None:
    photo = saved(tmp_path / "photo.png", 128, 64)
    files = ["-a", photo, "-a", clip]
    wished = ["--max-frames", 3, "--detail", 5, "--crop", "8,0,128,60"]
    at = ["--engine-url", engine.url, "--api-key", TOKEN]
    options = [*at, "--max-new-tokens", 2, "--json"]
    done = run("ask", *options, *files, *wished, "Compare.")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert [item["tiles"] for item in row["sent"]] == [3, 3]
    picture, video = row["sent"]
    assert (picture["detail"], picture["crop"]) == (5, [8, 0, 128, 60])
    assert (picture["width"], picture["height"], len(video["times"])) == (120, 60, 3)
    assert row["timings"]["vision_tiles"] == 6
    shown = run("inspect", photo, clip, "--model", tiny_model, *wished, "--json")
    assert shown.returncode == 0, shown.stderr
    for one, other in zip(row["sent"], json.loads(shown.stdout), strict=True):
        (model,) = other["models"]
        assert {name: model[name] for name in ("tiles", "tokens", "image_tokens")} == {
            name: one[name] for name in ("tiles", "tokens", "image_tokens")
        }


def test_notes_of_a_video_go_to_standard_error(tmp_path: Path, fake: FakeEngine) -> None:
    whole = film(tmp_path / "whole.mkv", count=100, fps=10).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    done = run("ask", "-a", cut, "--engine-url", fake.url, "What?")
    assert done.returncode == 0 and done.stdout == "Hello there.\n"
    assert done.stderr.startswith("“cut.mkv”: The file is cut off at "), done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fps", 0], "--fps: frames a second must be more than 0"),
        (["--max-frames", 0], "--max-frames: at least 1"),
        (["--from", "1:99"], "--from: “1:99” is no time: write it as 65, 0:05 or 1:02:03."),
        (["--to", "soon"], "--to: “soon” is no time"),
        (["--from", "0:09", "--to", "5"], "--to: 0:05 lies before 0:09"),
        (["--from", "21"], "--from: The in point 0:21 lies behind the end"),
        (["--detail", "best"], "--detail: “best” is no detail"),
        (["--crop", "1,2,3"], "--crop: “1,2,3” is no region"),
        (["--detail", "low"], "--detail is about pictures, and none is given."),
    ],
)
def test_options_that_make_no_sense_are_named(clip: Path, options: list[Any], words: str) -> None:
    from vlmchat.errors import UsageError
    from vlmchat.media.choosing import attach_as_wished, wishes

    names = {"--fps": "fps", "--max-frames": "max_frames", "--from": "start", "--to": "end"}
    names |= {"--detail": "detail", "--crop": "crop"}
    given = {names[options[i]]: options[i + 1] for i in range(0, len(options), 2)}
    with pytest.raises(UsageError) as caught:
        wished = wishes(**given)
        attach_as_wished(clip, wished)
        wished.check(0, 1)
    assert words in str(caught.value)


def test_wishes_about_nothing_are_refused(tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    assert "--fps is about videos" in refused(2, "ask", "-a", photo, "--fps", 2, "What?")
    beyond = refused(2, "ask", "-a", photo, "--crop", "0,0,65,10", "What?")
    assert "--crop: The region 0,0,65,10 reaches beyond" in beyond


def test_inspect_says_what_each_model_gets(clip: Path, tmp_path: Path) -> None:
    turned = draw(1600, 1200).convert("CMYK")
    exif = turned.getexif()
    exif[0x0112] = 6
    photo = tmp_path / "photo.jpg"
    turned.save(photo, exif=exif)
    done = run("inspect", photo, clip, animation(tmp_path / "a.gif"))
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.split("\n\n")
    lines = first.splitlines()
    assert lines[0].startswith(f"{photo}: JPEG, 1200 × 1600 pixels, ")
    assert lines[1] == "  CMYK, stored on its left side as 1600 × 1200 (EXIF orientation 6)"
    assert [line.split()[0] for line in lines[2:]] == [entry.id for entry in CATALOGUE]
    assert lines[2].endswith("7 tiles (3 × 2 and the whole), 466 tokens")
    lines = second.splitlines()
    assert f"{clip}: h264 in mov, 120 × 160 pixels" in lines[0]
    assert "0:20, 10 frames a second, 200 frames, yuv420p, 8 bits, SDR, turned by " in lines[1]
    assert lines[1].endswith("with sound")
    assert lines[2].startswith("  frames at 0:00 0:01") and len(lines[2].split()) == 22
    assert lines[3].split(None, 1)[1].startswith("20 frames, 20 tiles, about ")
    assert "animated gif, 160 × 120 pixels" in third


def test_inspect_goes_on_behind_a_broken_file(tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    (tmp_path / "bad.mp4").write_bytes(b"hello")
    files = [tmp_path / "none.png", tmp_path / "bad.mp4", photo]
    done = run("inspect", *files, "--json", "--model", "demo")
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["vlmchat"] * 2
    rows = json.loads(done.stdout)
    assert [sorted(row) for row in rows[:2]] == [["error", "file"]] * 2
    assert rows[2]["kind"] == "picture" and rows[2]["models"][0]["tiles"] == 1
    assert "--fps is about videos" in refused(2, "inspect", photo, "--fps", 1)
    assert "There is no model" in refused(3, "inspect", photo, "--model", "smolvlm-9b")


def test_inspect_saves_exactly_what_the_model_gets(clip: Path, tmp_path: Path) -> None:
    photo, folder = saved(tmp_path / "photo.jpg", 1100, 600), tmp_path / "seen"
    options = ["--save", folder, "--max-frames", 3, "--model", "smolvlm2-500m"]
    for number in ("", "-2"):  # nothing is overwritten
        done = run("inspect", photo, clip, *options, "--from", "0:04", "--json")
        assert done.returncode == 0, done.stderr
        saved_files = [Path(name) for row in json.loads(done.stdout) for name in row["saved"]]
        assert [file.name for file in saved_files] == [
            *(f"photo{number}.{name}" for name in ("tile-r1c1.png", "tile-r1c2.png")),
            *(f"photo{number}.{name}" for name in ("tile-global.png", "prompt.txt")),
            *(f"clip{number}.frame-00{n}.png" for n in ("1-0m04s", "2-0m11s", "3-0m19s")),
            f"clip{number}.prompt.txt",
        ]
    spec = by_id("smolvlm2-500m").processor
    image = decode(photo.read_bytes())
    tiles = tile_pictures(image, plan_tiles(1100, 600, spec), spec)
    for file, tile in zip(saved_files[:3], tiles, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), np.asarray(tile))
    frames = [Image.open(file).transpose(Image.Transpose.ROTATE_270) for file in saved_files[4:7]]
    assert [number_of(frame) for frame in frames] == [40, 119, 199]
    assert {frame.size for frame in frames} == {(512, 512)}
    prompt = saved_files[3].read_text()
    assert prompt.startswith("<|im_start|>User:<fake_token_around_image><row_1_col_1><image>")
    assert prompt.count("<image>") == 3 * 64
    prompt = saved_files[7].read_text()
    assert "three frames from a 0:00:20" in prompt and "\nFrame from 00:04:<fake" in prompt


def test_watch_asks_about_a_film_until_its_end(fake: FakeEngine, tmp_path: Path) -> None:
    short, folder = film(tmp_path / "short.mp4", count=8, fps=10), tmp_path / "kept"
    at = ["--engine-url", fake.url, "--every", 0.3, "--json", "--save", folder]
    asked = len(fake.requests)
    done = run("watch", short, "What number?", *at)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert 2 <= len(rows) <= 4 and len(fake.requests) - asked == len(rows)
    for row, body in zip(rows, fake.requests[asked:], strict=True):
        assert row["text"] == "Hello there." and row["usage"]["prompt_tokens"] == 100
        assert row["time"].endswith("+00:00")
        (picture,) = pictures(body)
        assert number_of(picture) == round(row["frame_time"] * 10) == row["frame"] - 1
        assert len(body["messages"]) == 1
        assert Path(row["file"]).read_bytes()[:3] == b"\xff\xd8\xff"
    assert Path(rows[0]["file"]).name == "frame-001-0m00s.jpg"


def test_watch_ends_with_ctrl_c_and_after_the_most(fake: FakeEngine, clip: Path) -> None:
    done = run("watch", clip, "--engine-url", fake.url, "--every", 0, "--max", 2)
    assert done.returncode == 0
    assert [line.partition("] ")[2] for line in done.stdout.splitlines()] == ["Hello there."] * 2
    child = subprocess.Popen(
        [*COMMAND, "watch", str(clip), "--engine-url", fake.url, "--every", "30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout and child.stderr
    assert child.stdout.readline() == b"[0:00] Hello there.\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 130
    assert child.stderr.read() == b""
    child.stdout.close()
    child.stderr.close()


def test_watch_refuses_before_a_model_is_loaded(tmp_path: Path, fake: FakeEngine) -> None:
    assert "does not exist" in refused(2, "watch", tmp_path / "none.mp4", "--model", "demo")
    assert "is not watched" in refused(2, "watch", "ftp://host/x")


def test_a_pipe_watches_until_the_end_of_the_film(tmp_path: Path, fake: FakeEngine) -> None:
    short = film(tmp_path / "short.mp4", count=4, fps=10)
    done = piped(f"/watch {short} 9 What number?\n", "--plain", "--engine-url", fake.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Note: Watching short.mp4: /stop stops." in done.stdout
    assert "Picture: short.mp4 0:00.jpg, JPEG, 160 by 120 pixels" in done.stdout
    assert "You: What number?\nFake VLM: Hello there.\n" in done.stdout
    assert "Note: Watching short.mp4 ended: there is no more to see." in done.stdout


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, vlmchat.cli.inspected, vlmchat.cli.saving, vlmchat.cli.watch; "
        "import vlmchat.media.live, vlmchat.models.looks; "
        "print([m for m in ('torch', 'transformers', 'textual') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
