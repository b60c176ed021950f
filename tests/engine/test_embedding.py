"""Embeddings equal the library's own, and are kept."""

import io
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from PIL import Image

from tests.embedders import cached_embedder
from tests.pictures import encoded
from vlmchat.chat.messages import ImagePart, TextPart
from vlmchat.engine.caching.features import FeatureCache, FeatureFolder
from vlmchat.engine.cancelled import unstopped
from vlmchat.engine.embedding import Embedder
from vlmchat.errors import ModelError
from vlmchat.media.images import media_from_bytes
from vlmchat.models.embedding import find_embedder

SENTENCE = "a red circle on the left of a blue square and a good deal more than fits"


@torch.inference_mode()
def librarys(folder: Path, data: bytes) -> list[torch.Tensor]:
    """Return what the library's own classes make of the sentence and a picture."""
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    siglip = AutoConfig.from_pretrained(folder).model_type == "siglip"
    model: Any = AutoModel.from_pretrained(folder).eval()
    processor: Any = SiglipImageProcessorPil if siglip else CLIPImageProcessorPil
    pixels = processor.from_pretrained(folder)(
        Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt"
    )
    ids = PreTrainedTokenizerFast.from_pretrained(folder)(
        [SENTENCE], padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )["input_ids"]
    made = model(input_ids=ids, pixel_values=pixels["pixel_values"])
    return [made.text_embeds[0], made.image_embeds[0]]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_equals_the_library(kind: Literal["clip", "siglip"], tmp_path: Path) -> None:
    folder = find_embedder(cached_embedder(tmp_path / "hub", kind))
    data = encoded(width=90, height=40)
    kept = FeatureCache(1 << 20, FeatureFolder(tmp_path / "kept", 1 << 20))
    parts: list[TextPart | ImagePart] = [
        TextPart(SENTENCE),
        ImagePart(media_from_bytes(data, "photo.png")),
    ]
    found = Embedder(folder).places(parts, kept, unstopped)
    for ours, theirs in zip(found, librarys(folder, data), strict=True):
        assert ours == pytest.approx(theirs.tolist(), abs=1e-5)
        assert sum(value * value for value in ours) == pytest.approx(1, abs=1e-5)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    # From the disk: the picture is not decoded again.
    again = FeatureCache(1 << 20, FeatureFolder(tmp_path / "kept", 1 << 20))
    gone = ImagePart(media_from_bytes(data, "photo.png"))
    object.__setattr__(gone.media, "read", lambda: b"")
    assert Embedder(folder).places([gone], again, unstopped) == [pytest.approx(found[1])]


def test_what_is_no_embedder(tiny_model: Path, tmp_path: Path) -> None:
    for name, words in (
        ("tiny/clip", "is not in the Hub's cache"),
        (str(tmp_path), "holds no whole model"),
        (str(tiny_model), "is of type “smolvlm”"),
    ):
        with pytest.raises(ModelError, match=words):
            find_embedder(name)
