"""Reading many tokens computes what the library's model computes."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

from vlmchat.engine.text.dense import read, rms_norm, score
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.weights import ModelWeights

IDS = [(7 * i * i + 3) % 390 for i in range(60)]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return SmolVLMForConditionalGeneration.from_pretrained(tiny_model, dtype=torch.float32).eval()


def empty(weights: ModelWeights) -> KVCache:
    return KVCache(weights.shape, weights.head.dtype)


@torch.inference_mode()
def test_logits_and_cache_are_the_librarys(model: Any) -> None:
    weights, theirs = ModelWeights(model), DynamicCache(config=model.config.get_text_config())
    ours = empty(weights)
    expected = model(input_ids=torch.tensor([IDS]), past_key_values=theirs).logits[0]
    torch.testing.assert_close(
        score(weights, weights.embed(IDS), ours), expected, rtol=1e-4, atol=1e-4
    )
    assert ours.length == len(IDS)
    for index, layer in enumerate(theirs.layers):
        keys, values = ours.data[index, :, :, : len(IDS)]
        torch.testing.assert_close(keys, layer.keys[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(values, layer.values[0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("cuts", [(0, 1, 2, 60), (0, 37, 60), (0, 59, 60)])
def test_in_pieces_as_in_one(model: Any, cuts: tuple[int, ...]) -> None:
    weights = ModelWeights(model)
    whole = score(weights, weights.embed(IDS), empty(weights))
    cache, found = empty(weights), []
    for begin, end in pairwise(cuts):
        found.append(score(weights, weights.embed(IDS[begin:end]), cache))
    torch.testing.assert_close(torch.cat(found), whole, rtol=1e-4, atol=1e-4)
    cache.crop(20)
    again = score(weights, weights.embed(IDS[20:]), cache)
    torch.testing.assert_close(again[-1], whole[-1], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_norms_round_as_the_librarys(model: Any) -> None:
    norm = model.model.text_model.norm
    torch.manual_seed(0)
    hidden = torch.randn(50, 64, dtype=torch.bfloat16) * 3
    weight = (1 + 0.3 * torch.randn(64)).to(torch.bfloat16)
    kind = type(norm)(64, eps=norm.variance_epsilon)
    kind.weight.data = weight
    equal = rms_norm(hidden, weight, norm.variance_epsilon) == kind(hidden)
    assert float(equal.float().mean()) > 0.999  # what a sum in another order moves over a half


def test_too_many_tokens_are_refused(model: Any) -> None:
    weights = ModelWeights(model)
    cache, most = empty(weights), weights.shape.positions
    with pytest.raises(ValueError, match=f"1 to {most}"):
        read(weights, torch.zeros(most + 1, weights.shape.hidden), cache)
    with pytest.raises(ValueError, match="0 tokens"):
        read(weights, torch.zeros(0, weights.shape.hidden), cache)
    assert cache.length == 0
