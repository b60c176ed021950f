"""The tile plan equals the library's own, and never looks at more than there is to see."""

from typing import Any

import pytest
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from vlmchat.media.tiles import ProcessorSpec, default_grid, plan_tiles

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
