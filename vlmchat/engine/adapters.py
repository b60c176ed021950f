"""Adapters over a loaded model, several at once, without touching it.

An adapter is laid over a *view* of the model: its modules are new objects, its weights are the
model's own. PEFT puts its layers into the view. So the base stays what it is, bit for bit, an
adapter can be loaded while an answer is being made, and whoever answers with one keeps it for as
long as the answer takes, whatever is unloaded meanwhile.

Where the text model runs in our own ways its dense layers are gone: they are read again from the
files, the adapter is merged into what it changes, and the result is packed as the base was.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vlmchat.engine.own import Embedding
from vlmchat.engine.text.choosing import OwnText, modules_text
from vlmchat.engine.text.files import has_layers
from vlmchat.engine.text.model import TextModel
from vlmchat.engine.text.weights import ModelWeights, TextWeights
from vlmchat.engine.views import changeable, view_of, with_layers
from vlmchat.engine.weights import load_weights, strip
from vlmchat.errors import ModelError, VlmchatError
from vlmchat.finetune.job import BaseModelRef
from vlmchat.finetune.shelf import DIGITS, read_folder
from vlmchat.models.adapter import CONFIG, OFF, PROMPTS, WEIGHTS, check_adapter
from vlmchat.models.catalogue import lookup
from vlmchat.models.resolve import ModelFolder
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

_TEXT = re.compile(r"\b(text_model|lm_head)\b")
_OTHER_PROMPTS = ("PREFIX_TUNING", "MULTITASK_PROMPT_TUNING", "CPT", "ADAPTION_PROMPT", "CARTRIDGE")
# Such layers begin by changing the weights of the base; what was learned fits only what is left.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")
_CACHED = re.compile(r"models--(.+?)--([^/\\]+)[/\\]snapshots[/\\]")
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
# What PyTorch says of weights that are to be put where others were.
_MISMATCH = re.compile(r"size mismatch for (\S+): .*?Size\((\[.*?\])\).*?Size\((\[.*?\])\)", re.S)


def wear(base: "LoadedModel", name: str, path: Path) -> "LoadedModel":
    """Return `base` with the adapter at `path` laid over it; `base` itself stays as it is.

    Safe while `base` answers in another thread.

    Args:
        base: without an adapter.
        name: what the adapter is called here.
        path: its folder, as PEFT saves it.

    Raises:
        ModelError: it is none, is damaged, or was made for another model; one sentence.
    """
    shown = visible_line(name)
    if base.adapter == OFF:
        raise ModelError(
            f"The adapter “{shown}” was trained over the model with its own adapter, which is off "
            "here: start the engine without --adapter off."
        )
    check_adapter(path)
    remark = check_base(base_of(path), base.folder, shown)
    config = json.loads((path / CONFIG).read_text("utf-8"))
    _check_kind(config, shown)
    try:
        data = (path / WEIGHTS).read_bytes()
        weights = load_file(path / WEIGHTS, device=str(base.model.device))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"The weights of the adapter “{shown}” cannot be read.") from error
    builder = base.builder
    if config["peft_type"] in PROMPTS:
        model = view_of(base.model)
        builder = builder.behind(_lay_prompt(model, weights, shown))
        text = _behind(base.text, model)
    elif not len(base.model.model.text_model.layers):
        model, text, slow = _merged(base, _Adapter(path, weights, shown))
        remark = " ".join(filter(None, (remark, slow)))
    else:
        model = view_of(base.model)
        _lay_layers(model, path, weights, shown)
        text = modules_text(model)
    digest = hashlib.sha256(data).hexdigest()[:DIGITS]
    return replace(
        base,
        model=model.eval(),
        text=text,
        builder=builder,
        adapter=f"{name}@{digest}",
        base=base,
        remark=remark,
        plain=None,
    )


# Which base it was made for -----------------------------------------------------------------------


def base_of(path: Path) -> BaseModelRef:
    """Return the model that an adapter's folder names; empty where it says nothing."""
    try:
        return read_folder(path).card.base
    except VlmchatError:
        return BaseModelRef("", "", "")


def check_base(made_for: BaseModelRef, served: ModelFolder, name: str) -> str:
    """Return a sentence if the adapter was made for another revision of the model, else nothing.

    A folder's name says nothing about what is in it: then the shapes decide.

    Args:
        made_for: what the adapter names.
        served: the model that it is to be laid over.
        name: of the adapter, for the sentence.

    Raises:
        ModelError: it names another model.
    """
    wanted, there = _identity(made_for.id), _identity(served.id)
    if wanted and there and wanted != there:
        raise ModelError(
            f"The adapter “{name}” was made for {visible_line(made_for.id)}, and this is "
            f"{visible_line(served.title)}: load that model, or another adapter."
        )
    old, new = made_for.revision, served.revision
    if wanted and there and old and new and old != new:
        return (
            f"The adapter “{name}” was made on revision {visible_line(old[:DIGITS])} of this "
            f"model, and this is {visible_line(new[:DIGITS])}: it may answer differently."
        )
    return ""


def _identity(spec: str) -> str:
    """Return in one spelling which model of the catalogue or the Hub is meant; empty if unknown."""
    name = spec.partition("@")[0].strip()
    if cached := _CACHED.search(spec):
        name = f"{cached.group(1)}/{cached.group(2)}"
    if entry := lookup(name):
        name = entry.hub_id or entry.id
    elif not _HUB_ID.fullmatch(name) or Path(name).is_dir():
        return ""
    return name.lower()


def _check_kind(config: dict[str, Any], name: str) -> None:
    """Refuse what would not be what was learned.

    Raises:
        ModelError: says why.
    """
    kind, begun = config["peft_type"], config.get("init_lora_weights")
    if kind in _OTHER_PROMPTS:
        raise ModelError(
            f"The adapter “{name}” is of the kind {visible_line(str(kind))}, which vlmchat does "
            "not run: use LoRA, DoRA, rsLoRA or prompt tuning."
        )
    if isinstance(begun, str) and begun.startswith(_CHANGES_BASE):
        raise ModelError(
            f"The adapter “{name}” was begun with {visible_line(begun)}, which changes the base: "
            "save it as a plain LoRA with PEFT's path_initial_model_for_weight_conversion."
        )


# Laying it over -----------------------------------------------------------------------------------


def _lay_layers(model: Any, path: Path, weights: dict[str, torch.Tensor], name: str) -> None:  # noqa: ANN401
    """Put the adapter's layers into `model`, a view that nobody else has.

    Raises:
        ModelError: the model has no such layers, or they have other shapes.
    """
    from peft import PeftConfig, PeftModel
    from peft.utils.other import ModulesToSaveWrapper
    from peft.utils.save_and_load import set_peft_model_state_dict

    trained = [(it, it.requires_grad) for it in model.parameters()]
    taken = {id(it) for it in model.parameters() if it.is_meta}  # what is packed elsewhere
    try:
        config = PeftConfig.from_pretrained(str(path))
        config.inference_mode = True
        tuned = PeftModel(model, config, low_cpu_mem_usage=True)
        found = set_peft_model_state_dict(tuned, weights, low_cpu_mem_usage=True)
    except Exception as error:  # PEFT raises what it likes
        raise ModelError(_misfit(name, _short(error))) from error
    finally:
        for parameter, flag in trained:  # they belong to the base, too
            parameter.requires_grad_(flag)
    if found.unexpected_keys:
        raise ModelError(_misfit(name, f"this model has no {_layer(found.unexpected_keys[0])}"))
    empty = [
        key for key, value in model.named_parameters() if value.is_meta and id(value) not in taken
    ]
    if empty:
        raise ModelError(_misfit(name, f"it says nothing about {_layer(empty[0])}"))
    for module in model.modules():  # weights that are assigned come as they were saved
        if isinstance(module, ModulesToSaveWrapper):
            module.modules_to_save.to(model.dtype)
    tuned.base_model._cast_adapter_dtype(adapter_name="default", autocast_adapter_dtype=True)
    del model.peft_config  # PEFT's note that a model has been through its hands


def _layer(key: str) -> str:
    """Return the part of a weight's name that says which layer it is."""
    short = re.sub(r"^(base_model\.)?(model\.)+", "", key)
    return visible_line(re.sub(r"\.(lora_|default|weight|base_layer).*$", "", short))


def _misfit(name: str, why: str) -> str:
    return f"The adapter “{name}” does not fit this model ({why}): it was made for another one."


def _short(error: Exception) -> str:
    text = str(error).strip()
    if found := _MISMATCH.search(text):
        layer, there, here = found.groups()
        return f"{_layer(layer)} is {there} there, and would be {here} here"
    return visible_line(text.split("\n")[0])[:160].rstrip(".") or type(error).__name__


# Merging it in -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Adapter:
    """An adapter of layers: its folder, its weights, and how it is called here."""

    path: Path
    weights: dict[str, torch.Tensor]
    name: str


def _merged(base: "LoadedModel", adapter: _Adapter) -> tuple[Any, TextModel[Any], str]:
    """Return the base's model with the adapter merged in, stripped, and its text model.

    And a sentence, if the adapter cannot be merged, and so is answered with in a slower way.

    Raises:
        ModelError: the adapter does not fit.
    """
    if not any(_TEXT.search(key) for key in adapter.weights):
        seen = changeable(base.model)  # the text model stays the base's
        _lay_layers(seen, adapter.path, adapter.weights, adapter.name)
        merge_layers(seen)
        return seen, base.text, ""
    first = _dense(base, adapter)
    if (left := unmerged(first)) is not None:
        return (
            *(first, modules_text(first)),
            f"The adapter “{adapter.name}” cannot be merged into its base ({_layer(left)}), so it "
            "answers by transformers, which is slower.",
        )

    def source() -> TextWeights:
        # For the first time as it is at hand, later from the files again.
        whole = first if len(first.model.text_model.layers) else _dense(base, adapter)
        return ModelWeights(whole)

    own = OwnText(source, Embedding(first), base.quantization, native=base.native != "off")
    strip(first)
    return first, own, ""


def _dense(base: "LoadedModel", adapter: _Adapter) -> Any:  # noqa: ANN401
    """Return the base's model with dense layers from its files and the adapter merged in.

    Vision tower and connector are views of the base's, where the adapter does not change them.
    """
    folder, dtype = base.folder, base.hardware.dtype
    if has_layers(folder.path, base.model.config.get_text_config()):
        whole = with_layers(base.model, folder.path, dtype)
    else:  # they have other names there, which the library knows
        config = json.loads((folder.path / "config.json").read_text("utf-8"))
        whole = load_weights(folder, config, "none", base.hardware)
        for part in ("vision_model", "connector"):
            setattr(whole.model, part, view_of(getattr(base.model.model, part)))
    _lay_layers(whole, adapter.path, adapter.weights, adapter.name)
    merge_layers(whole)
    return whole.eval()


def merge_layers(model: torch.nn.Module) -> None:
    """Merge what PEFT has put into `model`, a view that nobody else has, in float32.

    What cannot be merged stays as PEFT has it; see `unmerged`.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    layers = [
        (key, module)
        for key, module in model.named_modules()
        if isinstance(module, BaseTunerLayer | ModulesToSaveWrapper)
    ]
    for key, layer in layers:
        if isinstance(layer, ModulesToSaveWrapper):
            plain = layer.modules_to_save["default"]
        else:
            plain = layer.get_base_layer()
            kept = dict(plain.named_parameters(recurse=False))
            for name, value in merged_layer(layer, kept).items():
                setattr(plain, name, _constant(value.to(kept[name].dtype)))
        model.set_submodule(key, plain)


def merged_layer(layer: Any, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:  # noqa: ANN401 - PEFT's kinds share no typed base
    """Return the parameters of a layer with the adapter merged into them, in float32.

    Args:
        layer: of PEFT's, in a view that nobody else has; its base is put back as it was.
        values: what to merge into, by the names of the base's parameters.
    """
    plain = layer.get_base_layer()
    kept = dict(plain.named_parameters(recurse=False))
    for name in kept:  # the view's own from here on
        setattr(plain, name, _constant(values[name].detach().float()))
    layer.merge(safe_merge=True)
    merged = {name: value.data for name, value in plain.named_parameters(recurse=False)}
    for name, value in kept.items():
        setattr(plain, name, value)
    return merged


def _constant(value: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(value, requires_grad=False)


def unmerged(model: torch.nn.Module) -> str | None:
    """Return the name of a layer of PEFT's in `model`, if there is one."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    found = (key for key, module in model.named_modules() if isinstance(module, kinds))
    return next(found, None)


def _behind(text: TextModel[Any], model: Any) -> TextModel[Any]:  # noqa: ANN401
    """Return a text model of the same weights that takes its embeddings from `model`."""
    if isinstance(text, OwnText):
        return text.embedding(Embedding(model))
    return modules_text(model)


class PromptedEmbedding(torch.nn.Module):
    """The model's word vectors with learned ones behind them, as if these were more words.

    Prompt tuning (arXiv:2104.08691) puts learned vectors before a prompt. As ids of their own they
    go wherever ids go: into the comparison of prefixes, into counts, past the pictures' places.

    Args:
        words: the model's own vectors, which stay its own.
        learned: of shape (virtual tokens, hidden size).
    """

    def __init__(self, words: torch.nn.Module, learned: torch.Tensor) -> None:
        super().__init__()
        self.words = words
        self.learned = torch.nn.Parameter(learned, requires_grad=False)

    @property
    def weight(self) -> torch.Tensor:
        """The model's own vectors."""
        weight = self.words.weight
        assert isinstance(weight, torch.Tensor)
        return weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the vectors of `ids`, of shape (…, hidden size)."""
        known = self.weight.shape[0]
        plain = self.words(ids.clamp(max=known - 1))
        own = torch.nn.functional.embedding((ids - known).clamp(min=0), self.learned)
        mixed: torch.Tensor = torch.where((ids >= known)[..., None], own, plain)
        return mixed


def _lay_prompt(model: Any, weights: dict[str, torch.Tensor], name: str) -> tuple[int, ...]:  # noqa: ANN401
    """Give `model`, a view that nobody else has, the learned prompt; return the ids of its vectors.

    Raises:
        ModelError: the vectors are of another width, or none.
    """
    words, learned = model.get_input_embeddings(), weights.get("prompt_embeddings")
    if learned is None or learned.dim() != 2 or not len(learned):
        raise ModelError(_misfit(name, "it holds no prompt_embeddings"))
    known, width = words.weight.shape
    if learned.shape[1] != width:
        why = f"its vectors have {learned.shape[1]} numbers, the model's {width}"
        raise ModelError(_misfit(name, why))
    model.set_input_embeddings(PromptedEmbedding(words, learned.to(words.weight.dtype)))
    return tuple(range(known, known + len(learned)))
