"""Videos reach the model as the library's own processor would bring them."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.video_processing_smolvlm import get_resize_output_image_size

from tests.engine.test_plan import encoded_png
from tests.engine_process import EngineProcess
from tests.media.video.making import film, number_of
from tests.tiny import TOKENS_PER_TILE
from vlmchat.chat.messages import ImagePart, TextPart, user_message
from vlmchat.engine.prompt import PlannedImage
from vlmchat.engine.vision import TileMaker
from vlmchat.media.attaching import attach
from vlmchat.media.cutting import steps
from vlmchat.media.rules import DEFAULT_LIMITS
from vlmchat.media.sending import as_sent
from vlmchat.media.tiles import ProcessorSpec, plan_tiles
from vlmchat.media.video.plan import Sampling

SPEC = ProcessorSpec(512, 2048, splitting=True, tokens_per_tile=64)
SIZES = [(512, 288), (288, 512), (512, 512), (160, 120), (121, 77), (1920, 1080), (512, 3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_frame_is_resized_by_the_rule_of_the_librarys_video_processor(
    size: tuple[int, int],
) -> None:
    """Compared with the library's own function, which needs no torchvision to be called."""
    width, height = size
    frame = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    theirs = get_resize_output_image_size(frame, SPEC.tile)
    assert steps(plan_tiles(*size, SPEC, "low"), *size, SPEC) == [theirs[::-1], (512, 512)]


@pytest.mark.parametrize("size", SIZES[:6], ids=str)
def test_pixels_are_near_those_of_the_librarys_video_processor(size: tuple[int, int]) -> None:
    """The reference is made here as that processor makes it where its filter is bicubic.

    So it is without a recent torchvision: ``torchvision.transforms.v2.functional.resize`` on
    tensors, which is `torch.nn.functional.interpolate` with antialiasing and rounding, twice.
    """
    rough = np.random.default_rng(2).integers(0, 256, (size[1] // 24 + 2, size[0] // 24 + 2, 3))
    picture = Image.fromarray(rough.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    processor = SmolVLMImageProcessorPil(
        size={"longest_edge": 2048},
        max_image_size={"longest_edge": 512},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    plan = plan_tiles(*size, SPEC, "low")
    planned = PlannedImage(encoded_png(picture), "frame", plan)
    ours = TileMaker(processor, SPEC, DEFAULT_LIMITS).tiles(planned)[0] / 2 + 0.5
    video = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float()
    for target in (get_resize_output_image_size(video, 512), (512, 512)):
        if target != tuple(video.shape[-2:]):
            video = interpolate(video, target, mode="bicubic", antialias=True)
            video = video.round().clamp(0, 255)
    assert float((ours - video[0] / 255).abs().mean()) < 1 / 255


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("clip") / "clip.mp4", count=40, fps=10)


def test_a_model_that_knows_no_videos_gets_pictures_and_a_sentence(clip: Path) -> None:
    part = attach(clip, sampling=Sampling(max_frames=3)).part
    said = {
        True: "You are provided the following series of three frames",
        False: "A video follows as 3 pictures, in the order of time.",
    }
    for videos, begin in said.items():
        (sent,) = as_sent([user_message("What?", (part,))], videos=videos)
        texts = [p.text for p in sent.parts if isinstance(p, TextPart)]
        pictures = [p for p in sent.parts if isinstance(p, ImagePart)]
        assert texts[0].startswith(begin) and texts[-1] == "What?"
        assert [number_of(Image.open(_file(p))) for p in pictures] == [0, 19, 39]
        assert {p.detail for p in pictures} == {"low"}


def _file(part: ImagePart) -> Any:
    import io

    return io.BytesIO(part.media.data)


def _asked(url: str, **options: Any) -> dict[str, Any]:
    part = {"type": "video_url", "video_url": {"url": url}}
    question = {"type": "text", "text": "What happens?"}
    messages = [{"role": "user", "content": [part, question]}]
    return {"messages": messages, "max_tokens": 4, **options}


def test_the_engine_takes_videos_by_url(engine: EngineProcess, clip: Path) -> None:
    inside = engine.folder / "clip.mp4"
    inside.write_bytes(clip.read_bytes())
    data = f"data:video/mp4;base64,{base64.b64encode(clip.read_bytes()).decode()}"
    few = {"mm_processor_kwargs": {"num_frames": 2, "fps": 1}}
    tokens, tiles = [], []
    for url, options in ((inside.as_uri(), {}), (data, {}), (data, few)):
        response = engine.http.post("/v1/chat/completions", json=_asked(url, **options))
        assert response.status_code == 200, response.text
        body = response.json()
        tokens.append(body["usage"]["prompt_tokens"])
        tiles.append(body["timings"]["vision_tiles"])
    assert tiles[:2] == [4, 0] and tiles[2] <= 2  # frames that were seen are not looked at again
    assert tokens[0] == tokens[1] > tokens[2] + 2 * TOKENS_PER_TILE
    assert engine.http.get("/v1/models").json()["data"][0]["meta"]["video"] is True


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("https://example.org/a.mp4", {}, "fetches nothing from the network"),
        ("file:///etc/hostname", {}, "outside the folders"),
        ("data:video/mp4;base64,AAAA", {}, "video 1"),
        ("data:video/mp4;base64,!", {}, "base64"),
        ("data:,", {"mm_processor_kwargs": {"fps": 0}}, "fps"),
        ("data:,", {"mm_processor_kwargs": {"size": 1}}, "size"),
    ],
)
def test_what_is_refused(
    engine: EngineProcess, url: str, options: dict[str, Any], words: str
) -> None:
    response = engine.http.post("/v1/chat/completions", json=_asked(url, **options))
    assert response.status_code == 400, response.text
    assert words in response.json()["error"]["message"]
