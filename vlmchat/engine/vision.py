"""From pictures to image features: tiles as the library makes them, the tower in chunks.

Tiles stay 8-bit until the tower takes them, a few at a time: as float32 they would be four times
the memory, and fall out of the cache on the way.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlmchat.engine.cancelled import interruptible
from vlmchat.engine.pages import trim
from vlmchat.engine.pixels import Normalise, Processor, normaliser
from vlmchat.engine.prompt import PlannedImage
from vlmchat.engine.threads import threads
from vlmchat.engine.tower import Tower, is_plain, parts
from vlmchat.media.cutting import cut
from vlmchat.media.images import decode
from vlmchat.media.rules import Limits
from vlmchat.media.tiles import ProcessorSpec

TILES_AT_ONCE = 2
"""How many tiles are worth encoding together; more fall out of a CPU's cache."""


class TileMaker:
    """Cuts pictures into normalised tiles.

    Args:
        processor: of the model; its filter and its normalisation are taken over.
        spec: the same settings as plain values.
        limits: which pictures are refused.

    Attributes:
        settings: of the processor, those that decide the pixels' values.
    """

    def __init__(self, processor: Processor, spec: ProcessorSpec, limits: Limits) -> None:
        self._resample = int(processor.resample)
        names = ("resample", "do_rescale", "rescale_factor", "do_normalize")
        values = {name: float(getattr(processor, name)) for name in names}
        means = {name: list(getattr(processor, name)) for name in ("image_mean", "image_std")}
        self.settings: dict[str, Any] = {**values, **means}
        self.normalised = normaliser(processor)
        self._spec = spec
        self._limits = limits

    def tiles(self, image: PlannedImage) -> torch.Tensor:
        """Return the picture's tiles, float32 of shape (tiles, 3, side, side), global view last.

        Equal to what the library's processor makes of the same picture and grid.

        Raises:
            MediaError: the picture cannot be decoded.
        """
        return self.normalised(self.raw(image))

    def raw(self, image: PlannedImage) -> torch.Tensor:
        """Return what `tiles` does before it is normalised: uint8.

        Raises:
            MediaError: the picture cannot be decoded.
        """
        picture = decode(image.data, image.name, self._limits)
        side = image.plan.tile
        pixels = np.empty((image.plan.tiles, 3, side, side), np.uint8)

        def keep(index: int, tile: Image.Image) -> None:
            for channel, plane in enumerate(tile.split()):
                pixels[index, channel] = np.asarray(plane)

        cut(picture, image.plan, self._spec, self._resample, keep)
        return torch.from_numpy(pixels)


def encode_tiles(
    model: Any,  # noqa: ANN401 - Idefics3 or SmolVLM, which share no typed base
    pixels: Sequence[torch.Tensor],
    check: Callable[[], None],
    normalise: Normalise | None = None,
) -> BaseModelOutputWithPooling:
    """Run the vision tower and the connector.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation.
        pixels: one tensor a picture, as `TileMaker.tiles` gives.
        check: called every few hundredths of a second; it raises to stop the work.
        normalise: `TileMaker.normalised` where `pixels` are as `TileMaker.raw` gives them.

    Returns:
        An output whose ``pooler_output`` has shape (image tokens, hidden size of the text model),
        to be given to the model as ``mm_encoder_outputs``.
    """
    tiles = pixels[0] if len(pixels) == 1 else torch.cat(list(pixels))

    def look() -> None:
        check()
        threads.now()

    if is_plain(model) and not torch.is_grad_enabled():
        features = Tower(model).encode(tiles, look, normalise)
        trim()
    else:
        features = torch.cat(list(_library_features(model, tiles, look, normalise)))
    return BaseModelOutputWithPooling(pooler_output=features.flatten(0, -2))


def _library_features(
    model: Any,  # noqa: ANN401 - Idefics3 or SmolVLM
    tiles: torch.Tensor,
    check: Callable[[], None],
    normalise: Normalise | None,
) -> Iterator[torch.Tensor]:
    """Yield what the library's own modules make of tiles; they may be wrapped, or on a GPU."""
    for some in parts(tiles, TILES_AT_ONCE):
        floats = some if normalise is None else normalise(some)
        with interruptible(model.model.vision_model.encoder.layers, check):
            out = model.get_image_features(pixel_values=floats[None].to(model.device))
        pooled = out.pooler_output
        yield pooled if isinstance(pooled, torch.Tensor) else torch.cat(list(pooled))
