"""How a model wants its pixels: the settings of its image processor, without the library's class.

That class takes seconds to import. What is computed here is the arithmetic that it computes, by
the functions that it calls.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from transformers.image_transforms import normalize, rescale
from transformers.image_utils import ChannelDimension

Normalise: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Makes float32 pixels of uint8 ones, of shape (tiles, 3, height, width)."""

_FIRST = ChannelDimension.FIRST


class Processor(Protocol):
    """What of an image processor is needed; the library's with the PIL backend have it, too.

    Attributes:
        resample: a filter of Pillow's.
        do_rescale: whether values are multiplied by `rescale_factor`.
        rescale_factor: 1/255, usually.
        do_normalize: whether `image_mean` is subtracted then, and `image_std` divided by.
        image_mean: of each channel.
        image_std: likewise.
    """

    resample: Any
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: Sequence[float]
    image_std: Sequence[float]

    def rescale(self, image: Any, scale: float) -> Any:  # noqa: ANN401 - the library says no types
        """Return values, (channels, height, width), times `scale`."""

    def normalize(self, image: Any, mean: Any, std: Any) -> Any:  # noqa: ANN401
        """Return values, (channels, height, width), less `mean` and divided by `std`."""


@dataclass(slots=True)
class PixelSettings:
    """A `Processor` of a ``preprocessor_config.json``; what that omits is as the library has it."""

    resample: int = 1  # Lanczos
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: Sequence[float] = (0.5, 0.5, 0.5)
    image_std: Sequence[float] = (0.5, 0.5, 0.5)

    @classmethod
    def of(cls, preprocessor: Mapping[str, Any]) -> "PixelSettings":
        """Return the settings in what ``preprocessor_config.json`` holds."""
        given = {name: preprocessor.get(name) for name in cls.__slots__}
        return cls(**{name: value for name, value in given.items() if value is not None})

    def rescale(self, image: np.ndarray[Any, Any], scale: float) -> np.ndarray[Any, Any]:
        """See `Processor`."""
        values: np.ndarray[Any, Any] = rescale(
            image, scale, data_format=_FIRST, input_data_format=_FIRST
        )
        return values

    def normalize(
        self, image: np.ndarray[Any, Any], mean: Sequence[float], std: Sequence[float]
    ) -> np.ndarray[Any, Any]:
        """See `Processor`."""
        values: np.ndarray[Any, Any] = normalize(
            image, mean, std, data_format=_FIRST, input_data_format=_FIRST
        )
        return values


def normaliser(processor: Processor) -> Normalise:
    """Return what normalises pixels of 8 bits as the library's processor does.

    There are 256 values, so that the library's own arithmetic is done once for each, and no other
    rounding can slip in. Where a plain formula gives these very numbers, it is taken instead of
    the table, because it is faster.
    """
    levels = np.tile(np.arange(256, dtype=np.uint8), (3, 1, 1))
    values: np.ndarray[Any, Any] = levels.astype(np.float32)
    if processor.do_rescale:
        values = processor.rescale(levels, processor.rescale_factor)
    if processor.do_normalize:
        values = processor.normalize(values, processor.image_mean, processor.image_std)
    table = torch.from_numpy(np.ascontiguousarray(values[:, 0].astype(np.float32)))

    def centred(pixels: torch.Tensor) -> torch.Tensor:
        floats = pixels.float().div_(255).sub_(0.5)
        return floats.add_(floats)

    def looked_up(pixels: torch.Tensor) -> torch.Tensor:
        planes = [table[channel][pixels[:, channel].int()] for channel in range(3)]
        return torch.stack(planes, dim=1)

    tried = centred(torch.from_numpy(levels)[None])[0, :, 0]
    return centred if torch.equal(tried, table) else looked_up
