"""The native text model says what the library's says, however its tokens are read."""

import dataclasses
import threading
from dataclasses import dataclass

import pytest
import torch
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

from tests.engine.native.conftest import EACH_VARIANT, Compiled
from tests.text_models import RandomWeights, library_model, text_shape
from vlmchat.engine.native.library import Team
from vlmchat.engine.native.text import NativeText, UnsupportedModelError
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.model import TextShape
from vlmchat.engine.text.weights import ModelWeights

VOCABULARY = 331  # is not made of whole blocks of rows


@dataclass(frozen=True)
class Heads:
    """How the attention of a small model is divided."""

    heads: int
    kv_heads: int
    dim: int


THREE_TO_ONE, ONE_TO_ONE, TINY = Heads(6, 2, 64), Heads(3, 3, 64), Heads(2, 1, 32)
FIVE_TO_ONE = Heads(5, 1, 32)


def _model(heads: Heads, dtype: torch.dtype = torch.float32) -> SmolVLMForConditionalGeneration:
    hidden = heads.heads * heads.dim
    shape = TextShape(
        2, hidden, heads.heads, heads.kv_heads, heads.dim, 352, VOCABULARY, 1e-5, 1024
    )
    return library_model(shape, dtype, std=0.1)


def _ids(count: int) -> list[int]:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()


@torch.inference_mode()
def _expected(model: SmolVLMForConditionalGeneration, ids: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0]
    return logits.float()


def _read(text: NativeText, ids: list[int]) -> torch.Tensor:
    """Read tokens in all the ways there are, and return the logits behind each."""
    cache, out = text.new_cache(), list[torch.Tensor]()

    def score(count: int) -> None:
        out.extend(text.score(text.embed(ids[cache.length : cache.length + count]), cache).float())

    def step(count: int) -> None:
        for _ in range(count):
            out.append(text.step(ids[cache.length], cache).clone())

    score(11)  # through dense layers
    step(5)
    score(3)  # one by one
    cache.crop(13)  # and go on
    del out[13:]
    step(4)
    last = text.prefill(text.embed(ids[17:29]), copy := cache.copy(17))
    score(12)
    torch.testing.assert_close(last.float(), out[-1], rtol=0, atol=0.02 * float(out[-1].std()))
    assert copy.length == cache.length == 29
    step(len(ids) - 29)
    return torch.stack(out)


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().mean() / expected.std())


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("heads", [THREE_TO_ONE, ONE_TO_ONE, TINY, FIVE_TO_ONE])
def test_float32(compiled: Compiled, variant: str, heads: Heads) -> None:
    model, ids = _model(heads), _ids(60)
    text = NativeText(ModelWeights(model), compiled(variant), 16, 2)
    assert text.way == "native float32"
    torch.testing.assert_close(_read(text, ids), _expected(model, ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("heads", [THREE_TO_ONE, ONE_TO_ONE, TINY])
def test_bfloat16(compiled: Compiled, variant: str, heads: Heads) -> None:
    model, ids = _model(heads, torch.bfloat16), _ids(60)
    text = NativeText(ModelWeights(model), compiled(variant), 16, 2)
    assert text.way == "native bf16"
    assert text.new_cache().data.dtype == torch.bfloat16
    exact = _expected(model.float(), ids)
    theirs = _error(_expected(model.bfloat16(), ids), exact)
    assert _error(_read(text, ids), exact) < theirs  # nothing but weights and cache is rounded


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("heads", [THREE_TO_ONE, ONE_TO_ONE])
@pytest.mark.parametrize(("bits", "allowed"), [(4, 0.04), (8, 0.04)])
@torch.inference_mode()
def test_packed(compiled: Compiled, variant: str, heads: Heads, bits: int, allowed: float) -> None:
    model, ids = _model(heads), _ids(60)
    library = compiled(variant)
    text = NativeText(ModelWeights(model), library, bits, 2)
    assert text.way == f"native {bits}-bit"
    found = _read(text, ids)
    team = Team(library, 1)
    linears = [
        module
        for layer in model.model.text_model.layers
        for module in layer.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    for module, its_bits in [*((linear, bits) for linear in linears), (model.lm_head, 8)]:
        rounded = team.pack(module.weight, its_bits)
        module.weight.copy_(team.unpack(rounded, torch.empty_like(module.weight)))
    assert _error(found, _expected(model, ids)) < allowed


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_long(compiled: Compiled, variant: str, threads: int) -> None:
    model, ids = _model(THREE_TO_ONE), _ids(1024)
    text = NativeText(ModelWeights(model), compiled(variant), 16, threads)
    cache = text.new_cache()
    text.prefill(text.embed(ids[:1019]), cache)
    found = torch.stack([text.step(token, cache).clone() for token in ids[1019:]])
    torch.testing.assert_close(found, _expected(model, ids)[1019:], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="room for 1024 tokens"):
        text.step(5, cache)


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize("threads", [1, 3])
def test_several_sequences(compiled: Compiled, variant: str, bits: int, threads: int) -> None:
    """A sequence's logits are the same to the last bit, whoever is read beside it."""
    model = _model(THREE_TO_ONE, torch.float32 if bits == 32 else torch.bfloat16)
    text = NativeText(ModelWeights(model), compiled(variant), min(bits, 16), threads)
    ids, caches = _ids(200), list[KVCache]()
    for number in range(19):  # more than are read at once, of several lengths
        caches.append(text.new_cache())
        text.prefill(text.embed(ids[: 9 + 10 * number]), caches[-1])
    alone = [
        text.step(number + 5, cache.copy(cache.length)).clone()
        for number, cache in enumerate(caches)
    ]
    for count in (1, 2, 3, 7, 8, 15, 19):
        some = [cache.copy(cache.length) for cache in caches[:count]]
        found = text.steps(range(5, 5 + count), some)
        assert torch.equal(found, torch.stack(alone[:count])), count
        assert [cache.length for cache in some] == [one.length + 1 for one in caches[:count]]


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize("before", [0, 700])
def test_a_few_tokens_at_once(compiled: Compiled, variant: str, bits: int, before: int) -> None:
    """They are read to the last bit as they are one by one."""
    model = _model(THREE_TO_ONE, torch.float32 if bits == 32 else torch.bfloat16)
    text = NativeText(ModelWeights(model), compiled(variant), min(bits, 16), 2)
    ids, beginning = _ids(740), text.new_cache()
    if before:
        text.prefill(text.embed(ids[:before]), beginning)
    for count in (1, 2, 7, 16, 17, 40) if bits < 16 else (1, 5, 16):
        some = text.embed(ids[before : before + count])
        one_by_one, read, scored = (beginning.copy(before) for _ in range(3))
        alone = [text.step(token, one_by_one).clone() for token in ids[before : before + count]]
        assert torch.equal(text.prefill(some, read), alone[-1])
        assert torch.equal(text.score(some, scored), torch.stack(alone))
        for cache in (read, scored):
            assert cache.length == before + count
            held = cache.data[:, :, :, : cache.length]
            assert torch.equal(held, one_by_one.data[:, :, :, : cache.length])


def test_a_few_tokens_are_stopped(compiled: Compiled) -> None:
    text = NativeText(ModelWeights(_model(THREE_TO_ONE)), compiled(""), 8, 2)
    checks: list[None] = []

    def check() -> None:
        checks.append(None)
        if len(checks) == 2:
            raise InterruptedError

    cache = text.new_cache()
    with pytest.raises(InterruptedError):
        text.prefill(text.embed(_ids(30)), cache, check)
    assert cache.length == 0


def test_a_cache_of_another_dtype(compiled: Compiled) -> None:
    model, ids = _model(THREE_TO_ONE), _ids(30)
    text = NativeText(ModelWeights(model), compiled(""), 8, 1)
    exact, rounded = text.new_cache(), KVCache(text.shape, torch.bfloat16)
    for token in ids:
        expected = text.step(token, exact).clone()
        assert _error(text.step(token, rounded), expected) < 0.04


def test_several_at_once(compiled: Compiled) -> None:
    models = [_model(heads) for heads in (THREE_TO_ONE, ONE_TO_ONE, TINY)]
    ids, library = _ids(150), compiled("")
    faults: list[str] = []

    def work(model: SmolVLMForConditionalGeneration, bits: int, first: int) -> None:
        text = NativeText(ModelWeights(model), library, bits, first)
        with torch.inference_mode():
            alone = _read(text, ids[:60])
            for threads in (1, 3, 2, 4):
                text.threads = threads
                again = _read(text, ids[:60])
                if not torch.allclose(again, alone, rtol=0, atol=0.02 * float(alone.std())):
                    faults.append(f"{text.way} with {threads} threads")

    threads = [
        threading.Thread(target=work, args=(model, bits, first))
        for model, bits, first in zip(models, (4, 8, 16), (2, 1, 3), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        ({"head_dim": 96}, torch.float32),
        ({"hidden": 176}, torch.float32),
        ({"ffn": 1000}, torch.float32),
        ({}, torch.float16),
    ],
)
@pytest.mark.parametrize("bits", [4, 16])
def test_what_it_does_not_know(
    compiled: Compiled, change: dict[str, int], dtype: torch.dtype, bits: int
) -> None:
    sizes = TextShape(1, 192, 3, 1, 64, 64, 100, 1e-5, 64)
    weights = RandomWeights(dataclasses.replace(sizes, **change), dtype)
    with pytest.raises(UnsupportedModelError):
        NativeText(weights, compiled(""), bits, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["256M", "500M", "2.2B"])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_shapes_of_the_catalogue(compiled: Compiled, name: str, bits: int) -> None:
    weights = RandomWeights(text_shape(name, layers=2))
    text = NativeText(weights, compiled(""), bits, 2)
    ids = list(range(100, 124))
    one, two = text.new_cache(), text.new_cache()
    steps = torch.stack([text.step(token, one).clone() for token in ids])
    scored = text.score(text.embed(ids), two).float()
    assert _error(steps, scored) < 0.05
