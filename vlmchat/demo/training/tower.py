"""The vision tower and connector that are trained, and their weights under the library's names.

The maths are those of ``SmolVLMVisionTransformer`` and ``SmolVLMConnector``: SigLIP
(arXiv:2303.15343) with Idefics3's pixel shuffle (arXiv:2408.12637). Queries, keys and values come
of one matrix, and the convolution over patches is a product, as patches do not overlap.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everywhere

_VISION = "model.vision_model."
_PROJECTION = "model.connector.modality_projection.proj.weight"
_EPS = 1e-6
# The slowest of the waves that tell places apart turns once in about so many patches.
_LONGEST_WAVE = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a tower is.

    Attributes:
        side: of the pictures, pixels.
        patch: side of a patch, pixels.
        hidden: width of the tower.
        layers: how many.
        heads: of each attention.
        inner: width between the two matrices of a feed-forward part.
        scale: so many patches a side become one image token.
        width: of the text model's embedding.
    """

    side: int = 240
    patch: int = 16
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    inner: int = 1024
    scale: int = 3
    width: int = 576

    @property
    def grid(self) -> int:
        """Patches in a row."""
        return self.side // self.patch

    @property
    def tokens(self) -> int:
        """Image tokens of a picture."""
        return (self.grid // self.scale) ** 2

    @classmethod
    def of_config(cls, config: dict[str, Any]) -> "Shape":
        """Return the shape that a SmolVLM's ``config.json`` names."""
        vision = config["vision_config"]
        return cls(
            side=int(vision["image_size"]),
            patch=int(vision["patch_size"]),
            hidden=int(vision["hidden_size"]),
            layers=int(vision["num_hidden_layers"]),
            heads=int(vision["num_attention_heads"]),
            inner=int(vision["intermediate_size"]),
            scale=int(config["scale_factor"]),
            width=int(config["text_config"]["hidden_size"]),
        )


def positions(side: int) -> torch.Tensor:
    """Return which learned place each patch of a whole picture has, shape (side · side,), int64.

    The library finds them by fractions of the picture in float32 (``SmolVLMVisionEmbeddings``), and
    so do we, as the rounding of these fractions decides.

    Args:
        side: patches in a row.
    """
    borders = torch.arange(1 / side, 1.0, 1 / side)
    fractions = torch.arange(side, dtype=torch.float32) * (1.0 / torch.tensor(side))
    along = torch.bucketize(fractions.clamp(max=1.0 - 1e-6), borders, right=True)
    return (along[:, None] * side + along).flatten()


def loud_places(grid: int, hidden: int) -> torch.Tensor:
    """Return sines and cosines of rows and columns, shape (grid · grid, hidden), float32.

    They are as loud as what is in the patches: with the usual standard deviation of 0.02 the image
    tokens cannot be told apart, and training stays at a bag of words.
    """
    quarter = hidden // 4
    waves = 1.0 / _LONGEST_WAVE ** (torch.arange(quarter) / quarter)
    angles = torch.arange(grid)[:, None] * waves
    along = torch.cat([angles.sin(), angles.cos()], 1)
    rows = along[:, None].expand(grid, grid, -1)
    columns = along[None].expand(grid, grid, -1)
    return torch.cat([rows, columns], -1).reshape(grid * grid, hidden)


def _attended(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return what patches see in others; all of shape (pictures, heads, patches, width of a head).

    On a processor the products one by one, compiled, train in two thirds of the time that torch's
    own operator takes.
    """
    if queries.is_cuda:
        return F.scaled_dot_product_attention(queries, keys, values)
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.mT
    seen: torch.Tensor = scores.softmax(-1) @ values
    return seen


def gelu(inner: torch.Tensor) -> torch.Tensor:
    """Return ``gelu(inner, approximate="tanh")``, by a sigmoid, as (1 + tanh x) / 2 = σ(2 x).

    A processor computes ``tanh`` four times as slowly as the exponential that this takes.
    """
    return inner * torch.sigmoid(inner * (1.5957691216057308 + 0.0713548162726009 * inner.square()))


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden = shape.hidden
        self.heads = shape.heads
        self.norm1 = nn.LayerNorm(hidden, eps=_EPS)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=_EPS)
        self.fc1 = nn.Linear(hidden, shape.inner)
        self.fc2 = nn.Linear(shape.inner, hidden)
        for linear in (self.qkv, self.fc1):
            nn.init.normal_(linear.weight, std=0.96 / math.sqrt(hidden))
        # What is added begins small, so that the layers do not drown the patches (GPT-2).
        for linear in (self.out, self.fc2):
            nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * shape.layers))
        for linear in (self.qkv, self.fc1, self.out, self.fc2):
            nn.init.zeros_(linear.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the layer makes of patches, both of shape (pictures, patches, hidden)."""
        count, patches, width = hidden.shape
        together = self.qkv(self.norm1(hidden)).view(count, patches, 3, self.heads, -1)
        queries, keys, values = together.permute(2, 0, 3, 1, 4).unbind(0)
        seen = _attended(queries, keys, values)
        hidden = hidden + self.out(seen.transpose(1, 2).reshape(count, patches, width))
        inner = gelu(self.fc1(self.norm2(hidden)))
        added: torch.Tensor = self.fc2(inner)
        return hidden + added


class Tower(nn.Module):
    """The tower and the connector.

    Args:
        shape: how large.
        classes: outputs of a layer beside, which asks patches in training; 0 without one.

    Attributes:
        aside: that layer; no part of what is exported.
    """

    order: torch.Tensor

    def __init__(self, shape: Shape, classes: int = 0) -> None:
        super().__init__()
        self.shape = shape
        flat = 3 * shape.patch**2
        self.patch = nn.Linear(flat, shape.hidden)
        nn.init.normal_(self.patch.weight, std=0.42 / math.sqrt(flat))
        nn.init.zeros_(self.patch.bias)
        self.places = nn.Parameter(loud_places(shape.grid, shape.hidden))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.hidden, eps=_EPS)
        joined = shape.hidden * shape.scale**2
        self.projection = nn.Linear(joined, shape.width, bias=False)
        nn.init.normal_(self.projection.weight, std=0.1 / math.sqrt(joined))
        self.register_buffer("order", positions(shape.grid), persistent=False)
        # Last, as when it is put there later: the gradients' norm is a sum in this order.
        self.aside = nn.Linear(shape.hidden, classes) if classes else None

    def patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels cut into patches.

        Args:
            pixels: (pictures, side, side, 3), uint8, red, green, blue.

        Returns:
            (pictures, patches, 3 · patch · patch), uint8; colours outermost, as in the library's
            convolution.
        """
        grid, size = self.shape.grid, self.shape.patch
        cut = pixels.view(-1, grid, size, grid, size, 3).permute(0, 1, 3, 5, 2, 4)
        return cut.reshape(-1, grid * grid, 3 * size * size)

    def forward(
        self,
        pixels: torch.Tensor,
        gain: torch.Tensor | None = None,
        lift: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the image tokens of pictures.

        Args:
            pixels: (pictures, side, side, 3), uint8.
            gain: (pictures, 1, 1), what the contrast is multiplied with; with `lift` or not at all.
            lift: (pictures, 1, 1), what is added to the brightness, which goes from -1 to 1.

        Returns:
            (pictures, tokens, width of the text model).
        """
        return self._tokens(self._through(self._begun(pixels, gain, lift), 0))

    def asked(
        self,
        pixels: torch.Tensor,
        gain: torch.Tensor | None,
        lift: torch.Tensor | None,
        layers: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image tokens, and what patches say after some layers.

        Args:
            pixels: as of `forward`.
            gain: the same.
            lift: the same.
            layers: after so many.

        Returns:
            The tokens, and (pictures, patches, classes).
        """
        assert self.aside is not None
        hidden = self._through(self._begun(pixels, gain, lift), 0, layers)
        said: torch.Tensor = self.aside(F.layer_norm(hidden, hidden.shape[-1:]))
        return self._tokens(self._through(hidden, layers)), said

    def _begun(
        self, pixels: torch.Tensor, gain: torch.Tensor | None, lift: torch.Tensor | None
    ) -> torch.Tensor:
        flat = self.patches(pixels).to(self.places.dtype) / 127.5 - 1.0
        if gain is not None and lift is not None:
            flat = (flat * gain + lift).clamp(-1.0, 1.0)
        hidden: torch.Tensor = self.patch(flat) + self.places[self.order]
        return hidden

    def _through(self, hidden: torch.Tensor, first: int, end: int | None = None) -> torch.Tensor:
        for block in self.blocks[first:end]:
            hidden = block(hidden)
        return hidden

    def _tokens(self, hidden: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.projection(self.squares(self.norm(hidden)))
        return tokens

    def squares(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return squares of patches as one vector each: (pictures, tokens, scale² · hidden).

        Inside a vector the rows of the square are outermost, as the library's pixel shuffle has it.
        """
        grid, scale = self.shape.grid, self.shape.scale
        small = grid // scale
        parts = hidden.view(-1, small, scale, small, scale, self.shape.hidden)
        return parts.transpose(2, 3).reshape(-1, small * small, scale * scale * self.shape.hidden)


def _names(shape: Shape) -> Iterator[tuple[str, str]]:
    """Yield the library's names and ours of everything that is stored under one name in both."""
    yield f"{_VISION}embeddings.patch_embedding.bias", "patch.bias"
    yield f"{_VISION}embeddings.position_embedding.weight", "places"
    yield _PROJECTION, "projection.weight"
    pairs = {
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
        "self_attn.out_proj": "out",
        "mlp.fc1": "fc1",
        "mlp.fc2": "fc2",
    }
    for kind in ("weight", "bias"):
        yield f"{_VISION}post_layernorm.{kind}", f"norm.{kind}"
        for number in range(shape.layers):
            for theirs, ours in pairs.items():
                place = f"{_VISION}encoder.layers.{number}.{theirs}.{kind}"
                yield place, f"blocks.{number}.{ours}.{kind}"


def to_library(tower: Tower) -> dict[str, torch.Tensor]:
    """Return a tower's weights under the library's names, in their own dtype."""
    own = tower.state_dict()
    size = tower.shape.patch
    found = {theirs: own[ours] for theirs, ours in _names(tower.shape)}
    kernel = own["patch.weight"].view(-1, 3, size, size)
    found[f"{_VISION}embeddings.patch_embedding.weight"] = kernel
    for number in range(tower.shape.layers):
        for kind in ("weight", "bias"):
            thirds = own[f"blocks.{number}.qkv.{kind}"].chunk(3)
            for name, part in zip("qkv", thirds, strict=True):
                place = f"{_VISION}encoder.layers.{number}.self_attn.{name}_proj.{kind}"
                found[place] = part
    return {name: tensor.detach().contiguous() for name, tensor in found.items()}


def from_library(shape: Shape, weights: dict[str, torch.Tensor]) -> Tower:
    """Return the tower whose weights stand under the library's names, in float32.

    Raises:
        KeyError: a weight is missing.
        RuntimeError: the weights are of another shape.
    """
    own = {ours: weights[theirs] for theirs, ours in _names(shape)}
    own["patch.weight"] = weights[f"{_VISION}embeddings.patch_embedding.weight"].flatten(1)
    for number in range(shape.layers):
        place = f"{_VISION}encoder.layers.{number}.self_attn."
        for kind in ("weight", "bias"):
            thirds = [weights[f"{place}{name}_proj.{kind}"] for name in "qkv"]
            own[f"blocks.{number}.qkv.{kind}"] = torch.cat(thirds)
    tower = Tower(shape)
    tower.load_state_dict({name: tensor.float() for name, tensor in own.items()})
    return tower
