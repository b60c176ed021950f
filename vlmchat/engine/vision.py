"""From pictures to image features: tiles by the library's processor, the tower in chunks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlmchat.engine.prompt import PlannedImage
from vlmchat.media.images import decode
from vlmchat.media.rules import Limits
from vlmchat.media.tiles import ProcessorSpec, TilePlan, default_grid

# Activations of more tiles than this fall out of a CPU's cache and cost a third more each.
_TILES_AT_ONCE = 2


class TileMaker:
    """Cuts pictures into normalised tiles.

    Args:
        processor: ``SmolVLMImageProcessorPil`` or ``Idefics3ImageProcessorPil`` of the model.
        spec: the same settings as plain values.
        limits: which pictures are refused.
    """

    def __init__(self, processor: Any, spec: ProcessorSpec, limits: Limits) -> None:  # noqa: ANN401
        self._processor = processor
        self._spec = spec
        self._limits = limits

    def tiles(self, image: PlannedImage) -> torch.Tensor:
        """Return the picture's tiles, float32 of shape (tiles, 3, side, side), global view last.

        Raises:
            MediaError: the picture cannot be decoded.
        """
        picture = decode(image.data, image.name, self._limits)
        options = self._options(image.plan, picture.width, picture.height)
        batch = self._processor(images=[[picture]], return_tensors="pt", **options)
        pixels: torch.Tensor = batch["pixel_values"][0]
        assert pixels.shape[0] == image.plan.tiles, (pixels.shape, image.plan)
        return pixels

    def _options(self, plan: TilePlan, width: int, height: int) -> dict[str, Any]:
        """Return what to tell the processor so that it cuts as `plan` says."""
        if not plan.rows:
            return {"do_image_splitting": False}
        if (plan.rows, plan.cols) == default_grid(width, height, self._spec):
            return {"do_image_splitting": True}
        size = {"height": plan.rows * plan.tile, "width": plan.cols * plan.tile}
        return {"do_image_splitting": True, "size": size}


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
    for chunk in torch.split(torch.cat(list(pixels)), _TILES_AT_ONCE):
        check()
        pooled = model.get_image_features(pixel_values=chunk[None].to(model.device)).pooler_output
        features += [pooled] if isinstance(pooled, torch.Tensor) else pooled
    return BaseModelOutputWithPooling(
        pooler_output=torch.cat([item.reshape(-1, item.shape[-1]) for item in features])
    )
