"""The pieces of the weights compute what the library's layer computes."""

import pytest
import torch
from torch.nn import functional
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

from tests.tiny import build_tiny
from vlmchat.engine.text.weights import ModelWeights, is_plain_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SmolVLMForConditionalGeneration:
    folder = build_tiny(tmp_path_factory.mktemp("models") / "tiny")
    return SmolVLMForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


@torch.inference_mode()
def test_pieces_are_the_projections(model: SmolVLMForConditionalGeneration) -> None:
    weights = ModelWeights(model)
    layer, theirs = weights.layer(1), model.model.text_model.layers[1]
    x = weights.embed([3, 1, 4])
    shape = weights.shape
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    q, k, v = torch.split(functional.linear(x, layer.qkv), [queries, keys, keys], -1)
    torch.testing.assert_close(q, theirs.self_attn.q_proj(x))
    torch.testing.assert_close(k, theirs.self_attn.k_proj(x))
    torch.testing.assert_close(v, theirs.self_attn.v_proj(x))
    gate, up = functional.linear(x, layer.gate_up).chunk(2, -1)
    ffn = functional.linear(functional.silu(gate) * up, layer.down)
    torch.testing.assert_close(ffn, theirs.mlp(x))
    assert weights.head.shape == (shape.vocab, shape.hidden)
    assert weights.cos.shape == (shape.positions, shape.head_dim // 2)


def test_other_text_models_are_left_to_the_library(model: SmolVLMForConditionalGeneration) -> None:
    assert is_plain_llama(model.config)
    model.config.text_config.hidden_act = "gelu"
    assert not is_plain_llama(model.config)
    model.config.text_config.hidden_act = "silu"
