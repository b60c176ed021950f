"""Places of pictures and sentences in the space of a CLIP or SigLIP model.

What is near in it fits together. Pictures' places are kept with the features of the pictures that
the model itself looks at, in memory and on the disk (`vlmchat.engine.caching.features`).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from vlmchat.chat.messages import ImagePart, TextPart
from vlmchat.engine.caching.features import FeatureCache, PictureKey
from vlmchat.engine.cancelled import Check
from vlmchat.engine.weights import short
from vlmchat.errors import ModelError
from vlmchat.media.images import decode
from vlmchat.media.rules import rules

# Counted up when the same pixels come to have other places.
_VERSION = 1


class Embedder:
    """An embedding model, run by the library's modules; for the thread that runs models.

    Args:
        folder: as `vlmchat.models.embedding.find_embedder` gives it.

    Raises:
        ModelError: it does not load.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._siglip = json.loads((folder / "config.json").read_text())["model_type"] != "clip"
            self._model = _model(folder, siglip=self._siglip)
            self._processor = _processor(folder, siglip=self._siglip)
            self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the library raises what it likes
            raise ModelError(
                f"The first stage's model in {folder} does not load ({short(error)})."
            ) from error
        text = self._model.config.text_config
        self._longest = int(text.max_position_embeddings)
        self._side = int(self._model.config.vision_config.image_size)
        self._eyes = _eyes(folder)

    @torch.inference_mode()
    def places(
        self, parts: Sequence[TextPart | ImagePart], kept: FeatureCache, check: Check
    ) -> list[list[float]]:
        """Return the place of each sentence and picture: a vector of length 1.

        Args:
            parts: sentences and pictures; a sentence that is too long is cut off.
            kept: where pictures' places are kept.
            check: called between them; it raises to stop.

        Raises:
            MediaError: a picture cannot be decoded.
        """
        found: list[list[float]] = []
        for part in parts:
            check()
            if isinstance(part, TextPart):
                place = self._sentence(part.text)
            else:
                key = PictureKey(part.media.sha256, 0, 0, self._side, 1, self._eyes)
                known = kept.get(key)
                place = self._picture(part) if known is None else known[0]
                if known is None:
                    kept.put(key, place[None])
            found.append(place.tolist())
        return found

    def _sentence(self, text: str) -> torch.Tensor:
        # SigLIP was trained with padding, which its tokenizer does not say of itself.
        inputs = self._tokenizer(
            [text],
            padding="max_length" if self._siglip else False,
            max_length=self._longest,
            truncation=True,
            return_tensors="pt",
        )
        ids = inputs["input_ids"]
        mask = None if self._siglip else inputs["attention_mask"]
        return _unit(self._model.get_text_features(input_ids=ids, attention_mask=mask))

    def _picture(self, part: ImagePart) -> torch.Tensor:
        image = decode(part.media.data, part.media.name, rules().limits).convert("RGB")
        pixels = self._processor(image, return_tensors="pt")["pixel_values"]
        return _unit(self._model.get_image_features(pixel_values=pixels))


def _unit(made: Any) -> torch.Tensor:  # noqa: ANN401 - a tensor, or the library's output object
    vector = made if isinstance(made, torch.Tensor) else made.pooler_output
    unit: torch.Tensor = torch.nn.functional.normalize(vector[0].float(), dim=-1)
    return unit


def _model(folder: Path, *, siglip: bool) -> Any:  # noqa: ANN401 - two classes without a typed base
    from transformers.models.clip.modeling_clip import CLIPModel
    from transformers.models.siglip.modeling_siglip import SiglipModel

    kind: Any = SiglipModel if siglip else CLIPModel
    return kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    ).eval()


def _processor(folder: Path, *, siglip: bool) -> Any:  # noqa: ANN401
    """Return the library's processor with the PIL backend; the default one wants torchvision."""
    from transformers.models.clip import image_processing_pil_clip
    from transformers.models.siglip import image_processing_pil_siglip

    if siglip:
        return image_processing_pil_siglip.SiglipImageProcessorPil.from_pretrained(folder)
    return image_processing_pil_clip.CLIPImageProcessorPil.from_pretrained(folder)


def _eyes(folder: Path) -> str:
    """Return a name that changes with whatever changes a picture's place, but the picture."""
    files = [*sorted(folder.glob("*.safetensors")), folder / "preprocessor_config.json"]
    said = [f"{path.resolve()} {(s := path.stat()).st_size} {s.st_mtime_ns}" for path in files]
    text = json.dumps(["embedding", _VERSION, *said, str(rules().background)])
    return hashlib.sha256(text.encode()).hexdigest()
