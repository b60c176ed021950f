"""What attachments cost, in figures and in words, and the speeds that are remembered."""

import json
from pathlib import Path

import pytest

from vlmchat.chat.messages import Clip, ImagePart, Media, Region, VideoPart
from vlmchat.client.protocol import ModelInfo
from vlmchat.errors import UsageError
from vlmchat.media.tiles import ProcessorSpec
from vlmchat.models.catalogue import by_id
from vlmchat.talk.cropping import parse_crop, region_of
from vlmchat.talk.plan import Cost, cost_of, cost_words, counted, frame_tokens, steps, wait_text
from vlmchat.talk.speeds import Speed, Speeds

SPEC = by_id("smolvlm2-500m").processor
MODEL = ModelInfo("m", "M", "r1", "none", "cpu")
TIMINGS = {"prompt_n": 100, "prompt_ms": 3000.0, "vision_ms": 1000.0, "vision_tiles": 5}


def picture(width: int, height: int, region: Region | None = None) -> ImagePart:
    media = Media("0" * 64, "a.png", "image/png", width, height, 9, lambda: b"")
    return ImagePart(media, "auto", region)


def test_a_picture_and_a_part_of_it() -> None:
    whole = picture(1024, 1024)
    assert cost_of(whole, "auto", SPEC) == Cost(5, 5 * 66 + 1 + 1 + 1)
    assert cost_of(whole, "low", SPEC) == Cost(1, 67)
    assert cost_of(whole, "high", SPEC).tiles == 17
    part = picture(1024, 1024, Region(100, 100, 500, 400))
    assert cost_of(part, "auto", SPEC) == Cost(1, 67)
    timed = cost_of(whole, "auto", SPEC, Speed(tile=0.2, token=0.001))
    assert timed.seconds == pytest.approx(5 * 0.2 + 333 * 0.001)


def test_a_video_is_one_tile_and_a_time_for_each_frame() -> None:
    media = Media("1" * 64, "a.mp4", "video/mp4", 64, 48, 9, lambda: b"")
    video = VideoPart(media, Clip(tuple(map(float, range(12))), 12.0))
    cost = cost_of(video, 5, SPEC)
    assert (cost.frames, cost.tiles) == (12, 12)
    assert frame_tokens(SPEC) == 77 and cost.tokens == 12 * 77 + 31


def test_the_steps_that_make_a_difference() -> None:
    assert steps((2048, 2048), SPEC) == ["low", "auto", "high", 5, 10]
    assert steps((1024, 1024), SPEC) == ["low", "auto", "high", 10]
    assert steps((10, 10), by_id("demo").processor) == ["low", "auto", "high"]
    assert steps((10, 10), None) == ["low", "auto", "high"]


def test_the_words() -> None:
    assert counted(1, "tile") == "1 tile" and counted(1088, "token") == "1\u00a0088 tokens"
    assert [wait_text(s) for s in (0.001, 0.42, 3.4, 100, 600)] == [
        *("0.1 s", "0.4 s", "3 s", "2 min", "10 min")
    ]
    assert cost_words(Cost(1, 67, 0, 1.24)) == ["67 tokens", "~1.2 s"]


def test_speeds_are_medians_and_outlive_the_program(tmp_path: Path) -> None:
    path = tmp_path / "speeds.json"
    speeds = Speeds(path)
    speeds.load()
    assert speeds.of(MODEL) is None
    assert speeds.note(MODEL, TIMINGS)
    assert speeds.of(MODEL) == Speed(0.2, 0.02)
    for slow in (4, 1, 1):
        speeds.note(MODEL, TIMINGS | {"prompt_ms": 3000.0 * slow, "vision_ms": 1000.0 * slow})
    again = Speeds(path)
    again.load()
    assert again.of(MODEL) == Speed(0.2, 0.02)
    other = ModelInfo("m", "M", "r1", "4bit", "cpu")
    assert again.of(other) is None
    for number in range(60):
        again.note(ModelInfo(f"m{number}", ""), TIMINGS)
    assert len(json.loads(path.read_text())) == 50
    assert not list(tmp_path.glob(".speeds*"))


@pytest.mark.parametrize(
    "timings",
    [
        {},
        {"prompt_n": 8, "prompt_ms": 10.0},
        {"prompt_n": "many", "prompt_ms": 10.0},
        {"prompt_n": 100, "prompt_ms": float("nan")},
    ],
)
def test_what_is_no_measurement_is_not_taken(tmp_path: Path, timings: dict[str, float]) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    assert not speeds.note(MODEL, timings)


def test_an_answer_without_a_picture_tells_the_prefill_only(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    assert speeds.note(MODEL, {"prompt_n": 100, "prompt_ms": 3000.0})
    assert speeds.of(MODEL) is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": 1}', '{"a": {"tile": [true, -1, "x"], "token": {}}}', "\udcff"]
)
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "speeds.json"
    path.write_text(text, "utf-8", "surrogateescape")
    speeds = Speeds(path)
    speeds.load()
    assert speeds.of(MODEL) is None and speeds.note(MODEL, TIMINGS)


def test_without_a_place_the_speeds_last_for_the_program(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "missing" / "speeds.json")
    assert speeds.note(MODEL, TIMINGS) and speeds.of(MODEL)


def test_the_settings_of_a_processor_travel() -> None:
    row = json.loads(json.dumps(SPEC.as_row()))
    assert ProcessorSpec.from_row(row) == SPEC
    info = ModelInfo.from_json({"id": "x", "meta": {"processor": row}})
    assert info.processor == SPEC


@pytest.mark.parametrize(
    "change",
    [
        {"tile": 0},
        {"tile": "512"},
        {"tile": True},
        {"tile": 1},
        {"splitting": 1},
        {"longest_edge": -1},
        {"tokens_per_tile": 10**30},
    ],
)
def test_a_processor_that_makes_no_sense_is_none(change: dict[str, object]) -> None:
    assert ProcessorSpec.from_row(SPEC.as_row() | change) is None
    assert ProcessorSpec.from_row(None) is ProcessorSpec.from_row({"splitting": True}) is None


@pytest.mark.parametrize(
    ("argument", "which", "part"),
    [
        ("", "", None),
        ("2", "2", None),
        ("my photo.png", "my photo.png", None),
        ("10,20,30,40", "", (10, 20, 30, 40)),
        ("2 10, 20, 30, 40", "2", (10, 20, 30, 40)),
        ("a b.png 10 20 30 40", "a b.png", (10, 20, 30, 40)),
        ("left", "", "left"),
        ("2 Top right", "2", "top right"),
        ("photo.png off", "photo.png", "off"),
    ],
)
def test_how_a_part_is_written(argument: str, which: str, part: object) -> None:
    assert parse_crop(argument) == (which, part)


def test_the_parts_that_have_names() -> None:
    assert region_of("left half", 101, 51).edges == (0, 0, 50, 51)
    assert region_of("top right", 100, 50).edges == (50, 0, 100, 25)
    assert region_of("middle", 100, 50).edges == (25, 12, 75, 37)
    assert region_of("middle", 1, 1).edges == (0, 0, 1, 1)
    for part in ("half", "off left"):
        with pytest.raises(UsageError, match=r"left|off"):
            region_of(part, 100, 50)
