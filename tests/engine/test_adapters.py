"""Adapters over the tiny model: what they answer, and that the base does not notice."""

import hashlib
import json
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters import adapted, save_adapter
from tests.pictures import encoded
from tests.tiny import build_tiny
from vlmchat.chat.messages import Message, user_message
from vlmchat.engine.adapters import base_of, check_base, wear
from vlmchat.engine.generate import generate
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.views import view_of
from vlmchat.errors import ModelError
from vlmchat.finetune.job import BaseModelRef
from vlmchat.media.images import media_from_bytes
from vlmchat.models.progress import ignore_progress
from vlmchat.models.resolve import ModelFolder

KINDS = ("lora", "dora", "rslora")


def load(model: Path, **options: Any) -> LoadedModel:
    return load_model(LoadOptions(str(model), **options), ignore_progress)


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> LoadedModel:
    # In float32, so that no two tokens are as good as equal.
    return load(tiny_model, quant="none", dtype="float32", native="off")


@pytest.fixture(scope="module")
def whole(tiny_model: Path) -> LoadedModel:
    return load(tiny_model, quant="none", dtype="float32", library=True)


@pytest.fixture(scope="module")
def made(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return an adapter of each kind."""
    folder = tmp_path_factory.mktemp("adapters")
    kinds = (*KINDS, "prompt", "ptuning")
    return {kind: save_adapter(tiny_model, folder / kind, kind) for kind in kinds}


def question(pictures: bool = True) -> list[Message]:
    sizes = ((64, 48), (70, 90)) if pictures else ()
    media = tuple(media_from_bytes(encoded("PNG", *size), "p") for size in sizes)
    return [user_message("What is in the pictures?", media)]


def answer(loaded: LoadedModel, pictures: bool = True, **params: Any) -> str:
    pieces: list[str] = []
    prompt = loaded.builder.build(question(pictures))
    generate(loaded, prompt, SamplingParams(max_tokens=20, **params), Event(), pieces.append)
    return "".join(pieces)


def fingerprint(model: torch.nn.Module) -> str:
    """Return the hash of everything that decides what a model computes."""
    digest = hashlib.sha256(repr(model).encode())
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {value.dtype} {value.requires_grad}".encode())
        if not value.is_meta:  # a place that is empty
            digest.update(value.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def peft_says(tiny_model: Path, adapter: Path, loaded: LoadedModel, pictures: bool) -> str:
    """Return what PEFT's and transformers' own `generate` answer with the saved adapter."""
    from peft import PeftModel

    from tests.adapters import bare

    tuned = PeftModel.from_pretrained(bare(tiny_model, "float32"), str(adapter)).eval()
    prompt = loaded.base.builder.build(question(pictures)) if loaded.base else None
    assert prompt is not None
    inputs: dict[str, Any] = {"input_ids": torch.tensor([prompt.ids])}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if pictures:
        tiles = torch.cat([loaded.tile_maker.tiles(image) for image in prompt.images])
        inputs["pixel_values"] = tiles[None]
    with torch.inference_mode():
        ids = tuned.generate(**inputs, max_new_tokens=20, do_sample=False)[0].tolist()
    given = ids[len(prompt.ids) :] if ids[: len(prompt.ids)] == prompt.ids else ids
    text = loaded.tokenizer.decode(given, skip_special_tokens=True)
    return str(text).lstrip()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["base", "whole"])
def test_an_adapter_answers_as_with_peft(
    kind: str, way: str, made: dict[str, Path], tiny_model: Path, request: pytest.FixtureRequest
) -> None:
    base: LoadedModel = request.getfixturevalue(way)
    tuned = wear(base, kind, made[kind])
    assert tuned.text.way == base.text.way  # never a slower one
    said = answer(tuned)
    assert len(said) > 10 and said != answer(base)
    assert peft_says(tiny_model, made[kind], tuned, pictures=True).startswith(said)
    digest = hashlib.sha256((made[kind] / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert tuned.adapter == tuned.provenance()["adapter"] == f"{kind}@{digest[:12]}"
    assert tuned.base is base and tuned.names == base.names


@pytest.mark.parametrize("kind", ["prompt", "ptuning"])
@pytest.mark.parametrize("pictures", [True, False])
def test_a_learned_prompt_answers_as_with_peft(
    kind: str, pictures: bool, base: LoadedModel, made: dict[str, Path], tiny_model: Path
) -> None:
    tuned = wear(base, kind, made[kind])
    said = answer(tuned, pictures)
    assert len(said) > 10 and said != answer(base, pictures)
    assert peft_says(tiny_model, made[kind], tuned, pictures).startswith(said)


def test_a_learned_prompt_counts_and_is_not_sampled_from(
    base: LoadedModel, made: dict[str, Path]
) -> None:
    tuned = wear(base, "prompt", made["prompt"])
    plain, longer = (one.builder.build(question(pictures=False)) for one in (base, tuned))
    assert longer.ids[5:] == plain.ids and longer.virtual == 5 and plain.virtual == 0
    assert min(longer.ids[:5]) >= base.model.get_input_embeddings().weight.shape[0]
    assert answer(tuned, pictures=False, repetition_penalty=1.3)


def test_the_base_does_not_notice(base: LoadedModel, made: dict[str, Path]) -> None:
    before, said = fingerprint(base.model), answer(base)
    tuned = [wear(base, kind, path) for kind, path in made.items()]
    answers = [answer(one) for one in tuned]
    shared = tuned[0].model.model.vision_model.parameters()
    assert {it.data_ptr() for it in shared} <= {it.data_ptr() for it in base.model.parameters()}
    assert len({said, *answers}) == 1 + len(made)
    assert fingerprint(base.model) == before and answer(base) == said
    assert [answer(one) for one in reversed(tuned)] == answers[::-1]  # and none the others
    del tuned
    assert fingerprint(base.model) == before and answer(base) == said
    assert not hasattr(base.model, "peft_config")


def test_vision_layers_change_what_is_seen(
    base: LoadedModel, tiny_model: Path, tmp_path: Path
) -> None:
    pattern = r".*(vision_model.*(q|v)_proj|connector.*proj)"
    path = save_adapter(tiny_model, tmp_path / "eyes", target_modules=pattern)
    tuned = wear(base, "eyes", path)
    assert tuned.text is base.text
    assert not [it for it in tuned.model.modules() if "lora" in type(it).__module__]
    assert answer(tuned) != answer(base)
    assert answer(tuned, pictures=False) == answer(base, pictures=False)
    assert peft_says(tiny_model, path, tuned, pictures=True).startswith(answer(tuned))


def test_whole_modules_are_saved_with_an_adapter(
    base: LoadedModel, tiny_model: Path, tmp_path: Path
) -> None:
    tuned = adapted(tiny_model, modules_to_save=["lm_head"])
    with torch.no_grad():
        head = tuned.get_base_model().lm_head.modules_to_save["default"].weight
        head.add_(torch.randn_like(head) * 0.2)
    tuned.save_pretrained(str(tmp_path / "head"))
    before = fingerprint(base.model)
    dressed = wear(base, "head", tmp_path / "head")
    assert peft_says(tiny_model, tmp_path / "head", dressed, True).startswith(answer(dressed))
    assert fingerprint(base.model) == before


@pytest.mark.parametrize("library", [False, True])
@pytest.mark.parametrize("quant", ["4bit", "8bit"])
def test_over_a_quantized_model(
    quant: str, library: bool, tiny_model: Path, made: dict[str, Path]
) -> None:
    base = load(tiny_model, quant=quant, native="off", library=library)
    said = answer(base)
    for kind in ("lora", "prompt"):
        assert answer(wear(base, kind, made[kind])) not in ("", said)
    assert answer(base) == said


def test_other_threads_notice_nothing_of_an_adapter_that_comes(
    base: LoadedModel, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library's loader changes torch's default dtype, which all threads share.
    changed: list[torch.dtype] = []
    monkeypatch.setattr(torch, "set_default_dtype", changed.append)
    worn = wear(base, "lora", made["lora"])
    assert not changed
    assert not len(worn.model.model.text_model.layers)


def test_a_view_is_its_own(base: LoadedModel) -> None:
    view = view_of(base.model)
    assert type(view) is type(base.model)
    ours, theirs = dict(view.named_parameters()), dict(base.model.named_parameters())
    assert ours.keys() == theirs.keys() and all(ours[name] is theirs[name] for name in ours)
    apart = zip(view.modules(), base.model.modules(), strict=True)
    assert all(one is not other for one, other in apart)
    view.register_forward_hook(lambda *_: None)
    view.lm_head = torch.nn.Identity()
    assert not base.model._forward_hooks and isinstance(base.model.lm_head, torch.nn.Linear)


# What is refused ----------------------------------------------------------------------------------


def test_adapters_of_other_shapes_are_refused(
    base: LoadedModel, made: dict[str, Path], tmp_path: Path
) -> None:
    before = fingerprint(base.model)
    deeper = build_tiny(tmp_path / "deeper", layers=3)
    with pytest.raises(ModelError, match=r"no text_model\.layers\.2\.\S+\): it was made for an"):
        wear(base, "deep", save_adapter(deeper, tmp_path / "deep"))
    with pytest.raises(ModelError, match=r"says nothing about text_model\.layers\.2"):
        wear(load(deeper), "flat", made["lora"])
    wider = build_tiny(tmp_path / "wider", intermediate=192)
    with pytest.raises(
        ModelError, match=r"down_proj is \[4, 192\] there, and would be \[4, 128\] "
    ):
        wear(base, "wide", save_adapter(wider, tmp_path / "wide"))
    with pytest.raises(ModelError, match="does not fit"):
        wear(base, "x", save_adapter(wider, tmp_path / "dora", "dora"))
    with pytest.raises(ModelError, match="its vectors have 32 numbers, the model's 64"):
        folder = tmp_path / "prompt"
        folder.mkdir()
        (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
        save_file({"prompt_embeddings": torch.ones(3, 32)}, folder / "adapter_model.safetensors")
        wear(base, "narrow", folder)
    assert fingerprint(base.model) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "of the kind PREFIX_TUNING, which vlmchat does not run"),
        ({"init_lora_weights": "pissa"}, "begun with pissa, which changes the base"),
        ({"target_modules": "nowhere"}, "does not fit this model"),
        ({"peft_type": "NEWEST"}, "does not fit this model"),
    ],
)
def test_what_cannot_be_run_is_refused(
    changes: dict[str, Any], sentence: str, base: LoadedModel, made: dict[str, Path], tmp_path: Path
) -> None:
    config = json.loads((made["lora"] / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    weights = load_file(made["lora"] / "adapter_model.safetensors")
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=sentence):
        wear(base, "odd", tmp_path)


def served(identity: str, revision: str = "") -> ModelFolder:
    return ModelFolder(Path("/m"), identity, "The Model", revision, False, "")


@pytest.mark.parametrize(
    ("made_for", "there"),
    [
        ("smolvlm2-256m", "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"),
        ("huggingfacetb/smolvlm2-256m-video-instruct", "smolvlm2-256m"),
        ("/cache/models--org--vlm/snapshots/abc", "org/vlm"),
        ("/somebody/elses/folder", "org/vlm"),
        ("org/vlm", "/a/folder/here"),
        ("", "org/vlm"),
    ],
)
def test_the_same_base_in_other_words(made_for: str, there: str) -> None:
    assert check_base(BaseModelRef(made_for, "", ""), served(there), "x") == ""


def test_another_base_is_refused_and_another_revision_told(tmp_path: Path) -> None:
    old = BaseModelRef("org/vlm", "1111111111111111", "")
    with pytest.raises(ModelError, match="was made for org/vlm, and this is The Model"):
        check_base(old, served("smolvlm2-256m"), "x")
    said = check_base(old, served("org/vlm", "2222222222222222"), "x")
    assert "made on revision 111111111111 of this model, and this is 222222222222" in said
    assert base_of(tmp_path) == BaseModelRef("", "", "")


def test_the_remark_reaches_a_person(tiny_model: Path, tmp_path: Path) -> None:
    path = save_adapter(tiny_model, tmp_path / "a")
    config = json.loads((path / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": "org/vlm", "revision": "one"}
    (path / "adapter_config.json").write_text(json.dumps(config))
    tuned = load(tiny_model, adapter=path)
    assert tuned.remark == "" and tuned.adapter.startswith("a@")


def test_what_the_shelf_gives_away_loads_with_peft_alone(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel

    from tests.adapters import bare
    from vlmchat.finetune import shelf

    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "home"))
    kept = save_adapter(tiny_model, shelf.adapters_dir() / "birds", "dora")
    shelf.note_evaluation("birds", {"exact match": 1.0})  # which writes a card
    folder = shelf.export("birds", tmp_path / "out")
    ids = torch.arange(60, 90)[None]
    with torch.inference_mode():
        model = PeftModel.from_pretrained(bare(tiny_model, "float32"), str(folder)).eval()
        theirs = model(input_ids=ids).logits
        base = load(tiny_model, quant="none", dtype="float32", library=True)
        ours = wear(base, "birds", kept).model(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs)
