"""Many continuations of one prompt read at once, as a tree of tokens.

Continuations that begin alike share the tokens of their beginning. All tokens of the tree go
through a layer together, and each attends to the prompt and to those before it on its own way from
the root (token trees with their attention as in SpecInfer, arXiv:2305.09781).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch.nn import functional

from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.engine.text.dense import Layers, rms_norm, rotated, rotation_of
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.model import TextShape

M_co = TypeVar("M_co", covariant=True)
_ROOT = -1


@dataclass(slots=True)
class TokenTree:
    """Tokens behind a prompt, each behind another one or right behind the prompt.

    Attributes:
        ids: of the tokens; one comes behind its parent in the list.
        parents: where in the list the token before each is; -1 for the prompt's last.
        depths: how many tokens are between the prompt and each.
    """

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, tokens: Iterable[int]) -> list[int]:
        """Add a continuation, and return where its tokens are."""
        way: list[int] = []
        for token in tokens:
            parent = way[-1] if way else _ROOT
            at = self._known.setdefault((parent, token), len(self.ids))
            if at == len(self.ids):
                self.ids.append(token)
                self.parents.append(parent)
                self.depths.append(len(way))
            way.append(at)
        return way

    def missing(self, tokens: Sequence[int]) -> int:
        """Return how many tokens `add` would add."""
        parent = _ROOT
        for count, token in enumerate(tokens):
            found = self._known.get((parent, token))
            if found is None:
                return len(tokens) - count
            parent = found
        return 0

    def mask(self) -> torch.Tensor:
        """Return which tokens (columns) each token (row) may see: bool, (tokens, tokens)."""
        seen = torch.eye(len(self.ids), dtype=torch.bool)
        for at, parent in enumerate(self.parents):
            if parent != _ROOT:
                seen[at] |= seen[parent]
        return seen


@runtime_checkable
class ReadsTrees(Protocol):
    """A text model that reads many continuations at once."""

    def tree(
        self,
        tree: TokenTree,
        embeddings: torch.Tensor,
        cache: Any,  # noqa: ANN401 - what the model itself made
        check: Check = unstopped,
    ) -> torch.Tensor:
        """Return the logits behind each token of a tree behind what is in the cache.

        Args:
            tree: at least one token.
            embeddings: of its tokens: (tokens, hidden).
            cache: one of the model's own; stays as it is.
            check: called before each layer; it raises to stop.

        Returns:
            Of shape (tokens, vocab).
        """


@torch.inference_mode()
def read_tree(
    weights: Layers[M_co],
    times: Callable[[torch.Tensor, M_co], torch.Tensor],
    tree: TokenTree,
    embeddings: torch.Tensor,
    cache: KVCache,
    check: Check = unstopped,
) -> torch.Tensor:
    """Read a tree behind the tokens in the cache, which stays as it is.

    Args:
        weights: of the model.
        times: multiplies rows (tokens, inputs) with a matrix of a layer.
        tree: at least one token.
        embeddings: of its tokens: (tokens, hidden).
        cache: in the dtype of the weights.
        check: called before each layer.

    Returns:
        The normed hidden state of each token, of shape (tokens, hidden).
    """
    shape, dtype, begin = weights.shape, cache.data.dtype, cache.length
    if begin + max(tree.depths) >= shape.positions:
        raise ValueError(f"{max(tree.depths) + 1} tokens behind {begin} of {shape.positions}")
    hidden = embeddings.to(dtype)
    places = torch.tensor(tree.depths, device=hidden.device) + begin
    rotation = rotation_of(weights.cos[places], weights.sin[places], dtype)
    mask = functional.pad(tree.mask().to(hidden.device), (begin, 0), value=True)
    for index in range(shape.layers):
        check()
        layer = weights.layer(index)
        normed = rms_norm(hidden, layer.input_norm, shape.eps)
        before = cache.data[index, :, :, :begin]
        attended = _attend(times(normed, layer.qkv), before, rotation, mask, shape)
        hidden = hidden + times(attended, layer.output)
        normed = rms_norm(hidden, layer.ffn_norm, shape.eps)
        gate, up = times(normed, layer.gate_up).chunk(2, dim=-1)
        hidden = hidden + times(functional.silu(gate) * up, layer.down)
    return rms_norm(hidden, weights.final_norm, shape.eps)


def _attend(
    qkv: torch.Tensor,
    before: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor,
    shape: TextShape,
) -> torch.Tensor:
    """Return what the tokens of a tree attend to; see `vlmchat.engine.text.dense`.

    Args:
        qkv: of the tokens: (tokens, (heads + 2 · kv_heads) · head_dim).
        before: the layer's keys and values of the prompt: (2, kv_heads, its tokens, head_dim).
        rotation: of the tokens' positions.
        mask: which tokens, those of the prompt first, each may see.
        shape: of the model.
    """
    count, groups = len(qkv), shape.heads // shape.kv_heads
    heads = qkv.view(count, shape.heads + 2 * shape.kv_heads, shape.head_dim)
    turned = rotated(heads[:, : -shape.kv_heads], rotation)
    new = torch.stack((turned[:, shape.heads :], heads[:, -shape.kv_heads :])).transpose(1, 2)
    keys, values = torch.cat((before, new), dim=2)[:, :, None].expand(-1, -1, groups, -1, -1)
    queries = turned[:, : shape.heads].view(count, shape.kv_heads, groups, shape.head_dim)
    attended = functional.scaled_dot_product_attention(
        queries.permute(1, 2, 0, 3), keys, values, attn_mask=mask
    )
    return attended.permute(2, 0, 1, 3).reshape(count, shape.heads * shape.head_dim)
