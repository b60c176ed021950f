"""The vision tower and the connector as a CPU runs them fast.

They compute what the library's modules do (SigLIP, arXiv:2303.15343, behind Idefics3's pixel
shuffle, arXiv:2408.12637), on the same weights, with what costs time left out: queries, keys and
values come of one matrix, the convolution over patches is a matrix product (patches do not
overlap), GELU is done by the product before it where torch has that, and sums are written over
their terms.

Tiles go through a layer a few at a time, as the activations of many fall out of the cache; the
layer's weights are read, and converted where the processor multiplies other numbers faster, once
for all of them. The tower is never quantized. Its weights stay the library's: views of a mapping of
the file, whose pages are given back behind each layer, as nobody looks at them before the next
picture. Where they are converted, one layer at a time is; where they are not and three matrices
become one, the library's three are parts of that one from then on. So nothing is held twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everywhere

from vlmchat.engine.pages import let_go
from vlmchat.engine.products import add_product, product, product_dtype, product_gelu

# Tiles. In float32 the activations of one fill as much memory as those of two in bfloat16.
_AT_ONCE = {torch.float32: 1, torch.bfloat16: 2}
_TOGETHER = 16  # tiles whose activations are held: 50 MB
# The two kinds of GELU that vision configurations name, as torch calls them.
_GELU = {"gelu": "none", "gelu_pytorch_tanh": "tanh"}
_PARTS = {nn.Linear, nn.Conv2d, nn.LayerNorm, nn.Embedding, nn.ModuleList}
_KNOWN = (
    "transformers.models.", "transformers.activations", "torch.nn.modules.activation",
    "torch.nn.modules.module", "vlmchat.engine.bare",
)  # fmt: skip

Prepare: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Affine:
    """A matrix and what is added; or the scales of a norm and what is added."""

    weight: torch.Tensor
    bias: torch.Tensor

    def to(self, dtype: torch.dtype) -> "_Affine":
        return _Affine(self.weight.to(dtype), self.bias.to(dtype))


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one layer as they are computed with; widths are hidden (h) and inner (i)."""

    norm1: _Affine  # (h,)
    qkv: _Affine  # (3 · h, h)
    out: _Affine  # (h, h)
    norm2: _Affine  # (h,)
    fc1: _Affine  # (i, h)
    fc2: _Affine  # (h, i)

    @classmethod
    def of(cls, tensors: Iterable[torch.Tensor]) -> "_Layer":
        """Return the layer whose `tensors` these are."""
        given = iter(tensors)
        return cls(*map(_Affine, given, given))

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yield them, the weight before the bias."""
        for affine in (getattr(self, name) for name in self.__slots__):
            yield from (affine.weight, affine.bias)


class Tower:
    """A model's vision tower and connector; made for one piece of work, as it costs nothing.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation, of which `is_plain` is true.
        dtype: to compute in; by default what this processor multiplies fast.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - two classes without a typed base
        dtype: torch.dtype | None = None,
    ) -> None:
        inner = model.model
        vision, self._connector = inner.vision_model, inner.connector
        self._embeddings = vision.embeddings
        self._last_norm = _affine(vision.post_layernorm)
        self._layers = list(vision.encoder.layers)
        self._heads = int(vision.config.num_attention_heads)
        self._eps = float(vision.config.layer_norm_eps)
        self._gelu = _GELU[vision.config.hidden_act]
        self._stored = model.dtype
        # What is stored in float32 is meant to be exact.
        fast = product_dtype() if model.dtype == torch.bfloat16 else torch.float32
        self._dtype = dtype or fast
        self._room: _Layer | None = None

    def encode(
        self, pixels: torch.Tensor, check: Callable[[], None], prepare: Prepare | None = None
    ) -> torch.Tensor:
        """Return the features of tiles.

        Args:
            pixels: of shape (tiles, 3, side, side).
            check: called every few hundredths of a second; it raises to stop the work.
            prepare: makes of some of the pixels what the tower was trained on.

        Returns:
            Shape (tiles, tokens of a tile, hidden size of the text model), in the model's dtype.
        """
        groups = parts(pixels, _TOGETHER)
        return torch.cat(
            [found for group in groups for found in self._group(group, check, prepare)]
        )

    def _group(
        self, pixels: torch.Tensor, check: Callable[[], None], prepare: Prepare | None
    ) -> list[torch.Tensor]:
        """Return the features of tiles, a tensor each few of them."""
        patches, width = _conv(self._embeddings.patch_embedding, self._dtype), self._dtype
        hidden = []
        for some in parts(pixels, _AT_ONCE[self._dtype]):
            check()
            hidden.append(self._embed(some if prepare is None else prepare(some), patches))
        for stored in self._layers:
            layer = self._computed(stored)
            for some in hidden:
                check()
                self._attend(layer, some)
                check()
                self._feed_forward(layer, some)
            if len(hidden) > 1:  # looking for them takes a millisecond
                let_go(stored.parameters())
        if len(hidden) == 1:
            let_go(it for stored in self._layers for it in stored.parameters())
        norm = self._last_norm.to(width)
        projection = self._connector.modality_projection.proj.weight.to(width)
        return [self._connect(self._normed(norm, some), projection) for some in hidden]

    def _computed(self, layer: Any) -> _Layer:  # noqa: ANN401 - a class without types
        """Return a layer in the numbers that are computed with, until the next one is asked for.

        Each that is converted takes the place of the one before: allocated anew, they would fill
        ten times the memory with holes.
        """
        groups = list(_weights(layer))
        if self._dtype == self._stored:
            return _Layer.of(map(joined, groups))
        if self._room is None:
            self._room = _Layer.of(
                weight.new_empty((count * len(weight), *weight.shape[1:]), dtype=self._dtype)
                for weight, count in ((group[0], len(group)) for group in groups)
            )
        for place, group in zip(self._room.tensors(), groups, strict=True):
            for rows, weight in zip(place.chunk(len(group)), group, strict=True):
                rows.copy_(weight)
        return self._room

    def _embed(self, pixels: torch.Tensor, convolution: _Affine) -> torch.Tensor:
        """Return patches with their places: (tiles, patches, hidden)."""
        size, side = self._embeddings.patch_size, self._embeddings.num_patches_per_side
        count, channels, height, width = pixels.shape
        rows, cols = height // size, width // size
        # Rounded as the library rounds them, to the model's numbers.
        patches = pixels.to(self._stored).view(count, channels, rows, size, cols, size)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(count, rows * cols, -1)
        embedded = F.linear(patches.to(self._dtype), convolution.weight, convolution.bias)
        places = self._embeddings.position_embedding.weight[positions(rows, cols, side)]
        embedded += places
        return embedded

    def _attend(self, layer: _Layer, hidden: torch.Tensor) -> None:
        """Add to `hidden`, of shape (tiles, patches, hidden), what its patches see in others."""
        count, patches, width = hidden.shape
        together = product(self._normed(layer.norm1, hidden), layer.qkv.weight, layer.qkv.bias)
        together = together.view(count, patches, 3, self._heads, width // self._heads)
        queries, keys, values = together.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(queries, keys, values)
        seen = seen.transpose(1, 2).reshape(count, patches, width)
        add_product(hidden, seen, layer.out.weight, layer.out.bias)

    def _feed_forward(self, layer: _Layer, hidden: torch.Tensor) -> None:
        """Add to `hidden` what the two wide matrices make of it."""
        normed = self._normed(layer.norm2, hidden)
        inner = product_gelu(normed, layer.fc1.weight, layer.fc1.bias, self._gelu)
        add_product(hidden, inner, layer.fc2.weight, layer.fc2.bias)

    def _connect(self, hidden: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
        """Return squares of patches, each as one vector, brought to the text model's width."""
        count, patches, width = hidden.shape
        scale, side = int(self._connector.scale_factor), round(patches**0.5)
        small = side // scale
        squares = hidden.view(count, small, scale, small, scale, width)
        squares = squares.permute(0, 1, 3, 2, 4, 5).reshape(count, small * small, -1)
        return F.linear(squares, projection).to(self._stored)

    def _normed(self, norm: _Affine, hidden: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(hidden, norm.weight.shape, norm.weight, norm.bias, self._eps)


def parts(pixels: torch.Tensor, most: int) -> Iterator[torch.Tensor]:
    """Yield tiles, of shape (tiles, …), in as few equal parts as hold at most so many."""
    yield from torch.tensor_split(pixels, -(-len(pixels) // most))


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
    known = kind in _PARTS or kind.__module__.startswith(_KNOWN)
    hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    own = module.parameters(recurse=False)
    return known and not hooked and not module.training and all(it.dtype == dtype for it in own)


def _weights(layer: Any) -> Iterator[list[torch.Tensor]]:  # noqa: ANN401 - a class without types
    """Yield a layer's weights in the order of `_Layer`, those together that become one."""
    attention = layer.self_attn
    together = [attention.q_proj, attention.k_proj, attention.v_proj]
    rest = [attention.out_proj], [layer.layer_norm2], [layer.mlp.fc1], [layer.mlp.fc2]
    for modules in ([layer.layer_norm1], together, *rest):
        yield [module.weight for module in modules]
        yield [module.bias for module in modules]


def _affine(module: Any) -> _Affine:  # noqa: ANN401 - what has a weight and a bias
    return _Affine(module.weight.detach(), module.bias.detach())


def _conv(module: nn.Conv2d, dtype: torch.dtype) -> _Affine:
    """Return a convolution whose windows do not overlap, as a matrix for flat windows."""
    assert module.bias is not None
    return _Affine(module.weight.detach().flatten(1).to(dtype), module.bias.detach().to(dtype))


def joined(parameters: Sequence[torch.Tensor]) -> torch.Tensor:
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
        let_go(parameters)
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
    borders = torch.arange(1 / side, 1.0, 1 / side, dtype=torch.float32)

    def along(count: int) -> torch.Tensor:
        fractions = torch.arange(count, dtype=torch.float32) * (1.0 / torch.tensor(count))
        return torch.bucketize(fractions.clamp(max=1.0 - 1e-6), borders, right=True)

    return (along(rows)[:, None] * side + along(cols)).flatten()
