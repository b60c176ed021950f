"""Merging: the model that comes out is base and adapter in one, and laid out as the base is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.adapters import adapted, bare, save_adapter
from tests.engine.test_adapters import load
from tests.pictures import encoded
from vlmchat.chat.messages import Message, user_message
from vlmchat.engine.adapters import wear
from vlmchat.engine.loading import LoadedModel
from vlmchat.engine.merging import merge
from vlmchat.errors import ModelError, UsageError
from vlmchat.finetune import merging, shelf
from vlmchat.finetune.job import BaseModelRef
from vlmchat.finetune.shelf import Adapter, AdapterCard
from vlmchat.media.images import media_from_bytes
from vlmchat.models.local import tensors
from vlmchat.models.progress import Progress, ignore_progress

KINDS = ("lora", "dora", "rslora")
SIZES: tuple[tuple[tuple[int, int], ...], ...] = ((), ((64, 48),), ((70, 90), (30, 200)))


def prompts() -> list[list[Message]]:
    asked = ("What is it?", "How many stars are there?", "Compare the pictures.")
    media = [tuple(media_from_bytes(encoded("PNG", *size), "p") for size in one) for one in SIZES]
    return [[user_message(text, some)] for text, some in zip(asked, media, strict=True)]


@torch.inference_mode()
def all_logits(loaded: LoadedModel) -> list[torch.Tensor]:
    """Return the logits behind each token of each prompt, by the library's modules."""
    found = []
    for messages in prompts():
        prompt = loaded.builder.build(messages)
        pixels = [loaded.tile_maker.tiles(image) for image in prompt.images]
        features = None
        if pixels:
            looked_at = loaded.model.get_image_features(pixel_values=torch.cat(pixels)[None])
            features = {"image": looked_at}
        ids = torch.tensor([prompt.ids])
        found.append(loaded.model(input_ids=ids, mm_encoder_outputs=features).logits[0].float())
    return found


@pytest.fixture(scope="module")
def precise(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny model with weights in float32 that bfloat16 does not hold."""
    folder = tmp_path_factory.mktemp("precise") / "model"
    shutil.copytree(tiny_model, folder)
    model = bare(tiny_model, "float32")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 1e-4)
    model.save_pretrained(folder)
    return folder


def merged(base: Path, adapter: Path, out: Path) -> Path:
    out.mkdir()
    merge(base, adapter, out, ignore_progress)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_equal_in_float32(kind: str, precise: Path, tmp_path: Path) -> None:
    pattern = r".*(text_model.*(q|v|o|gate|down)_proj|vision_model.*(q|v)_proj|connector.*proj)"
    adapter = save_adapter(precise, tmp_path / "a", kind, target_modules=pattern)
    out = merged(precise, adapter, tmp_path / "out")
    base = load(precise, dtype="float32", library=True)
    apart, whole = (
        all_logits(wear(base, "a", adapter)),
        all_logits(load(out, dtype="float32", library=True)),
    )
    for one, other, plain in zip(apart, whole, all_logits(base), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        assert (one - plain).abs().max() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_near_in_bfloat16_and_laid_out_as_the_base(
    kind: str, tiny_model: Path, tmp_path: Path
) -> None:
    adapter = save_adapter(tiny_model, tmp_path / "a", kind)
    out = merged(tiny_model, adapter, tmp_path / "out")
    base = load(tiny_model, dtype="bfloat16", library=True)
    apart, whole = (
        all_logits(wear(base, "a", adapter)),
        all_logits(load(out, dtype="bfloat16", library=True)),
    )
    for one, other, plain in zip(apart, whole, all_logits(base), strict=True):
        scale = one.abs().max()
        assert (one - other).abs().max() < 0.1 * scale < (one - plain).abs().max()
    # What loads the base by its files (transformers, vLLM) finds the same names and shapes here.
    assert tensors(out) == tensors(tiny_model)
    before = load_file(tiny_model / "model.safetensors")
    after = load_file(out / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if _tuned(name)}
    names = {file.name for file in tiny_model.iterdir()}
    assert {file.name for file in out.iterdir()} == names
    for name in names - {"model.safetensors"}:
        assert (out / name).read_bytes() == (tiny_model / name).read_bytes()


def _tuned(name: str) -> bool:
    projections = ("q_proj.weight", "v_proj.weight", "down_proj.weight")
    return "text_model" in name and name.endswith(projections)


def test_transformers_loads_it(tiny_model: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tiny_model, tmp_path / "a")
    out = merged(tiny_model, adapter, tmp_path / "out")
    ids = torch.arange(60, 120)[None]
    with torch.inference_mode():
        theirs = bare(out, "float32")(input_ids=ids).logits
        from peft import PeftModel

        tuned = PeftModel.from_pretrained(bare(tiny_model, "float32"), str(adapter))
        ours = tuned(input_ids=ids).logits
    assert (theirs - ours).abs().max() < 0.1 * ours.abs().max()


def test_whole_modules_and_shards(tiny_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    (base / "model.safetensors").unlink()
    bare(tiny_model).save_pretrained(base, max_shard_size="100KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    tuned = adapted(base, modules_to_save=["lm_head"])
    with torch.no_grad():
        tuned.get_base_model().lm_head.modules_to_save["default"].weight.add_(0.1)
    tuned.save_pretrained(str(tmp_path / "a"))
    out = merged(base, tmp_path / "a", tmp_path / "out")
    dressed = wear(load(base, dtype="float32", library=True), "a", tmp_path / "a")
    assert tensors(out) == tensors(base)
    apart, whole = all_logits(dressed), all_logits(load(out, dtype="float32", library=True))
    for one, other in zip(apart, whole, strict=True):
        assert (one - other).abs().max() < 0.1 * one.abs().max()


# The process --------------------------------------------------------------------------------------


def on_shelf(base: Path, name: str, kind: str = "lora") -> Adapter:
    folder = save_adapter(base, shelf.adapters_dir() / name, kind)
    ref = BaseModelRef(str(base), "", str(base))
    return Adapter(name, folder, AdapterCard(ref))


@pytest.mark.slow
def test_the_process_says_how_near_it_is(tiny_model: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    adapter = on_shelf(tiny_model, "birds")
    target = tmp_path / "models" / "birds"
    found = merging.merge(adapter, target, progress=told.append)
    assert found.folder == target and 0 < found.largest < 0.1 * found.scale
    assert (
        found.dtype == "float32" and "differ from base and adapter by at most" in found.sentence()
    )
    assert any("Comparing" in step.text for step in told)
    assert [file.name for file in target.parent.iterdir()] == ["birds"]
    assert load(target).adapter == ""
    with pytest.raises(UsageError, match="exists already"):
        merging.merge(adapter, target)


def test_refused_before_anything_heavy_begins(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "out"
    prompt = on_shelf(tiny_model, "prompt", "prompt")
    with pytest.raises(ModelError, match="is a learned prompt, which changes no weights"):
        merging.merge(prompt, target)
    nameless = replace(on_shelf(tiny_model, "birds"), card=AdapterCard(BaseModelRef("", "", "")))
    with pytest.raises(UsageError, match="names no base: add --base MODEL"):
        merging.merge(nameless, target)
    assert not target.parent.exists()


@pytest.mark.slow
def test_what_fails_leaves_nothing(tiny_model: Path, tiny_idefics3: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "out"
    birds = on_shelf(tiny_model, "birds")
    config = json.loads((birds.folder / "adapter_config.json").read_text())
    config["r"] = 8
    (birds.folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not fit this model"):
        merging.merge(birds, target, base=str(tiny_idefics3))
    with pytest.raises(ModelError, match=r"the reason is in .*merge\.log"):
        merging.merge(birds, target, command=("false",))

    def stop(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merging.merge(birds, target, progress=stop)
    assert not list((tmp_path / "models").iterdir())
