"""Towers as files that the rest of the program knows: laid out like ``vlmchat/demo/weights``."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vlmchat.demo.drawing.examples import KINDS, PAGE
from vlmchat.demo.reading import plain_file, put_in
from vlmchat.demo.training import state
from vlmchat.demo.training import tower as towers
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.tower import Shape, Tower
from vlmchat.demo.training.words import TEXT
from vlmchat.errors import UsageError
from vlmchat.finetune.files import write_whole
from vlmchat.models.demo_model import shipped_weights
from vlmchat.models.local import PLAIN, READING

WEIGHTS = "vision.safetensors"
TRAINED = "trained.json"
"""How far the training of the weights beside it has come."""
_ADAPTER_WEIGHTS = "adapter_model.safetensors"


def load(source: Path) -> Tower:
    """Return the tower of a checkpoint, or of a folder laid out like the shipped weights.

    Raises:
        UsageError: it is neither.
    """
    if not source.is_dir():
        found = state.read(source)
        if not found.tower:
            raise UsageError(f"{source.name} holds no tower, but the adapter of phase 2.")
        return found.made()
    try:
        config = json.loads((source / "config.json").read_text("utf-8"))
        return towers.from_library(Shape.of_config(config), load_file(source / WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{source.name} holds no weights of a demo model's tower.") from error


def levels(source: Path) -> dict[str, float]:
    """Return how hard the drawings were by which a tower has learned last, by kind.

    Args:
        source: as for `load`; weights that do not say it give nothing.

    Raises:
        UsageError: it is neither, or what says it is broken.
    """
    if not source.is_dir():
        ladder = state.read(source).state.ladder
        return {kind: float(ladder[kind][0]) for kind in (*KINDS, PAGE) if kind in ladder}
    try:
        said = json.loads((source / TRAINED).read_text("utf-8"))
        return {kind: float(level) for kind, level in said["levels"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{TRAINED} in {source.name} says no levels: leave it out.") from error


def load_adapter(folder: Path, config: dict[str, Any]) -> Adapter | None:
    """Return the adapter of a folder laid out like the shipped weights, if it has one.

    Args:
        folder: of the weights.
        config: of the text model that the adapter is for.

    Raises:
        UsageError: there is one, and it is of another text model.
    """
    file = folder / READING / _ADAPTER_WEIGHTS
    if not file.exists():
        return None
    try:
        return Adapter.from_library(config, load_file(file))
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{folder.name} holds an adapter of another text model.") from error


def export(
    tower: Tower,
    folder: Path,
    adapter: Adapter | None = None,
    reached: Mapping[str, float] | None = None,
) -> None:
    """Write a tower with everything that makes a model of it, but for the text model.

    Args:
        tower: its eyes.
        folder: where it goes.
        adapter: what the text model reads with; as PEFT saves it, in a folder `READING`.
        reached: its `levels`, with which a later training goes on.

    Raises:
        OSError: the disk is full, or the folder not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shipped, shape = shipped_weights(), tower.shape
    for file in sorted(shipped.iterdir()):
        target = folder / file.name
        known = not file.is_file() or file.name in (WEIGHTS, TRAINED, "config.json")
        if not known and not (target.exists() and target.samefile(file)):
            shutil.copyfile(file, target)
    config = json.loads((shipped / "config.json").read_text("utf-8"))
    config["scale_factor"] = shape.scale
    config["vision_config"] |= {
        "hidden_size": shape.hidden,
        "image_size": shape.side,
        "intermediate_size": shape.inner,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "patch_size": shape.patch,
    }
    _write_json(folder / "config.json", config)
    pixels = json.loads((shipped / "preprocessor_config.json").read_text("utf-8"))
    pixels["size"] = pixels["max_image_size"] = {"longest_edge": shape.side}
    _write_json(folder / "preprocessor_config.json", pixels)
    whole = json.loads((shipped / "processor_config.json").read_text("utf-8"))
    whole["image_seq_len"] = shape.tokens
    _write_json(folder / "processor_config.json", whole)
    weights = {
        name: tensor.to(torch.bfloat16).cpu() for name, tensor in towers.to_library(tower).items()
    }
    write_whole(folder / WEIGHTS, save(weights, metadata={"format": "pt"}))
    if reached:
        _write_json(folder / TRAINED, {"levels": dict(reached)})
    else:
        (folder / TRAINED).unlink(missing_ok=True)
    if adapter is not None:
        _export_adapter(adapter, folder / READING)


def _export_adapter(adapter: Adapter, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    _write_json(folder / "adapter_config.json", adapter.library_config())
    weights = {
        name: tensor.to(torch.bfloat16).cpu() for name, tensor in adapter.to_library().items()
    }
    data = save(weights, metadata={"format": "pt"})
    write_whole(folder / _ADAPTER_WEIGHTS, data)


def assemble(tower: Tower, model: Path, folder: Path, adapter: Adapter | None = None) -> None:
    """Write a whole model with this tower: a folder that the engine loads.

    Args:
        tower: its eyes.
        model: folder of a demo model, whose text model and tokenizer are taken.
        folder: of the new one.
        adapter: as for `export`.

    Raises:
        OSError: the disk is full, or the folder not writable.
    """
    export(tower, folder, adapter)
    eyes = load_file(folder / WEIGHTS)
    before = load_file(model / "model.safetensors")
    if (plain := plain_file(model)) is not None:
        before |= load_file(plain)
    text = {name: tensor for name, tensor in before.items() if name.startswith((TEXT, "lm_head."))}
    shutil.rmtree(folder / PLAIN, ignore_errors=True)  # of a model that was there before
    text = put_in(text, folder, folder)
    write_whole(folder / "model.safetensors", save(text | eyes, metadata={"format": "pt"}))
    (folder / WEIGHTS).unlink()
    shutil.rmtree(folder / READING, ignore_errors=True)  # it is in the weights now
    shutil.copyfile(model / "tokenizer.json", folder / "tokenizer.json")


def _write_json(file: Path, content: object) -> None:
    write_whole(file, (json.dumps(content, indent=2) + "\n").encode())
