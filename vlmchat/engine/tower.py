"""The vision tower and the connector as a CPU runs them fast.

They compute what the library's modules do (SigLIP, arXiv:2303.15343, behind Idefics3's pixel
shuffle, arXiv:2408.12637), on the same weights, with what costs time left out: queries, keys and
values come of one matrix, the convolution over patches is a matrix product (patches do not
overlap), GELU is done by the product before it where torch has that, and sums are written over
their terms. Activations of many tiles fall out of a CPU's cache: `chunks` says how many go at once.

The tower is never quantized. Its weights stay the library's: where three matrices become one, the
library's three are parts of that one from then on, so that nothing is held twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everywhere

_AT_ONCE = 3  # tiles; more cost a third more each
# The two kinds of GELU that vision configurations name, as torch calls them.
_GELU = {"gelu": "none", "gelu_pytorch_tanh": "tanh"}
_PARTS = {nn.Linear, nn.Conv2d, nn.LayerNorm, nn.Embedding, nn.ModuleList}
_LIBRARY = ("transformers.models.", "transformers.activations", "torch.nn.modules.activation")


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one layer; widths are hidden (h) and inner (i)."""

    norm1: nn.LayerNorm
    qkv: torch.Tensor  # (3 · h, h)
    qkv_bias: torch.Tensor  # (3 · h,)
    out: nn.Linear  # (h, h)
    norm2: nn.LayerNorm
    fc1: nn.Linear  # (i, h)
    fc2: nn.Linear  # (h, i)


class Tower:
    """A model's vision tower and connector; made for one piece of work, as it costs nothing.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation, of which `is_plain` is true.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - two classes without a typed base
        inner = model.model
        vision, self._connector = inner.vision_model, inner.connector
        self._embeddings = vision.embeddings
        self._last_norm = vision.post_layernorm
        self._layers = [_layer(layer) for layer in vision.encoder.layers]
        self._heads = int(vision.config.num_attention_heads)
        self._gelu = _GELU[vision.config.hidden_act]

    def encode(self, pixels: torch.Tensor, check: Callable[[], None]) -> torch.Tensor:
        """Return the features of tiles.

        Args:
            pixels: normalised, of shape (tiles, 3, side, side) in the tower's dtype.
            check: called between layers; it raises to stop the work.

        Returns:
            Shape (tiles, tokens of a tile, hidden size of the text model).
        """
        hidden = self._embed(pixels)
        for layer in self._layers:
            check()
            self._attend(layer, hidden)
            self._feed_forward(layer, hidden)
        return self._connect(_normed(self._last_norm, hidden))

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return patches with their places: (tiles, patches, hidden)."""
        convolution, size = self._embeddings.patch_embedding, self._embeddings.patch_size
        count, channels, height, width = pixels.shape
        rows, cols = height // size, width // size
        patches = pixels.view(count, channels, rows, size, cols, size)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(count, rows * cols, -1)
        embedded = F.linear(patches, convolution.weight.flatten(1), convolution.bias)
        places = positions(rows, cols, self._embeddings.num_patches_per_side)
        embedded += self._embeddings.position_embedding(places.to(embedded.device))
        return embedded

    def _attend(self, layer: _Layer, hidden: torch.Tensor) -> None:
        """Add to `hidden`, of shape (tiles, patches, hidden), what its patches see in others."""
        count, patches, width = hidden.shape
        together = F.linear(_normed(layer.norm1, hidden), layer.qkv, layer.qkv_bias)
        together = together.view(count, patches, 3, self._heads, width // self._heads)
        queries, keys, values = together.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(queries, keys, values)
        hidden += layer.out(seen.transpose(1, 2).reshape(count, patches, width))

    def _feed_forward(self, layer: _Layer, hidden: torch.Tensor) -> None:
        """Add to `hidden` what the two wide matrices make of it."""
        inner = _linear_gelu(_normed(layer.norm2, hidden), layer.fc1, self._gelu)
        hidden += layer.fc2(inner)

    def _connect(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return squares of patches, each as one vector, brought to the text model's width."""
        count, patches, width = hidden.shape
        scale, side = int(self._connector.scale_factor), round(patches**0.5)
        small = side // scale
        squares = hidden.view(count, small, scale, small, scale, width)
        squares = squares.permute(0, 1, 3, 2, 4, 5).reshape(count, small * small, -1)
        projected: torch.Tensor = self._connector.modality_projection.proj(squares)
        return projected


def chunks(pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the tiles (tiles, …) in as few equal parts as a CPU's cache is good for."""
    parts = -(-len(pixels) // _AT_ONCE)
    yield from torch.tensor_split(pixels, parts)


def is_plain(model: Any) -> bool:  # noqa: ANN401 - two classes without a typed base
    """Return whether `Tower` computes what this model's own tower and connector do.

    It does not where layers were put in (adapters), where weights are quantized or on a GPU, and
    where the configuration names what it does not know.
    """
    inner = model.model
    vision, connector = inner.vision_model, inner.connector
    known = getattr(vision.config, "hidden_act", None) in _GELU
    modules = [*vision.modules(), *connector.modules()]
    return (
        known
        and model.device.type == "cpu"
        and model.dtype in (torch.float32, torch.bfloat16)
        and all(_is_plain(module, model.dtype) for module in modules)
    )


def _is_plain(module: nn.Module, dtype: torch.dtype) -> bool:
    """Return whether a module of the tower is as the libraries define it, without additions."""
    kind = type(module)
    known = kind in _PARTS or kind.__module__.startswith(_LIBRARY)
    hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    own = module.parameters(recurse=False)
    return known and not hooked and not module.training and all(it.dtype == dtype for it in own)


def _layer(layer: Any) -> _Layer:  # noqa: ANN401 - two classes without a typed base
    attention = layer.self_attn
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    return _Layer(
        norm1=layer.layer_norm1,
        qkv=joined([projection.weight for projection in projections]),
        qkv_bias=joined([projection.bias for projection in projections]),
        out=attention.out_proj,
        norm2=layer.layer_norm2,
        fc1=layer.mlp.fc1,
        fc2=layer.mlp.fc2,
    )


def joined(parameters: list[nn.Parameter]) -> torch.Tensor:
    """Return parameters one below the other, as one tensor of which they are parts from then on."""
    first = parameters[0]
    size = first.numel()
    together = all(
        part.is_contiguous()
        and part.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and part.storage_offset() == first.storage_offset() + number * size
        for number, part in enumerate(parameters)
    )
    shape = (len(first) * len(parameters), *first.shape[1:])
    if together:  # by an earlier call, for this model or another view of it
        return first.detach().as_strided(shape, first.stride(), first.storage_offset())
    with torch.inference_mode(mode=False), torch.no_grad():  # parameters stay ordinary ones
        whole = torch.cat([part.detach() for part in parameters])
        for part, place in zip(parameters, torch.split(whole, len(first)), strict=True):
            part.data = place
    return whole


def positions(rows: int, cols: int, side: int) -> torch.Tensor:
    """Return which learned place each patch of a whole tile has, of shape (rows · cols,).

    The library finds them by fractions of the picture, in float32; so do we, as the rounding of
    these fractions decides.

    Args:
        rows: of patches.
        cols: of patches.
        side: learned places in a row.
    """
    borders = torch.arange(1 / side, 1.0, 1 / side)

    def along(count: int) -> torch.Tensor:
        fractions = torch.arange(count, dtype=torch.float32) * (1.0 / torch.tensor(count))
        return torch.bucketize(fractions.clamp(max=1.0 - 1e-6), borders, right=True)

    return (along(rows)[:, None] * side + along(cols)).flatten()


def _normed(norm: nn.LayerNorm, hidden: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(hidden, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _fused_gelu() -> Any:  # noqa: ANN401 - an operator without a type
    """Return oneDNN's product with an operation at its end, or ``None`` where torch lacks it."""
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    try:
        product = torch.ops.mkldnn._linear_pointwise.default
        product(one, one, one[0], "gelu", [], "tanh")
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    return product


_fused = _fused_gelu()


def _linear_gelu(hidden: torch.Tensor, linear: nn.Linear, kind: str) -> torch.Tensor:
    """Return GELU of `linear` of `hidden`; `kind` is ``none`` (exact) or ``tanh``."""
    if _fused is not None and hidden.dtype == torch.bfloat16:
        result: torch.Tensor = _fused(hidden, linear.weight, linear.bias, "gelu", [], kind)
        return result
    return F.gelu(linear(hidden), approximate=kind)
