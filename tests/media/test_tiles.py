"""The tile plan equals the library's own, and never looks at more than there is to see."""

from typing import Any

import pytest
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from vlmchat.chat.messages import parse_detail
from vlmchat.errors import UsageError
from vlmchat.media.tiles import Box, ProcessorSpec, default_grid, plan_tiles, tile_boxes

SMALL = ProcessorSpec(tile=512, longest_edge=2048, splitting=True, tokens_per_tile=64)
LARGE = ProcessorSpec(tile=384, longest_edge=1536, splitting=True, tokens_per_tile=81)
DEMO = ProcessorSpec(tile=240, longest_edge=240, splitting=False, tokens_per_tile=25)
SIDES = [1, 2, 17, 100, 383, 384, 385, 512, 513, 1000, 1080, 1536, 1920, 2047, 4000, 6000]


@pytest.mark.parametrize("kind", [SmolVLMImageProcessorPil, Idefics3ImageProcessorPil])
@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["512", "384"])
def test_grid_is_the_librarys(kind: Any, spec: ProcessorSpec) -> None:
    processor = kind(
        size={"longest_edge": spec.longest_edge}, max_image_size={"longest_edge": spec.tile}
    )
    for width in SIDES:
        for height in SIDES:
            _, rows, cols = processor.get_number_of_image_patches(height, width)
            assert default_grid(width, height, spec) == (rows, cols), (width, height)


@pytest.mark.parametrize(
    ("size", "spec", "low", "auto", "high"),
    [
        ((386, 386), SMALL, 1, 1, 17),
        ((512, 512), SMALL, 1, 1, 17),
        ((1024, 512), SMALL, 1, 3, 9),
        ((1920, 1080), SMALL, 1, 7, 13),
        ((2048, 1536), SMALL, 1, 13, 13),
        ((6000, 4000), SMALL, 1, 13, 13),
        ((6000, 200), SMALL, 1, 5, 5),
        ((386, 386), LARGE, 1, 1, 17),
        ((4000, 4000), DEMO, 1, 1, 1),
        ((1, 1), SMALL, 1, 1, 17),
    ],
)
def test_tiles_by_detail(
    size: tuple[int, int], spec: ProcessorSpec, low: int, auto: int, high: int
) -> None:
    plans = [plan_tiles(*size, spec, detail) for detail in ("low", "auto", "high")]
    assert [plan.tiles for plan in plans] == [low, auto, high]
    assert plans[2].image_tokens == high * spec.tokens_per_tile


@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["512", "384"])
def test_auto_never_upscales(spec: ProcessorSpec) -> None:
    for width in SIDES:
        for height in SIDES:
            plan = plan_tiles(width, height, spec, "auto")
            assert plan.rows * plan.tile <= max(height, spec.tile)
            assert plan.cols * plan.tile <= max(width, spec.tile)
            assert plan.tiles <= plan_tiles(width, height, spec, "high").tiles


def test_settings_are_read_from_the_model_folder() -> None:
    config = {"vision_config": {"image_size": 512, "patch_size": 16}, "scale_factor": 4}
    preprocessor = {"max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}}
    assert ProcessorSpec.from_configs(config, preprocessor) == SMALL


@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["512", "384"])
def test_auto_is_the_librarys_grid_where_the_pixels_fill_it(spec: ProcessorSpec) -> None:
    for width in SIDES:
        for height in SIDES:
            auto = plan_tiles(width, height, spec, "auto")
            rows, cols = default_grid(width, height, spec)
            wanted = min(rows, max(1, height // spec.tile)), min(cols, max(1, width // spec.tile))
            assert (auto.rows, auto.cols) == ((0, 0) if wanted == (1, 1) else wanted)


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        ((1000, 1000), 1, (0, 0)),
        ((1000, 1000), 4, (0, 0)),
        ((1000, 1000), 5, (2, 2)),
        ((1000, 1000), 10, (3, 3)),
        ((1000, 1000), 16, (3, 3)),
        ((1000, 1000), 17, (4, 4)),
        ((1920, 1080), 3, (1, 2)),
        ((1920, 1080), 5, (2, 2)),
        ((1920, 1080), 7, (2, 3)),
        ((1080, 1920), 7, (3, 2)),
        ((1920, 1080), 99, (3, 4)),
        ((6000, 200), 4, (1, 3)),
    ],
)
def test_a_number_is_the_most_tiles(
    size: tuple[int, int], most: int, grid: tuple[int, int]
) -> None:
    plan = plan_tiles(*size, SMALL, most)
    assert (plan.rows, plan.cols) == grid


@pytest.mark.parametrize("spec", [SMALL, LARGE, DEMO], ids=["512", "384", "demo"])
def test_more_tiles_never_show_less(spec: ProcessorSpec) -> None:
    for size in [(w, h) for w in SIDES for h in SIDES[::2]]:
        high = plan_tiles(*size, spec, "high")
        before = plan_tiles(*size, spec, 1)
        assert before == plan_tiles(*size, spec, "low")
        for most in range(2, 20):
            plan = plan_tiles(*size, spec, most)
            assert plan.tiles <= most and plan.tiles <= high.tiles
            assert plan.tiles >= before.tiles
            assert plan.rows <= high.rows and plan.cols <= high.cols
            before = plan
        assert before == high


def test_boxes_part_the_picture() -> None:
    plan = plan_tiles(1920, 1080, SMALL)
    boxes = tile_boxes(plan, 1920, 1080)
    assert len(boxes) == plan.tiles == 7 and boxes[-1] == Box(0, 0, 1920, 1080)
    assert boxes[0] == Box(0, 0, 640, 540) and boxes[4] == Box(640, 540, 1280, 1080)
    assert tile_boxes(plan_tiles(9, 9, SMALL), 9, 9) == [Box(0, 0, 9, 9)]


def test_details_are_read() -> None:
    for text, detail in (("low", "low"), (" HIGH ", "high"), ("5", 5), (5, 5), ("0012", 12)):
        assert parse_detail(text) == detail
    nonsense: list[object] = [
        "",
        "0",
        "-1",
        "five",
        "1.5",
        0,
        -3,
        1.5,
        True,
        None,
        "9" * 5,
        "²",
        [],
    ]
    for wrong in nonsense:
        with pytest.raises(UsageError, match="is no detail: it is one of low, auto, high, or"):
            parse_detail(wrong)
