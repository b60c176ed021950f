"""The reference way: the library's logits, whatever was cropped, copied or read in pieces."""

from pathlib import Path

import pytest
import torch

from tests.adapters import save_adapter
from vlmchat.chat.messages import user_message
from vlmchat.engine.adapters import wear
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.models.progress import ignore_progress

IDS = [1, 60, 61, 62, 70, 71, 99, 44, 80, 81, 82, 90]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> LoadedModel:
    options = LoadOptions(str(tiny_model), "none", dtype="float32", library=True)
    return load_model(options, ignore_progress)


@torch.inference_mode()
def reference(loaded: LoadedModel, ids: list[int]) -> torch.Tensor:
    logits: torch.Tensor = loaded.model(input_ids=torch.tensor([ids])).logits[0]
    return logits


def test_pieces_crops_and_copies_change_nothing(loaded: LoadedModel) -> None:
    text, wanted = loaded.text, reference(loaded, IDS)
    cache = text.new_cache()
    assert (cache.length, cache.nbytes) == (0, 0)
    first = text.prefill(text.embed(IDS[:7]), cache)
    torch.testing.assert_close(first, wanted[6], rtol=1e-4, atol=1e-4)
    short, size = cache.copy(3), cache.nbytes
    assert (short.length, cache.length) == (3, 7) and 0 < short.nbytes < size
    rest = text.score(text.embed(IDS[7:]), cache)
    torch.testing.assert_close(rest, wanted[7:], rtol=1e-4, atol=1e-4)
    assert (short.length, cache.length) == (3, len(IDS))
    torch.testing.assert_close(text.step(IDS[3], short), wanted[3], rtol=1e-4, atol=1e-4)
    cache.crop(5)
    text.prefill(text.embed(IDS[5:11]), cache)
    torch.testing.assert_close(text.step(IDS[11], cache), wanted[11], rtol=1e-4, atol=1e-4)
    cache.crop(0)
    assert (cache.length, cache.copy(0).length) == (0, 0)
    torch.testing.assert_close(text.step(IDS[0], cache), wanted[0], rtol=1e-4, atol=1e-4)
    assert "float32" in text.way


def test_a_learned_prompt_is_embedded(
    tiny_model: Path, loaded: LoadedModel, tmp_path: Path
) -> None:
    worn = wear(loaded, "words", save_adapter(tiny_model, tmp_path / "words", "prompt"))
    virtual = worn.builder.build([user_message("Hello")]).ids[0]
    assert worn.text is not loaded.text
    assert virtual == loaded.model.config.get_text_config().vocab_size
    embedded = worn.text.embed([virtual, *IDS])
    assert torch.equal(embedded[1:], loaded.text.embed(IDS))
    assert torch.equal(embedded[0], worn.model.get_input_embeddings().learned[0])
    assert worn.text.prefill(embedded, worn.text.new_cache()).shape == (virtual,)
