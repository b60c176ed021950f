"""Reading many tokens at once with dense weights, of which one layer is needed at a time.

Computes what the library's Llama computes, with the same roundings: norms in float32 that are cast
before they are scaled, rotary embedding (arXiv:2104.09864) and SwiGLU (arXiv:2002.05202) in the
dtype of the weights, grouped queries (arXiv:2305.13245).
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch.nn import functional

from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.model import TextShape
from vlmchat.engine.text.watching import Watch
from vlmchat.engine.text.weights import TextWeights

M_co = TypeVar("M_co", covariant=True)


class Layer(Protocol[M_co]):
    """A decoder layer as `LayerWeights`, whose matrices may be anything that multiplies."""

    @property
    def input_norm(self) -> torch.Tensor:
        """Of shape (hidden,)."""

    @property
    def qkv(self) -> M_co:
        """To ((heads + 2 · kv_heads) · head_dim) values from (hidden)."""

    @property
    def output(self) -> M_co:
        """To (hidden) from (heads · head_dim)."""

    @property
    def ffn_norm(self) -> torch.Tensor:
        """Of shape (hidden,)."""

    @property
    def gate_up(self) -> M_co:
        """To (2 · ffn) from (hidden)."""

    @property
    def down(self) -> M_co:
        """To (hidden) from (ffn)."""


class Layers(Protocol[M_co]):
    """What of `TextWeights` is needed to read; see there."""

    shape: TextShape
    final_norm: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor

    def layer(self, index: int) -> Layer[M_co]:
        """Return one decoder layer, which is done with when the next is asked for."""


@torch.inference_mode()
def score(weights: TextWeights, embeddings: torch.Tensor, cache: KVCache) -> torch.Tensor:
    """Read tokens as `read` does, and return the logits behind each: (tokens, vocab)."""
    return functional.linear(read(weights, embeddings, cache), weights.head)


def read(
    weights: Layers[torch.Tensor],
    embeddings: torch.Tensor,
    cache: KVCache,
    check: Check = unstopped,
    watch: Watch | None = None,
) -> torch.Tensor:
    """Read tokens behind those in the cache, and return what the head is multiplied with.

    Args:
        weights: of the model; its layers are asked for one after the other.
        embeddings: of shape (tokens, hidden), at least one token.
        cache: in the dtype of the weights; grows by as many tokens.
        check: called before each layer; when it raises, the cache is as long as before.
        watch: is told the queries and keys of each layer.

    Returns:
        The normed hidden state of each token, of shape (tokens, hidden).
    """
    return read_with(weights, functional.linear, embeddings, cache, check, watch)


@torch.inference_mode()
def read_with(
    weights: Layers[M_co],
    times: Callable[[torch.Tensor, M_co], torch.Tensor],
    embeddings: torch.Tensor,
    cache: KVCache,
    check: Check = unstopped,
    watch: Watch | None = None,
) -> torch.Tensor:
    """Read tokens as `read` does, with matrices of any kind.

    Args:
        weights: of the model.
        times: multiplies rows (tokens, inputs) with a matrix of a layer.
        embeddings: see `read`.
        cache: likewise.
        check: likewise.
        watch: likewise.
    """
    shape, dtype = weights.shape, cache.data.dtype
    hidden = embeddings.to(dtype)
    begin, end = cache.length, cache.length + len(hidden)
    if not len(hidden) or end > shape.positions:
        room = shape.positions - begin
        raise ValueError(f"{len(hidden)} tokens behind {begin}; there is room for 1 to {room}")
    cache.reserve(len(hidden))
    rotation = rotation_of(weights.cos[begin:end], weights.sin[begin:end], dtype)
    mask = _behind(begin, end, hidden.device)
    for index in range(shape.layers):
        check()
        layer = weights.layer(index)
        block = cache.data[index, :, :, :end]
        normed = rms_norm(hidden, layer.input_norm, shape.eps)
        told = None if watch is None else partial(watch, index)
        attended = _attend(times(normed, layer.qkv), block, rotation, mask, shape, told)
        hidden = hidden + times(attended, layer.output)
        normed = rms_norm(hidden, layer.ffn_norm, shape.eps)
        gate, up = times(normed, layer.gate_up).chunk(2, dim=-1)
        hidden = hidden + times(functional.silu(gate) * up, layer.down)
    cache.length = end
    return rms_norm(hidden, weights.final_norm, shape.eps)


def rms_norm(hidden: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Return the RMS norm (arXiv:1910.07467) over the last dimension, rounded as the library does.

    The values and their negatives have the mean 0, so that the layer norm of both is the RMS norm
    of the values: one fused operation in place of six.
    """
    both = torch.cat((hidden, -hidden), dim=-1)
    normed = functional.layer_norm(both, both.shape[-1:], eps=eps)
    return normed[..., : hidden.shape[-1]] * weight


def rotation_of(
    cos: torch.Tensor, sin: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tables for `rotated`, of shape (tokens, 1, head_dim).

    Args:
        cos: of shape (tokens, head_dim // 2), as sin.
        sin: likewise.
        dtype: of the values to be rotated.
    """
    cos, sin = cos.to(dtype), sin.to(dtype)
    return torch.cat((cos, cos), dim=-1)[:, None], torch.cat((-sin, sin), dim=-1)[:, None]


def rotated(values: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return queries or keys of shape (tokens, heads, head_dim), turned to their positions."""
    cos, sin = rotation
    half = values.shape[-1] // 2
    swapped = torch.cat((values[..., half:], values[..., :half]), dim=-1)
    return values * cos + swapped * sin


def _behind(begin: int, end: int, device: torch.device) -> torch.Tensor | None:
    """Return which tokens (columns) each new token (row) may see; ``None`` for the plain cases."""
    new = end - begin
    if begin == 0 or new == 1:
        return None
    return torch.ones(new, end, dtype=torch.bool, device=device).tril(begin)


def _attend(
    qkv: torch.Tensor,
    block: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor | None,
    shape: TextShape,
    watch: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Put new keys and values at the end of a layer's cache, and attend to all there are.

    Args:
        qkv: of the new tokens: (tokens, (heads + 2 · kv_heads) · head_dim).
        block: the layer's keys and values: (2, kv_heads, tokens of all, head_dim).
        rotation: of the new tokens' positions.
        mask: as `_behind` gives it.
        shape: of the model.
        watch: is told the queries and keys.

    Returns:
        Of shape (tokens, heads · head_dim).
    """
    count, groups = len(qkv), shape.heads // shape.kv_heads
    heads = qkv.view(count, shape.heads + 2 * shape.kv_heads, shape.head_dim)
    turned = rotated(heads[:, : -shape.kv_heads], rotation)
    block[0, :, -count:] = turned[:, shape.heads :].transpose(0, 1)
    block[1, :, -count:] = heads[:, -shape.kv_heads :].transpose(0, 1)
    if watch is not None:
        watch(turned[:, : shape.heads], block[0])
    # The heads that share keys are a batch: keys and values are then repeated by a stride of 0.
    queries = turned[:, : shape.heads].view(count, shape.kv_heads, groups, shape.head_dim)
    keys, values = block[:, :, None].expand(-1, -1, groups, -1, -1)
    causal = mask is None and count > 1
    attended = functional.scaled_dot_product_attention(
        queries.permute(1, 2, 0, 3), keys, values, attn_mask=mask, is_causal=causal
    )
    return attended.permute(2, 0, 1, 3).reshape(count, shape.heads * shape.head_dim)
