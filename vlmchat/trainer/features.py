"""What the tower makes of each picture, encoded once for the whole job and kept on the disk.

While vision tower and connector are frozen, a picture's features are the same in every epoch.
They lie in ``features/`` of the job folder under the picture's name (`rows.picture_key`) and a
digest of the weights that made them, so that neither another picture, another plan nor another
model is ever taken for it.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from vlmchat.engine.pages import let_go
from vlmchat.engine.prompt import PlannedImage
from vlmchat.engine.vision import TileMaker, encode_tiles
from vlmchat.finetune.files import JobError, told, write_whole

log = logging.getLogger(__name__)


class FeatureStore:
    """Features by name; made by one process, read by all.

    Args:
        folder: where they lie; created if missing.
        model: that makes them; only its tower and connector are looked at.
        tile_maker: cuts pictures as the engine does.
    """

    def __init__(self, folder: Path, model: Any, tile_maker: TileMaker) -> None:  # noqa: ANN401
        self._model = model
        self._tile_maker = tile_maker
        self._folder = folder / weights_digest(model)
        with told(f"{folder} cannot be made"):
            self._folder.mkdir(parents=True, exist_ok=True)
        self.encoded = 0

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def encode(self, images: Mapping[str, PlannedImage]) -> None:
        """Make what is missing.

        Raises:
            MediaError: a picture cannot be decoded.
            JobError: the disk is full.
        """
        for name, image in images.items():
            if self._path(name).is_file():
                continue
            with torch.inference_mode():
                pixels = self._tile_maker.tiles(image)
                pooled = encode_tiles(self._model, [pixels], lambda: None).pooler_output
            data = save({"features": pooled.to("cpu").contiguous()})
            with told("The features of a picture cannot be kept"):
                write_whole(self._path(name), data)
            self.encoded += 1

    def read(self, name: str) -> torch.Tensor:
        """Return features, of shape (image tokens, hidden size of the text model).

        Raises:
            JobError: they are not there, or damaged.
        """
        try:
            return load(self._path(name).read_bytes())["features"]
        except Exception as error:  # the library raises what it likes
            raise JobError(
                f"The features of a picture cannot be read ({error}): remove {self._folder.parent} "
                "and resume the job."
            ) from error

    def forget_model(self) -> None:
        """Take tower and connector out of memory: nothing is encoded from now on."""
        inner = self._model.model
        gone = [*inner.vision_model.parameters(), *inner.connector.parameters()]
        inner.vision_model = torch.nn.Identity()
        inner.connector = torch.nn.Identity()
        let_go(gone)  # they are views of a mapping of the whole file


def weights_digest(model: Any) -> str:  # noqa: ANN401 - Idefics3 or SmolVLM
    """Return a digest of the weights of vision tower and connector, and of their dtype."""
    found = hashlib.sha256()
    for part in (model.model.vision_model, model.model.connector):
        for name, value in sorted(part.state_dict().items()):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
            found.update(memoryview(flat.numpy()))
    return found.hexdigest()[:32]
