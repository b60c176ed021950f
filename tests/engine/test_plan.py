"""The plan that is shown equals what the engine builds: tokens, tiles and pixels."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from tests.pictures import draw, promised_png
from tests.tiny import build_tiny
from vlmchat.chat.messages import Detail, Media, user_message
from vlmchat.engine.pixels import normaliser
from vlmchat.engine.prompt import PlannedImage, PromptBuilder
from vlmchat.engine.vision import TileMaker
from vlmchat.media import cutting
from vlmchat.media.cutting import steps, tile_pictures
from vlmchat.media.rules import DEFAULT_LIMITS
from vlmchat.media.tiles import ProcessorSpec, TilePlan, default_grid, plan_tiles
from vlmchat.models.catalogue import CATALOGUE, CatalogueEntry
from vlmchat.models.demo_model import shipped_weights
from vlmchat.models.processor import processor_spec

SIZES = [
    *((1, 1), (1, 20_000), (65_535, 1), (17, 17), (386, 386), (512, 512), (513, 511), (640, 480)),
    *((1000, 300), (1024, 1024), (1080, 1920), (1535, 1537), (1920, 1080), (2048, 1536)),
    *((3000, 200), (200, 3000), (3840, 2160), (4000, 3000), (6000, 4000)),
]
DETAILS: list[Detail] = ["low", "auto", "high", 1, 2, 3, 5, 7, 10, 13, 16, 17, 40]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(build_tiny(tmp_path_factory.mktemp("plan")))


def processor_of(entry: CatalogueEntry) -> Any:
    kind = (
        SmolVLMImageProcessorPil if entry.architecture == "smolvlm" else Idefics3ImageProcessorPil
    )
    spec = entry.processor
    return kind(
        size={"longest_edge": spec.longest_edge},
        max_image_size={"longest_edge": spec.tile},
        do_image_splitting=spec.splitting,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.id)
def test_tokens_are_those_of_the_engine(entry: CatalogueEntry, tokenizer: Any) -> None:
    blank = len(tokenizer.encode("\n\n", add_special_tokens=False))
    spec = replace(entry.processor, blank_line_tokens=blank)
    builder = PromptBuilder(tokenizer, spec, DEFAULT_LIMITS)
    image = tokenizer.convert_tokens_to_ids("<image>")
    without = len(builder.build([user_message("?")]).ids)
    # The template writes “User:” before a picture and “User: ” before a text.
    without -= len(tokenizer.encode("User: ?")) - len(tokenizer.encode("User:"))
    without += len(tokenizer.encode("?"))
    for width, height in SIZES:
        data = promised_png(width, height)
        media = Media.held(data, "p.png", "image/png", width, height)
        for detail in DETAILS:
            plan = plan_tiles(width, height, spec, detail)
            prompt = builder.build([user_message("?", (media,), detail)])
            assert prompt.images[0].plan == plan
            assert prompt.ids.count(image) == plan.image_tokens
            assert len(prompt.ids) - without == plan.prompt_tokens, (width, height, detail)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.id)
def test_high_is_the_librarys_grid(entry: CatalogueEntry) -> None:
    processor = processor_of(entry)
    for width, height in SIZES:
        _, rows, cols = processor.get_number_of_image_patches(height, width)
        plan = plan_tiles(width, height, entry.processor, "high")
        assert (plan.rows, plan.cols) == (rows, cols), (width, height)
        assert plan_tiles(width, height, entry.processor, 9999) == plan


def library_options(plan: TilePlan, width: int, height: int, spec: ProcessorSpec) -> dict[str, Any]:
    """Return what makes the library cut as `plan` says."""
    if not plan.rows:
        cuts = default_grid(width, height, spec) != (0, 0)
        edge = spec.tile if cuts else spec.longest_edge
        return {"do_image_splitting": False, "size": {"longest_edge": edge}}
    if (plan.rows, plan.cols) == default_grid(width, height, spec):
        return {"do_image_splitting": True}
    size = {"height": plan.rows * plan.tile, "width": plan.cols * plan.tile}
    return {"do_image_splitting": True, "size": size}


PIXELS = [
    *((64, 48), (386, 386), (1300, 620)),
    *(
        pytest.param(size, marks=pytest.mark.slow)
        for size in ((700, 1900), (2100, 1700), (3840, 2160), (5000, 40))
    ),
]


@pytest.mark.parametrize("name", ["smolvlm2-500m", "smolvlm-2.2b", "demo"])
@pytest.mark.parametrize("size", PIXELS, ids=str)
def test_pixels_are_the_librarys(name: str, size: tuple[int, int]) -> None:
    entry = next(item for item in CATALOGUE if item.id == name)
    processor = processor_of(entry)
    noise = np.random.default_rng(3).integers(0, 256, (size[1] // 3 + 1, size[0] // 3 + 1, 3))
    picture = Image.fromarray(noise.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    details: list[Detail] = ["auto"] if size == (3840, 2160) else ["low", "auto", "high", 6]
    maker = TileMaker(processor, entry.processor, DEFAULT_LIMITS)
    for detail in details:
        plan = plan_tiles(*size, entry.processor, detail)
        options = library_options(plan, *size, entry.processor)
        theirs = processor(images=[[picture]], return_tensors="pt", **options)["pixel_values"][0]
        ours = maker.tiles(PlannedImage(encoded_png(picture), "p", plan))
        assert ours.shape == (plan.tiles, 3, plan.tile, plan.tile)
        assert torch.equal(ours, theirs), detail


def encoded_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def test_bands_are_what_pillow_makes_of_the_whole() -> None:
    """Which pass Pillow makes first shows in the last bit, and may change with its version."""
    random = np.random.default_rng(5)
    spec = ProcessorSpec(32, 128, splitting=True, tokens_per_tile=4)
    method = Image.Resampling.LANCZOS
    for _ in range(300):
        width, height = (int(side) for side in np.exp(random.uniform(2, 6, 2)))
        pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        for size in steps(plan_tiles(width, height, spec, "high"), width, height, spec):
            picture = Image.fromarray(pixels)
            ours = cutting._resize(picture, size, method, cutting._on_threads)
            theirs = picture.resize(size, method)
            assert np.array_equal(np.asarray(ours), np.asarray(theirs)), (width, height, size)
            pixels = np.asarray(theirs)


def test_what_is_looked_at_is_what_the_model_gets() -> None:
    entry = next(item for item in CATALOGUE if item.id == "smolvlm2-500m")
    picture = draw(1500, 1100)
    plan = plan_tiles(1500, 1100, entry.processor)
    shown = tile_pictures(picture, plan, entry.processor)
    maker = TileMaker(processor_of(entry), entry.processor, DEFAULT_LIMITS)
    given = maker.tiles(PlannedImage(encoded_png(picture), "p", plan))
    assert len(shown) == plan.tiles
    for tile, pixels in zip(shown, given, strict=True):
        back = ((pixels.permute(1, 2, 0) * 0.5 + 0.5) * 255).round().to(torch.uint8).numpy()
        assert np.array_equal(np.asarray(tile), back)


def test_other_normalisations_are_the_librarys_too() -> None:
    processor = SmolVLMImageProcessorPil(image_mean=[0.48, 0.45, 0.4], image_std=[0.27, 0.26, 0.28])
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    planes = np.stack([values, values[::-1], values.T])
    theirs = processor.normalize(
        processor.rescale(planes, processor.rescale_factor),
        processor.image_mean,
        processor.image_std,
    )
    ours = normaliser(processor)(torch.from_numpy(planes)[None])
    assert np.array_equal(ours[0].numpy(), theirs)


def test_a_folder_says_what_the_catalogue_says(tmp_path: Path, tiny_model: Path) -> None:
    demo = next(entry for entry in CATALOGUE if entry.is_demo)
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((shipped_weights() / name).read_bytes())
    assert processor_spec(tmp_path) == demo.processor
    tiny = processor_spec(tiny_model)
    found = PreTrainedTokenizerFast.from_pretrained(tiny_model)
    assert tiny.blank_line_tokens == len(found.encode("\n\n", add_special_tokens=False))
    assert (tiny.tile, tiny.longest_edge, tiny.tokens_per_tile) == (32, 128, 4)


def test_planning_loads_nothing_heavy() -> None:
    code = (
        "import sys; from vlmchat.media.tiles import plan_tiles, tile_boxes\n"
        "from vlmchat.models.catalogue import CATALOGUE\n"
        "print([plan_tiles(3000, 2000, e.processor, 5).prompt_tokens for e in CATALOGUE])\n"
        "print([m for m in ('torch', 'transformers', 'PIL', 'numpy', 'av', 'pydantic')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[1] == "[]"
