"""The plain torch way: what it computes, and with which weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

from tests.tiny import build_tiny
from vlmchat.engine.text import dense
from vlmchat.engine.text.head import Head
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.packing import Dense, Int4, Int8, Int8Rows, Matrix, Workspace, pack
from vlmchat.engine.text.portable import PortableText
from vlmchat.engine.text.weights import LayerWeights, ModelWeights

IDS = [(7 * i * i + 3) % 390 for i in range(60)]


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return SmolVLMForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return loaded(tiny_model)


class Unpacked(ModelWeights):
    """The weights that a packed text model multiplies, dense in float32."""

    def __init__(self, model: Any, packed: PortableText) -> None:
        super().__init__(model)
        self._packed = packed
        self.head = packed.dense_head()

    def layer(self, index: int) -> LayerWeights:
        return self._packed.dense_layer(index)


def stepped(text: PortableText, ids: list[int], cache: KVCache | None = None) -> torch.Tensor:
    cache = cache or text.new_cache()
    return torch.stack([text.step(token, cache).clone() for token in ids])


@torch.inference_mode()
def test_plain_steps_and_reads_are_the_librarys(model: Any) -> None:
    text = PortableText(ModelWeights(model), 16)
    expected = model(input_ids=torch.tensor([IDS])).logits[0]
    assert text.way == "portable float32" and text.bits == 32
    torch.testing.assert_close(stepped(text, IDS), expected, rtol=1e-4, atol=1e-4)
    cache = text.new_cache()
    embedded = text.embed(IDS)
    torch.testing.assert_close(
        text.score(embedded[:40], cache), expected[:40], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        text.prefill(embedded[40:], cache), expected[-1], rtol=1e-4, atol=1e-4
    )


@torch.inference_mode()
@pytest.mark.parametrize("bits", [8, 4])
def test_packed_weights_answer_as_the_same_weights_dense(model: Any, bits: int) -> None:
    """On the tiny shape both 4-bit and 8-bit operations serve every matrix."""
    text = PortableText(ModelWeights(model), bits)
    assert text.way == f"portable {bits}-bit" and text.bits == bits
    weights = Unpacked(model, text)
    expected = dense.score(weights, weights.embed(IDS), KVCache(text.shape, torch.float32))
    torch.testing.assert_close(stepped(text, IDS), expected, rtol=1e-4, atol=1e-4)
    many = text.score(text.embed(IDS), text.new_cache())  # more rows than are multiplied packed
    torch.testing.assert_close(many, expected, rtol=1e-4, atol=1e-4)
    plain = PortableText(ModelWeights(model), 16)
    # In halves of 4 bits, each with a scale and a zero of its own.
    assert text.nbytes < plain.nbytes / (2.5 if bits == 8 else 4)


@torch.inference_mode()
@pytest.mark.parametrize("bits", [16, 8, 4])
def test_a_cache_is_gone_back_in_and_copied(model: Any, bits: int) -> None:
    text = PortableText(ModelWeights(model), bits)
    cache = text.new_cache()
    text.prefill(text.embed(IDS[:50]), cache)
    said = stepped(text, IDS[50:], cache)
    other = cache.copy(50)
    cache.crop(50)
    stepped(text, [5, 6, 7], cache)
    torch.testing.assert_close(stepped(text, IDS[50:], other), said)
    cache.crop(50)
    torch.testing.assert_close(stepped(text, IDS[50:], cache), said)
    long = stepped(text, [3] * 300, cache)  # past what there was room for
    again = text.new_cache()
    text.prefill(text.embed([*IDS, *[3] * 299]), again)
    torch.testing.assert_close(text.step(3, again), long[-1], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_bfloat16_rounds_as_the_library(tiny_model: Path) -> None:
    model = loaded(tiny_model, torch.bfloat16)
    text = PortableText(ModelWeights(model), 16)
    expected = model(input_ids=torch.tensor([IDS])).logits[0].float()
    reference = loaded(tiny_model)(input_ids=torch.tensor([IDS])).logits[0]
    theirs = (expected - reference).abs().max()
    assert text.way == "portable bfloat16"
    for ours in (stepped(text, IDS), text.score(text.embed(IDS), text.new_cache())):
        assert (ours.float() - reference).abs().max() < 1.5 * theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [Int4, Int8, Int8Rows])
def test_matrices_multiply_what_they_say(
    dtype: torch.dtype, kind: type[Int4 | Int8 | Int8Rows]
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(320, 96).to(dtype)
    matrix = kind(weight, Workspace())
    worst = (matrix.dense() - weight.float()).abs().max()
    assert 0 < worst < {Int4: 0.25, Int8: 0.02, Int8Rows: 0.03}[kind]
    rtol, atol = (0.02, 0.15) if dtype == torch.bfloat16 else (1e-4, 1e-3)
    for count in (1, 3, 33, 70):
        rows = torch.randn(count, 96).to(dtype)
        expected = rows.float() @ matrix.dense().T
        for product in (matrix.one(rows), matrix.many(rows)):
            assert product.dtype == dtype
            torch.testing.assert_close(product.float(), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [Int4, Int8, Int8Rows, None])
def test_some_outputs_are_those_of_the_whole(
    dtype: torch.dtype, kind: type[Int4 | Int8 | Int8Rows] | None
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(192, 96).to(dtype)
    matrix = kind(weight, Workspace()) if kind else Dense(weight)
    some = torch.tensor([191, 0, 31, 32, 64, 63, 0])
    torch.testing.assert_close(matrix.some(some), matrix.dense()[some])


@pytest.mark.parametrize("vocab", [64 * 60, 1000, 20])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_leading_tokens_are_told_apart_in_float32(vocab: int, count: int) -> None:
    """Where bfloat16 makes the likeliest equal; all others stay as they were multiplied."""
    torch.manual_seed(0)
    weight = (0.3 * torch.randn(vocab, 64) + 4 * torch.randn(64)).bfloat16()
    head, hidden = Head(weight, 8, Workspace()), torch.randn(count, 64).bfloat16()
    exact = hidden.float() @ head.dense().T
    for found in (head.many(hidden), *([head.one(hidden)] if count == 1 else [])):
        assert found.dtype == torch.float32 and found.shape == (count, vocab)
        torch.testing.assert_close(found, exact, rtol=0.02, atol=0.5)
        assert found.argmax(-1).equal(exact.argmax(-1))
        leading = exact.topk(3, dim=-1)
        torch.testing.assert_close(found.gather(1, leading.indices), leading.values)
    rounded = exact.bfloat16().float()
    assert count < 40 or vocab == 20 or not rounded.argmax(-1).equal(exact.argmax(-1))
    plain = Head(weight, 16, Workspace())
    torch.testing.assert_close(plain.many(hidden), hidden @ weight.T)


def test_weights_on_the_grid_stay_what_they_are() -> None:
    grid = torch.randint(0, 16, (64, 64)) * 0.25 - 2
    grid[:, ::32], grid[:, 1::32] = -2, 1.75  # each group uses all of its range
    matrix = pack(grid, 4, Workspace(), "it")
    torch.testing.assert_close(matrix.dense(), grid, rtol=0, atol=0)
    flat = pack(torch.zeros(64, 64), 4, Workspace(), "it")  # and nothing is not a number
    assert not flat.dense().abs().max() > 1e-9


def test_other_shapes_stay_finer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds: list[tuple[tuple[int, int], type[Matrix]]] = [
        ((64, 64), Int4), ((100, 64), Int8Rows), ((64, 40), Dense)
    ]  # fmt: skip
    for shape, kind in kinds:
        assert isinstance(pack(torch.randn(shape), 4, Workspace(), "it"), kind)
    caplog.set_level("INFO")
    odd = loaded(build_tiny(tmp_path / "odd", intermediate=144))
    text = PortableText(ModelWeights(odd), 4)
    layer = text.layer(0)
    assert [it.bits for it in (layer.qkv, layer.output, layer.gate_up, layer.down)] == [4, 4, 8, 32]
    assert "gate_up of layer 0 is not packed to 4 bits: 288 × 64" in caplog.text
    assert "down of layer 1 is not packed to 8 bits: 144 inputs" in caplog.text
    weights = Unpacked(odd, text)
    expected = dense.score(weights, weights.embed(IDS), KVCache(text.shape, torch.float32))
    torch.testing.assert_close(stepped(text, IDS), expected, rtol=1e-4, atol=1e-4)


def test_one_query_head_a_key_head(tmp_path: Path) -> None:
    """The 256M model shares keys among three heads, others among one."""
    folder = build_tiny(tmp_path / "even")
    model = loaded(folder)
    weights = ModelWeights(model)
    weights.shape = replace(weights.shape, heads=1)
    cut = PortableText(_FirstHead(weights), 16)
    whole = dense.score(_FirstHead(weights), weights.embed(IDS), cut.new_cache())
    torch.testing.assert_close(stepped(cut, IDS), whole, rtol=1e-4, atol=1e-4)


class _FirstHead:
    """A model's weights with one query head of two."""

    def __init__(self, weights: ModelWeights) -> None:
        self._weights = weights
        self.shape, self.head, self.final_norm = weights.shape, weights.head, weights.final_norm
        self.cos, self.sin, self.embed = weights.cos, weights.sin, weights.embed

    def layer(self, index: int) -> LayerWeights:
        layer, size = self._weights.layer(index), self.shape.head_dim
        qkv = torch.cat((layer.qkv[:size], layer.qkv[2 * size :]))
        return replace(layer, qkv=qkv, output=layer.output[:, :size].contiguous())


def test_room_ends_where_positions_end(model: Any) -> None:
    text = PortableText(ModelWeights(model), 16)
    cache = text.new_cache()
    text.prefill(torch.zeros(text.shape.positions, text.shape.hidden), cache)
    with pytest.raises(ValueError, match="room for 1024"):
        text.step(1, cache)
