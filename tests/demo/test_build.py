"""The demo model put together for real, by processes that get in each other's way."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures_demo import Making, events, start
from vlmchat.demo import fetch
from vlmchat.errors import ModelError
from vlmchat.models import demo_model, local
from vlmchat.models.catalogue import DEMO
from vlmchat.models.progress import ignore_progress
from vlmchat.models.resolve import resolve


def test_a_full_disk_is_refused_with_both_numbers(small_disk: Callable[[int], Path]) -> None:
    child = start(small_disk(20_000_000) / "home")
    last = events(child)[-1]
    assert child.returncode == 3
    assert "needs 620 MB and 20 MB are free" in last["error"]


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "demo").write_text("in the way")
    with pytest.raises(ModelError, match=r"cannot be made in .*: set VLMCHAT_HOME"):
        demo_model.ensure(ignore_progress)


@pytest.mark.registry
@pytest.mark.slow
def test_a_kill_in_mid_download_leaves_nothing_in_the_way(demo_making: Making) -> None:
    left = demo_making.left
    assert len(left) == 1 and left[0].startswith("making-")
    assert demo_making.codes == [0, 0], demo_making.said
    assert not any("error" in lines[-1] for lines in demo_making.said)


@pytest.mark.registry
@pytest.mark.slow
def test_two_processes_at_once_make_one_model(
    demo_making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [{one["text"] for one in lines} for lines in demo_making.said]
    assert sorted(any("Waiting for another" in text for text in each) for each in texts) == [
        False,
        True,
    ]
    monkeypatch.setenv("VLMCHAT_HOME", str(demo_making.home))
    local.check_folder(demo_model.folder())
    files = {file.name for file in (demo_making.home / "cache" / "demo").iterdir()}
    assert files == {demo_model.folder().name, "making.lock"}


@pytest.mark.registry
@pytest.mark.slow
def test_the_demo_resolves_by_name(demo_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMCHAT_HOME", str(demo_home))
    found = resolve("demo", ignore_progress, memory_bytes=0, device="cpu")
    assert found.is_demo
    assert "demo" in found.title.lower()
    assert local.footprint_of(found.path).parameters == DEMO.parameters


@pytest.mark.slow
@pytest.mark.registry
def test_text_logits_are_the_text_models_own_bit_for_bit(
    demo_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch
    from transformers import PreTrainedTokenizerFast, SmolVLMForConditionalGeneration

    from vlmchat.demo.build import load_text_model
    from vlmchat.engine.views import with_layers

    monkeypatch.setenv("VLMCHAT_HOME", str(demo_home))
    folder = demo_model.folder()
    plain = load_text_model(fetch.fetch_gguf(tmp_path, tmp_path / "none", ignore_progress))
    reads = SmolVLMForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()
    demo = with_layers(reads, folder / local.PLAIN, torch.bfloat16)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert tokenizer.convert_tokens_to_ids("<image>") == config["image_token_id"]
    assert len(tokenizer) == config["text_config"]["vocab_size"]
    for text in ("The capital of France is", "1, 2, 3, 4,", "def main():\n"):
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            own, ours = plain(ids).logits, demo(input_ids=ids).logits
        assert torch.equal(own, ours[..., : own.shape[-1]])
        assert int(ours.argmax(-1).max()) < own.shape[-1]  # an added token never wins
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    answer = demo.generate(ids, max_new_tokens=4, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])


def test_a_half_removed_model_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path))
    folder = demo_model.folder()
    folder.mkdir(parents=True)
    shutil.copyfile(demo_model.shipped_weights() / "config.json", folder / "config.json")
    assert not demo_model.is_built()
