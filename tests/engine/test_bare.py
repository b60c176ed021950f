"""A model's parts without the library's code for them."""

import json
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig
from transformers.models.idefics3.configuration_idefics3 import Idefics3Config
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from vlmchat.engine.bare import Bare, load_bare
from vlmchat.engine.config import model_config
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.pixels import PixelSettings
from vlmchat.engine.text.weights import shape_of
from vlmchat.engine.views import changeable

# As the Hub's files of SmolVLM say it: what the library's classes know is left out, and the
# rotary embedding is written as it was before transformers 5.
HUB: dict[str, Any] = {
    "model_type": "smolvlm",
    "image_token_id": 49190,
    "scale_factor": 4,
    "text_config": {
        "model_type": "llama",
        "head_dim": 64,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "max_position_embeddings": 8192,
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100000,
        "vocab_size": 49280,
    },
    "vision_config": {
        "hidden_size": 768,
        "image_size": 512,
        "num_attention_heads": 12,
        "patch_size": 16,
    },
}


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    return found


def load(folder: Path, dtype: str = "float32") -> LoadedModel:
    return load_model(LoadOptions(str(folder), "none", "cpu", dtype=dtype), lambda _: None)


def check_config(config: dict[str, Any]) -> None:
    kind: Any = Idefics3Config if config["model_type"] == "idefics3" else SmolVLMConfig
    theirs, ours = kind.from_dict(deepcopy(config)), model_config(config)
    assert ours is not None
    for part in ("text_config", "vision_config"):
        mine, known = getattr(ours, part), getattr(theirs, part)
        names = [name for name in mine.__slots__ if name != "rope_theta"]
        assert [getattr(mine, it) for it in names] == [getattr(known, it) for it in names]
    text = theirs.text_config
    assert ours.text_config.rope_theta == text.rope_parameters["rope_theta"]
    assert text.rope_parameters["rope_type"] == "default"
    assert (text.hidden_act, text.attention_bias, text.mlp_bias) == ("silu", False, False)
    for name in ("model_type", "scale_factor", "image_token_id"):
        assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_idefics3"])
def test_configurations_are_the_librarys(kind: str, request: pytest.FixtureRequest) -> None:
    check_config(read(request.getfixturevalue(kind)))


def test_what_files_of_the_hub_omit_is_as_in_the_library() -> None:
    check_config(HUB)
    fewer = deepcopy(HUB)
    for name in ("head_dim", "num_key_value_heads", "rope_theta"):
        del fewer["text_config"][name]
    del fewer["scale_factor"], fewer["image_token_id"]
    check_config({**fewer, "model_type": "idefics3"})


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("text_config", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        ("text_config", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}),
        ("text_config", {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
        ("text_config", {"model_type": "mistral"}),
        ("text_config", {"hidden_act": "gelu"}),
        ("text_config", {"mlp_bias": True}),
        ("text_config", {"hidden_size": None}),
        ("text_config", {"rms_norm_eps": None}),
        ("text_config", {"quantization_config": {"quant_method": "bitsandbytes"}}),
        ("vision_config", {"hidden_act": "quick_gelu"}),
        ("vision_config", {"patch_size": [16, 16]}),
    ],
)
def test_what_is_not_known_is_left_to_the_library(part: str, changes: dict[str, Any]) -> None:
    assert model_config({**HUB, part: {**HUB[part], **changes}}) is None


def test_pixels_are_prepared_as_the_library_does_by_itself() -> None:
    for kind in (SmolVLMImageProcessorPil, Idefics3ImageProcessorPil):
        for given in ({}, {"image_mean": [0.4, 0.5, 0.6], "resample": 3, "do_rescale": False}):
            theirs, ours = kind(**given), PixelSettings.of({"image_std": None, **given})
            for name in PixelSettings.__slots__:
                mine, known = getattr(ours, name), getattr(theirs, name)
                assert (list(mine) if name.startswith("image") else mine) == (
                    list(known) if name.startswith("image") else known
                )


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_idefics3"])
def test_the_library_goes_on_with_the_same_weights(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model = load(request.getfixturevalue(kind), "bfloat16").model
    assert isinstance(model, Bare) and not model.training
    library = changeable(model)
    assert torch.get_default_dtype() == torch.float32
    assert type(library).__module__.startswith("transformers.models.")
    assert library.dtype == model.dtype == torch.bfloat16 and not library.training
    ours = dict(model.named_parameters())
    theirs = dict(library.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(theirs[name] is it for name, it in ours.items())
    assert not any(it.requires_grad for it in theirs.values())
    assert [name for name, it in theirs.items() if it.is_meta] == ["lm_head.weight"]
    assert not any(it.is_meta for it in library.buffers())
    assert shape_of(library) == shape_of(model)
    assert library.config.get_text_config().num_hidden_layers == shape_of(model).layers


def test_the_rotary_embedding_is_the_librarys() -> None:
    theirs = LlamaRotaryEmbedding(SmolVLMConfig.from_dict(deepcopy(HUB)).text_config)
    small = {**HUB, "text_config": {**HUB["text_config"], "vocab_size": 8, "num_hidden_layers": 1}}
    known = model_config(small)
    assert known is not None
    text = Bare(known, GenerationConfig(), 8, Path()).model.text_model
    positions, like = torch.arange(8192)[None], torch.empty(0)
    for mine, expected in zip(
        text.rotary_emb(like, positions), theirs(like, positions), strict=True
    ):
        assert torch.equal(mine, expected)


def test_files_that_say_less_are_left_to_the_library(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "less"
    shutil.copytree(tiny_model, folder)
    config = model_config(read(folder))
    assert config is not None and load_bare(folder, config, torch.float32) is not None
    assert load_bare(folder, config, torch.float16) is None
    (folder / "generation_config.json").unlink()
    assert load_bare(folder, config, torch.float32) is None
    loaded = load(folder)
    assert not isinstance(loaded.model, Bare) and loaded.end_ids >= load(tiny_model).end_ids


def test_an_answer_needs_no_compiler(tiny_model: Path) -> None:
    """Importing the library's modules takes most of the time in which an engine starts."""
    heavy = ("torch._dynamo", "torch.distributed.tensor", "transformers.modeling_utils", "peft")
    code = f"""
import sys, threading
from vlmchat.chat.messages import user_message
from vlmchat.engine.generate import generate
from vlmchat.engine.loading import LoadOptions, load_model
from vlmchat.engine.sampling import SamplingParams
from vlmchat.media.images import media_from_bytes
from tests.pictures import encoded
loaded = load_model(LoadOptions({str(tiny_model)!r}, "8bit", "cpu"), lambda _: None)
picture = media_from_bytes(encoded(width=64, height=64), "p.png")
prompt = loaded.builder.build([user_message("What is it?", (picture,), "low")])
for params in (SamplingParams(max_tokens=3), SamplingParams(max_tokens=3, temperature=0.7)):
    generate(loaded, prompt, params, threading.Event(), lambda text: None)
print(sorted(set({heavy!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
