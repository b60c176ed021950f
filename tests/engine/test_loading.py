"""Bringing models up: both architectures, every quantization, adapters, and what is refused."""

import shutil
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.pictures import encoded
from tests.tiny import build_tiny
from vlmchat.chat.messages import Message, user_message
from vlmchat.engine.generate import generate
from vlmchat.engine.hardware import find_hardware
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.views import changeable
from vlmchat.engine.vision import encode_tiles
from vlmchat.errors import ModelError
from vlmchat.media.images import media_from_bytes
from vlmchat.models.footprint import Footprint, choose_quantization
from vlmchat.models.progress import Progress, ignore_progress


def load(model: Path | str, **options: Any) -> LoadedModel:
    return load_model(LoadOptions(str(model), **options), ignore_progress)


def question() -> list[Message]:
    pictures = tuple(media_from_bytes(encoded("PNG", *size), "p") for size in ((64, 48), (70, 90)))
    return [user_message("What is in the pictures?", pictures)]


def answer(loaded: LoadedModel, tokens: int = 20) -> str:
    pieces: list[str] = []
    prompt = loaded.builder.build(question())
    generate(loaded, prompt, SamplingParams(max_tokens=tokens), Event(), pieces.append)
    return "".join(pieces)


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_idefics3"])
def test_greedy_answer_is_the_librarys(kind: str, request: pytest.FixtureRequest) -> None:
    loaded = load(request.getfixturevalue(kind), quant="none", dtype="float32", native="off")
    library = load(request.getfixturevalue(kind), quant="none", dtype="float32", library=True)
    assert loaded.text.way == "portable float32" and library.text.way == "transformers float32"
    prompt = loaded.builder.build(question())
    pixels = torch.cat([loaded.tile_maker.tiles(image) for image in prompt.images])
    with torch.inference_mode():
        ids = library.model.generate(
            input_ids=torch.tensor([prompt.ids]),
            attention_mask=torch.ones(1, len(prompt.ids), dtype=torch.long),
            pixel_values=pixels[None],
            max_new_tokens=20,
            do_sample=False,
        )
    expected = loaded.tokenizer.decode(ids[0, len(prompt.ids) :], skip_special_tokens=True)
    ours = answer(loaded)
    assert len(ours) > 10 and expected.lstrip().startswith(ours)


def test_image_features_are_the_librarys(tiny_model: Path) -> None:
    loaded = load(tiny_model)
    prompt = loaded.builder.build(question())
    pixels = [loaded.tile_maker.tiles(image) for image in prompt.images]
    with torch.inference_mode():
        ours = encode_tiles(loaded.model, pixels, lambda: None).pooler_output
        library = changeable(loaded.model)
        whole = library.get_image_features(pixel_values=torch.cat(pixels)[None]).pooler_output
    theirs = whole if isinstance(whole, torch.Tensor) else torch.cat(list(whole))
    torch.testing.assert_close(ours, theirs.reshape(ours.shape), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("quant", ["4bit", "8bit"])
def test_quantized_models_answer(tiny_model: Path, quant: str) -> None:
    stages: list[Progress] = []
    options = LoadOptions(str(tiny_model), quant=quant, native="off")
    loaded = load_model(options, stages.append)
    assert loaded.quantization == quant and stages[-1].stage == "quantizing"
    assert loaded.text.way == f"portable {quant[0]}-bit"
    assert loaded.meta()["way"] == f"portable {quant[0]}-bit. The native decode step is turned off."
    layers = loaded.model.model.text_model.layers
    assert not len(layers) and loaded.model.lm_head.weight.is_meta  # nothing is kept twice
    assert answer(loaded)


def test_auto_is_8_bits_where_the_engine_packs_them_itself(tiny_model: Path) -> None:
    loaded = load(tiny_model, device="cpu")
    assert loaded.quantization == loaded.provenance()["quantization"] == "8bit"


@pytest.mark.parametrize("quant", ["4bit", "8bit"])
def test_other_text_models_are_quantized_by_bitsandbytes(
    tiny_model: Path, quant: str, tmp_path: Path
) -> None:
    import bitsandbytes

    other = shutil.copytree(tiny_model, tmp_path / "other")
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"silu"', '"relu"'))
    loaded = load(other, quant=quant)
    assert loaded.text.way.startswith("transformers")
    kinds = (bitsandbytes.nn.Linear4bit, bitsandbytes.nn.Linear8bitLt)
    quantized = [name for name, m in loaded.model.named_modules() if isinstance(m, kinds)]
    assert len(quantized) == 2 * 7
    assert all("text_model" in name for name in quantized)
    assert answer(loaded)


def test_shapes_that_crash_the_kernel_are_left_alone(tmp_path: Path) -> None:
    """4-bit layers must have outputs in multiples of 32 and inputs in multiples of 64."""
    import bitsandbytes

    model = build_tiny(tmp_path / "odd", intermediate=144)
    loaded = load(model, quant="4bit", device="cpu", library=True)
    names = {
        name.rpartition(".")[2]
        for name, module in loaded.model.named_modules()
        if isinstance(module, bitsandbytes.nn.Linear4bit)
    }
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert answer(loaded)


def test_layers_by_other_names_are_left_to_the_library(tiny_model: Path, tmp_path: Path) -> None:
    """Older files name the decoder's parts otherwise; the library knows how."""
    from vlmchat.engine import own

    loaded = load(tiny_model, quant="none", dtype="float32", native="off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "has_layers", lambda *_: False)
        again = load(tiny_model, quant="none", dtype="float32", native="off")
    assert answer(again) == answer(loaded)
    assert not len(again.model.model.text_model.layers)


def test_adapter_changes_the_answer(tiny_model: Path, tmp_path: Path) -> None:
    base = load(tiny_model)
    plain = answer(base)
    whole = load(tiny_model, library=True)
    torch.manual_seed(0)
    config = LoraConfig(
        r=4, target_modules=r".*text_model.*(q|v)_proj", init_lora_weights=False, lora_alpha=32
    )
    get_peft_model(whole.model, config).save_pretrained(str(tmp_path / "mine"))
    tuned = load(tiny_model, adapter=tmp_path / "mine")
    assert tuned.adapter.startswith("mine@") and len(tuned.adapter) == len("mine@") + 12
    assert answer(tuned) != plain


def test_bad_adapters_are_refused(tiny_model: Path, tiny_idefics3: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter folder"):
        load(tiny_model, adapter=tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        load(tiny_model, adapter=tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="says no “peft_type”"):
        load(tiny_model, adapter=tmp_path)


def test_model_in_the_hubs_cache(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder laid out as the Hub's client leaves it, with the Hub out of reach."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = tmp_path / "hub" / "models--somebody--tiny-vlm"
    shutil.copytree(tiny_model, root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for spec in ("somebody/tiny-vlm", f"somebody/tiny-vlm@{commit}"):
        loaded = load(spec)
        assert (loaded.id, loaded.folder.revision) == ("somebody/tiny-vlm", commit)
    with pytest.raises(ModelError, match="somebody/other"):
        load("somebody/other")


def test_models_without_a_chat_template_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        load(tmp_path / "base")


def test_weights_that_do_not_belong_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(tiny_model, odd)
    config = (odd / "config.json").read_text()
    (odd / "config.json").write_text(
        config.replace('"intermediate_size": 128', '"intermediate_size": 192')
    )
    with pytest.raises(ModelError, match=r"do not load"):
        load(odd)


def test_weights_that_are_not_complete_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    part = tmp_path / "part"
    shutil.copytree(tiny_model, part)
    tensors = load_file(part / "model.safetensors")
    del tensors["model.connector.modality_projection.proj.weight"]
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not complete"):
        load(part)


def test_cuda_where_there_is_none() -> None:
    if torch.cuda.is_available():
        assert find_hardware("auto").device == "cuda"
    else:
        assert find_hardware("auto").device == "cpu"
        with pytest.raises(ModelError, match="no CUDA device"):
            find_hardware("cuda")


def test_what_does_not_fit_is_refused_with_numbers() -> None:
    footprint = Footprint(1_600_000_000, 600_000_000, 98_304)

    def choose(wanted: str, gigabytes: float) -> str:
        return choose_quantization(footprint, wanted, 2, int(gigabytes * 1e9), "Big")

    assert choose("auto", 8) == "none"
    assert choose("auto", 4.5) == "8bit"
    assert choose("auto", 3.3) == "4bit"
    assert choose("4bit", 8) == "4bit"
    assert choose_quantization(footprint, "auto", 2, 8_000_000_000, "Big", packed=True) == "8bit"
    assert choose_quantization(footprint, "none", 2, 8_000_000_000, "Big", packed=True) == "none"
    with pytest.raises(ModelError, match=r"needs 5\.\d+ GB .* 4\.2 GB are free: with --quant 8bit"):
        choose("none", 4.2)
    with pytest.raises(ModelError, match=r"1 GB are free: choose a smaller model"):
        choose("auto", 1)
