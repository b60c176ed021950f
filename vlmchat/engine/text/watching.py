"""Who looks at what: queries and keys of the tokens that are being read, told layer by layer.

Attention itself is never in memory for all layers, nor for all tokens: whoever watches makes of
each layer's queries and keys what is wanted, and lets them go.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch

Watch: TypeAlias = Callable[[int, torch.Tensor, torch.Tensor], None]
"""Called for each layer with its index, the queries of the tokens that are read, of shape (tokens,
heads, head_dim), and the keys of all tokens up to the last of these, of shape (kv_heads, tokens of
all, head_dim); both rotated. The tensors may be overwritten afterwards."""


def attention(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Return how much of its attention each token gives to each: (heads, tokens, tokens of all).

    Computes ``eager_attention_forward`` of the library's ``modeling_llama.py`` in float32, of which
    each row sums to 1.

    Args:
        queries: as `Watch` is given them.
        keys: likewise.
    """
    count, heads, size = queries.shape
    groups, every = len(keys), keys.shape[1]
    grouped = queries.float().view(count, groups, heads // groups, size).permute(1, 2, 0, 3)
    scores = grouped @ keys.float()[:, None].transpose(-1, -2) * size**-0.5
    later = torch.ones(count, every, dtype=torch.bool, device=keys.device).triu(every - count + 1)
    looked: torch.Tensor = scores.masked_fill_(later, -torch.inf).softmax(-1)
    return looked.view(heads, count, every)


@contextmanager
def queries_noted(model: Any) -> Iterator[list[torch.Tensor]]:  # noqa: ANN401 - no typed base
    """Give a list in which the library's layers note the queries of what they read, in order.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation; its layers may be quantized,
            or have an adapter's within.
    """
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    noted: list[torch.Tensor] = []

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ANN401
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        cos, sin = kwargs["position_embeddings"]
        queries = (
            module.q_proj(hidden).view(*hidden.shape[:-1], -1, module.head_dim).transpose(1, 2)
        )
        turned, _ = apply_rotary_pos_emb(queries, queries, cos, sin)
        noted.append(turned[0].transpose(0, 1))

    hooks = [
        layer.self_attn.register_forward_pre_hook(note, with_kwargs=True)
        for layer in model.model.text_model.layers
    ]
    try:
        yield noted
    finally:
        for hook in hooks:
            hook.remove()
