"""The weights of a Llama text model, in the pieces in which they are multiplied."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from vlmchat.engine.text.model import TextShape


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer, dense and contiguous.

    Attributes:
        input_norm: shape (hidden,).
        qkv: queries, keys and values: ((heads + 2 · kv_heads) · head_dim, hidden).
        output: (hidden, heads · head_dim).
        ffn_norm: (hidden,).
        gate_up: gate, then up: (2 · ffn, hidden).
        down: (hidden, ffn).
    """

    input_norm: torch.Tensor
    qkv: torch.Tensor
    output: torch.Tensor
    ffn_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class TextWeights(Protocol):
    """Where the weights of a text model are read from, a layer at a time.

    Attributes:
        shape: the sizes.
        final_norm: (hidden,).
        head: (vocab, hidden).
        cos: of the rotary embedding (arXiv:2104.09864): (positions, head_dim // 2), float32.
        sin: likewise.
    """

    shape: TextShape
    final_norm: torch.Tensor
    head: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens: (tokens, hidden)."""

    def layer(self, index: int) -> LayerWeights:
        """Return one decoder layer."""


class ModelWeights:
    """The weights of a model that the library has loaded, read from its modules.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation, with a text model that
            `is_plain_llama` accepts.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - two classes without a typed base
        self._text = model.model.text_model
        self.shape = shape_of(model)
        self.final_norm = self._text.norm.weight.detach()
        self.head = model.lm_head.weight.detach()
        device = self.final_norm.device
        positions = torch.arange(self.shape.positions, device=device)[None]
        floats = torch.empty(0, dtype=torch.float32, device=device)
        cos, sin = self._text.rotary_emb(floats, positions)
        half = self.shape.head_dim // 2  # the other half says the same again
        self.cos, self.sin = (table[0, :, :half].contiguous() for table in (cos, sin))

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens: (tokens, hidden)."""
        embedded: torch.Tensor = self._text.embed_tokens(
            torch.tensor(ids, device=self.final_norm.device, dtype=torch.long)
        )
        return embedded

    def layer(self, index: int) -> LayerWeights:
        """Return one decoder layer; its fused matrices are new."""
        layer = self._text.layers[index]
        attention, ffn = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        return LayerWeights(
            input_norm=layer.input_layernorm.weight.detach(),
            qkv=torch.cat([projection.weight.detach() for projection in projections]),
            output=attention.o_proj.weight.detach(),
            ffn_norm=layer.post_attention_layernorm.weight.detach(),
            gate_up=torch.cat([ffn.gate_proj.weight.detach(), ffn.up_proj.weight.detach()]),
            down=ffn.down_proj.weight.detach(),
        )


def shape_of(model: Any) -> TextShape:  # noqa: ANN401 - two classes without a typed base
    """Return the sizes of a loaded model's text model."""
    config = model.config.get_text_config()
    heads = int(config.num_attention_heads)
    return TextShape(
        layers=int(config.num_hidden_layers),
        hidden=int(config.hidden_size),
        heads=heads,
        kv_heads=int(config.num_key_value_heads),
        head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        ffn=int(config.intermediate_size),
        vocab=int(model.lm_head.weight.shape[0]),
        eps=float(config.rms_norm_eps),
        positions=int(config.max_position_embeddings),
    )


def is_plain_llama(config: Any) -> bool:  # noqa: ANN401 - two classes without a typed base
    """Return whether our own ways compute what the text model of this configuration does.

    They know Llama with SwiGLU, without biases, and with a rotary embedding that does not change
    with the length of the sequence; every SmolVLM is that.
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    return (
        text.model_type == "llama"
        and text.hidden_act == "silu"
        and not text.attention_bias
        and not text.mlp_bias
        and rope.get("rope_type", "default") in ("default", "linear", "llama3")
    )
