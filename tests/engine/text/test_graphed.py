"""The captured step, run here without a GPU: everything about it but the capturing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.text import graphed
from vlmchat.engine.text.choosing import describe, modules_text
from vlmchat.engine.text.graphed import Forward, GraphedText
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.library import LibraryText

IDS = [(7 * i * i + 3) % 390 for i in range(60)]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return SmolVLMForConditionalGeneration.from_pretrained(tiny_model, dtype=torch.float32).eval()


class Recorder:
    """Stands for the capturing: the same tensors at each replay, as a graph's are."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, forward: Forward) -> Forward:
        self.count += 1
        result = forward().clone()

        def replay() -> torch.Tensor:
            return result.copy_(forward())

        return replay


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def stepped(text: GraphedText, ids: list[int], cache: KVCache) -> torch.Tensor:
    return torch.stack([text.step(token, cache).clone() for token in ids])


@torch.inference_mode()
def test_it_says_what_the_library_says(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed, "_ROOMS", (16, 40))
    expected = model(input_ids=torch.tensor([IDS])).logits[0]
    capture = Recorder()
    text = GraphedText(model, capture)
    cache = text.new_cache()
    same(text.prefill(text.embed(IDS[:10]), cache), expected[9])
    same(stepped(text, IDS[10:30], cache), expected[10:30])  # past the first block
    same(text.score(text.embed(IDS[30:35]), cache), expected[30:35])
    same(stepped(text, IDS[35:], cache), expected[35:])  # and past the second
    assert capture.count == 3 and cache.length == len(IDS)
    assert text.way == "CUDA graph float32" and describe(text) == "CUDA graph float32."


@torch.inference_mode()
def test_what_is_mirrored_is_what_is_continued(model: Any) -> None:
    """Each change behind the block's back: cropped, copied, another sequence, written anew."""
    text = GraphedText(model, Recorder())
    expected = model(input_ids=torch.tensor([IDS])).logits[0]
    other_ids = [*IDS[:20], *reversed(IDS[20:40])]
    other = model(input_ids=torch.tensor([other_ids])).logits[0]
    cache = text.new_cache()
    stepped(text, IDS[:30], cache)
    branch = cache.copy(20)
    cache.crop(25)
    same(stepped(text, IDS[25:28], cache), expected[25:28])
    same(stepped(text, other_ids[20:28], branch), other[20:28])  # as long as the other
    same(stepped(text, IDS[28:32], cache), expected[28:32])
    cache.crop(20)
    text.prefill(text.embed(other_ids[20:32]), cache)  # as long as before, with other tokens
    same(stepped(text, other_ids[32:], cache), other[32:])
    cache.crop(0)
    same(stepped(text, IDS[:3], cache), expected[:3])


@torch.inference_mode()
def test_what_cannot_be_captured_is_run_and_told(model: Any) -> None:
    def refuse(_: Callable[[], torch.Tensor]) -> Forward:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    text = GraphedText(model, refuse)
    expected = model(input_ids=torch.tensor([IDS])).logits[0]
    cache = text.new_cache()
    same(stepped(text, IDS, cache), expected)
    assert text.way == "transformers float32"
    assert describe(text) == (
        "transformers float32. The decode step cannot be captured as a CUDA graph here (operation "
        "not permitted when stream is capturing), so Python asks for each of its operations."
    )


@torch.inference_mode()
def test_it_ends_where_positions_end_and_stops_when_asked(model: Any) -> None:
    text = GraphedText(model, Recorder())
    cache = text.new_cache()
    positions = int(model.config.text_config.max_position_embeddings)
    text.prefill(torch.zeros(positions, model.config.text_config.hidden_size), cache)
    with pytest.raises(ValueError, match=f"room for {positions}"):
        text.step(1, cache)
    cache.crop(positions - 1)
    text.step(1, cache)

    def stop() -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        text.prefill(text.embed(IDS), text.new_cache(), stop)


def test_on_a_processor_the_modules_are_called(model: Any) -> None:
    assert isinstance(modules_text(model), LibraryText)
