"""``vlmchat ask --why``: a picture, a sentence, and numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.test_ask import refused, run
from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, running
from tests.pictures import saved
from vlmchat.cli.why import check_why
from vlmchat.client.evidence import Evidence, named, place_words
from vlmchat.errors import MediaError, UsageError
from vlmchat.media.images import load_media
from vlmchat.media.overlay import overlaid, save_new, sheet
from vlmchat.media.tiles import Box


def test_the_heat_is_saved_and_told(engine: EngineProcess, tmp_path: Path) -> None:
    photo = saved(tmp_path / "cat.png", 96, 64)
    out = tmp_path / "out.png"
    options = ["ask", "--engine-url", engine.url, "--api-key", TOKEN, "--max-new-tokens", 8]
    done = run(*options, "-a", photo, "--why", out, "--json", "What is it?")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    why = row["why"]
    assert why["saved"] == str(out) and why["hiding"]["picture"] == 0
    assert len(why["whole"]["heat"][0]) == 4 and len(why["words"]) == len(row["text"].split())
    assert why["sentence"].startswith("It looked mostly at the ") and "cat.png" in why["sentence"]
    image = Image.open(out)
    assert image.size == (96, 64) and image.convert("L").getextrema() != (255, 255)


@pytest.mark.slow
def test_the_sentence_stays_out_of_the_answer(engine: EngineProcess, tmp_path: Path) -> None:
    photo = saved(tmp_path / "cat.png", 96, 64)
    options = ["ask", "--engine-url", engine.url, "--api-key", TOKEN, "--max-new-tokens", 8]
    plain = run(*options, "-a", photo, "What is it?")
    done = run(*options, "-a", photo, "--why", tmp_path / "out.png", "What is it?")
    assert done.returncode == 0 and done.stdout == plain.stdout
    assert "hiding elsewhere" in done.stderr and (tmp_path / "out.png").exists()


def test_what_cannot_be_shown_is_refused_before(tmp_path: Path) -> None:
    there = saved(tmp_path / "there.png")
    for path, pictures, said in (
        (tmp_path / "new.png", 0, "attach one with -a"),
        (tmp_path / "new.jpg", 1, "ends in .png"),
        (there, 1, "is there already"),
        (tmp_path / "none" / "new.png", 1, "there is no folder"),
    ):
        with pytest.raises(UsageError, match=said):
            check_why(path, pictures)
    before = there.read_bytes()
    with pytest.raises(MediaError, match="is there already"):
        save_new(there, b"")
    assert there.read_bytes() == before
    with running(FakeEngine()) as fake:
        out = tmp_path / "new.png"
        said = refused(3, "ask", "--engine-url", fake.url, "-a", there, "--why", out, "Hi")
        assert "--why needs vlmchat's own engine" in said
        assert not fake.requests and not out.exists()


def test_heat_is_drawn_where_it_is(tmp_path: Path) -> None:
    grey = Image.new("RGB", (80, 60), (128, 128, 128))
    drawn = overlaid(grey, [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], Box(0, 0, 0.5, 0.5))
    hot, cold = drawn.getpixel((70, 30)), drawn.getpixel((60, 55))
    assert isinstance(hot, tuple) and hot[0] > 200 and hot[2] < 160
    assert cold == (128, 128, 128) == drawn.getpixel((20, 50))
    assert drawn.getpixel((1, 1)) == (255, 255, 255) and drawn.getpixel((0, 10)) == (0, 0, 0)
    pictures = [load_media(saved(tmp_path / f"{n}.png", 40 + n, 30)) for n in range(3)]
    save_new(tmp_path / "all.png", sheet(pictures, [[[0.5]], [[0.0]], [[0.5]]]))
    assert Image.open(tmp_path / "all.png").size == (42 * 2 + 8, 30 * 2 + 8)
    with pytest.raises(MediaError, match="other pictures"):
        sheet(pictures, [[[1.0]]])


def test_sentences() -> None:
    sight: dict[str, Any] = {
        "begin": 0,
        "end": 8,
        "logprob": -1.0,
        "share": 0.2,
        "raw": [[[0.5, 0.5]]],
    }
    sight["heat"] = [[[0.0, 1.0]]]
    hiding: dict[str, Any] = {
        "picture": 0,
        "box": [0.5, 0.0, 1.0, 0.5],
        "share": 0.42,
        "logprob": -1.0,
    }
    hiding |= {"hidden": -4.1, "elsewhere": [{"box": [0.0, 0.5, 0.5, 1.0], "hidden": -1.2}]}
    word = {**sight, "begin": 4, "end": 8}
    row: dict[str, Any] = {
        "text": "The cat.",
        "aggregation": "mean",
        "whole": sight,
        "words": [word],
    }
    row |= {"chosen": sight, "hiding": hiding}
    assert Evidence.from_json(row).sentence(["cat.png"]) == (
        "It looked mostly at the upper right of cat.png (42 % of its attention); hiding that makes "
        "the answer 3.1 nats less likely; hiding elsewhere 0.2."
    )
    weak = {**row, "chosen": word, "hiding": {**hiding, "hidden": -0.9}}
    assert Evidence.from_json(weak).sentence(["a\x1b.png", "b"]) == (
        "For “cat.” it looked mostly at the upper right of a␛.png (42 % of its attention); hiding "
        "that makes “cat.” 0.1 nats more likely; hiding elsewhere 0.2. So that place mattered no "
        "more than others."
    )
    two = [{"box": [0.0, 0.5, 0.5, 1.0], "hidden": at} for at in (-1.2, -3.8)]
    among = {**row, "hiding": {**hiding, "elsewhere": two}}
    assert Evidence.from_json(among).sentence(["cat.png"]).endswith("; hiding elsewhere 1.5.")
    among["hiding"]["hidden"] = -3.5
    weaker = Evidence.from_json(among).sentence(["cat.png"])
    assert "likely; hiding elsewhere 1.5 on average, 2.8 at most. So that place" in weaker
    bare = Evidence.from_json({**row, "hiding": None})
    assert "(100 % of its attention)." in bare.sentence(["cat.png"])
    for broken in (
        {**row, "hiding": {**hiding, "picture": 1}},
        {**row, "words": [{**word, "heat": [], "raw": []}]},
        {**row, "whole": {**sight, "heat": [[[0.0], [1.0, 2.0]]]}},
    ):
        with pytest.raises((ValueError, KeyError, TypeError)):
            Evidence.from_json(broken)
    assert place_words(Box(0.4, 0.4, 0.6, 0.6)) == "the middle"
    assert place_words(Box(0, 0.3, 0.3, 0.6)) == "the left"
    assert place_words(Box(0.4, 0.7, 0.6, 1)) == "the bottom"
    assert place_words(Box(0, 0, 1, 1)) == "all"
    assert named(["a", "a"], 1) == "picture 2 (a)" and named([], 0) == "picture 1"
