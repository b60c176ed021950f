"""How long a 4K picture takes from its file to the tiles that the vision tower gets.

A drawn screen full of text as PNG and a picture with the smoothness and grain of a photograph as
JPEG and PNG, each 3840 × 2160, at ``auto`` for the processor with tiles of 512 pixels. Ours and the
library's processor run in turn in the same process, on the same bytes, and the tiles are compared.

    python benchmarks/pictures.py --rounds 9
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

sys.path.insert(0, str(Path(__file__).parents[1]))
from vlmchat.engine.prompt import PlannedImage
from vlmchat.engine.vision import TileMaker
from vlmchat.media.cutting import cut
from vlmchat.media.images import decode
from vlmchat.media.rules import DEFAULT_LIMITS
from vlmchat.media.tiles import plan_tiles
from vlmchat.models.catalogue import by_id

WIDTH, HEIGHT = 3840, 2160
ALLOWED_MS = 150.0


def photograph() -> Image.Image:
    random = np.random.default_rng(1)
    coarse = Image.fromarray(random.integers(0, 256, (27, 48, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.float32)
    grain = random.normal(0, 2, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def screen() -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    for y in range(0, HEIGHT, 24):
        text = "".join(chr(33 + (x * 7 + y * 13) % 90) for x in range(400))
        pen.text((8, y), text, fill=(20, 20, y % 200))
    return image


def median(work: Callable[[], object], rounds: int) -> float:
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    spec = by_id("smolvlm2-500m").processor
    processor = SmolVLMImageProcessorPil(
        size={"longest_edge": spec.longest_edge}, max_image_size={"longest_edge": spec.tile},
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    maker = TileMaker(processor, spec, DEFAULT_LIMITS)
    plan = plan_tiles(WIDTH, HEIGHT, spec)
    print(f"{WIDTH} × {HEIGHT}, {plan.tiles} tiles, medians of {rounds} in ms")
    print(f"{'':16}{'MB':>6}{'decode':>9}{'cut':>9}{'file to tiles':>15}{'library':>10}")
    slow = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, image, kind in (
            ("photograph", photograph(), "JPEG"), ("screen", screen(), "PNG"),
            ("photograph", photograph(), "PNG"),
        ):  # fmt: skip
            file = Path(folder) / "picture"
            image.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}))

            def ours(file: Path = file) -> torch.Tensor:
                return maker.tiles(PlannedImage(file.read_bytes(), "picture", plan))

            def library(file: Path = file) -> torch.Tensor:
                picture = Image.open(io.BytesIO(file.read_bytes())).convert("RGB")
                found = processor(images=[[picture]], return_tensors="pt")["pixel_values"][0]
                assert isinstance(found, torch.Tensor)
                return found

            assert torch.equal(ours(), library())
            data = file.read_bytes()
            picture = decode(data)
            decoding = median(partial(decode, data), rounds)
            cutting = median(partial(cut, picture, plan, spec), rounds)
            whole, theirs = median(ours, rounds), median(library, max(1, rounds // 2))
            slow += whole > ALLOWED_MS
            print(f"{name + ' ' + kind:16}{len(data) / 1e6:6.1f}{decoding:9.0f}{cutting:9.0f}"
                  f"{whole:15.0f}{theirs:10.0f}")  # fmt: skip
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
