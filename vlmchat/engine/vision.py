"""From pictures to image features: tiles as the library makes them, the tower in chunks."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlmchat.engine.prompt import PlannedImage
from vlmchat.media.cutting import cut
from vlmchat.media.images import decode
from vlmchat.media.rules import Limits
from vlmchat.media.tiles import ProcessorSpec

# Activations of more tiles than this fall out of a CPU's cache and cost a third more each.
TILES_AT_ONCE = 2


class TileMaker:
    """Cuts pictures into normalised tiles.

    Args:
        processor: ``SmolVLMImageProcessorPil`` or ``Idefics3ImageProcessorPil`` of the model; its
            filter and its normalisation are taken over.
        spec: the same settings as plain values.
        limits: which pictures are refused.

    Attributes:
        settings: of the processor, those that decide the pixels' values.
    """

    def __init__(self, processor: Any, spec: ProcessorSpec, limits: Limits) -> None:  # noqa: ANN401
        self._resample = int(processor.resample)
        names = ("resample", "do_rescale", "rescale_factor", "do_normalize")
        values = {name: float(getattr(processor, name)) for name in names}
        means = {name: list(getattr(processor, name)) for name in ("image_mean", "image_std")}
        self.settings: dict[str, Any] = {**values, **means}
        self._normalised = normaliser(processor)
        self._spec = spec
        self._limits = limits

    def tiles(self, image: PlannedImage) -> torch.Tensor:
        """Return the picture's tiles, float32 of shape (tiles, 3, side, side), global view last.

        Equal to what the library's processor makes of the same picture and grid.

        Raises:
            MediaError: the picture cannot be decoded.
        """
        picture = decode(image.data, image.name, self._limits)
        side = image.plan.tile
        pixels = np.empty((image.plan.tiles, 3, side, side), np.float32)

        def keep(index: int, tile: Image.Image) -> None:
            for channel, plane in enumerate(tile.split()):
                self._normalised(channel, np.asarray(plane), pixels[index, channel])

        cut(picture, image.plan, self._spec, self._resample, keep)
        return torch.from_numpy(pixels)


_Values: TypeAlias = np.ndarray[Any, Any]


def normaliser(processor: Any) -> Callable[[int, _Values, _Values], None]:  # noqa: ANN401
    """Return what writes a channel's normalised pixels: of 8 bits in, float32 out.

    There are 256 values, so that the library's own arithmetic is done once for each, and no other
    rounding can slip in. Where a plain formula gives these very numbers, it is taken instead of
    the table, because it is faster.
    """
    levels = np.tile(np.arange(256, dtype=np.uint8), (3, 1, 1))
    table: _Values = levels.astype(np.float32)
    if processor.do_rescale:
        table = processor.rescale(levels, processor.rescale_factor)
    if processor.do_normalize:
        table = processor.normalize(table, processor.image_mean, processor.image_std)
    table = np.ascontiguousarray(table[:, 0].astype(np.float32))

    def centred(channel: int, values: _Values, out: _Values) -> None:
        np.divide(values, np.float32(255), out=out, dtype=np.float32)
        np.subtract(out, np.float32(0.5), out=out)
        np.add(out, out, out=out)

    def looked_up(channel: int, values: _Values, out: _Values) -> None:
        np.take(table[channel], values, out=out, mode="clip")

    tried = np.empty((3, 1, 256), np.float32)
    for channel in range(3):
        centred(channel, levels[channel], tried[channel])
    return centred if np.array_equal(tried[:, 0], table) else looked_up


def encode_tiles(
    model: Any,  # noqa: ANN401 - Idefics3 or SmolVLM, which share no typed base
    pixels: Sequence[torch.Tensor],
    check: Callable[[], None],
) -> BaseModelOutputWithPooling:
    """Run the vision tower and the connector.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation.
        pixels: one tensor a picture, as `TileMaker.tiles` gives.
        check: called between chunks; it raises to stop the work.

    Returns:
        An output whose ``pooler_output`` has shape (image tokens, hidden size of the text model),
        to be given to the model as ``mm_encoder_outputs``.
    """
    features: list[torch.Tensor] = []
    for chunk in torch.split(torch.cat(list(pixels)), TILES_AT_ONCE):
        check()
        pooled = model.get_image_features(pixel_values=chunk[None].to(model.device)).pooler_output
        features += [pooled] if isinstance(pooled, torch.Tensor) else pooled
    return BaseModelOutputWithPooling(
        pooler_output=torch.cat([item.reshape(-1, item.shape[-1]) for item in features])
    )
