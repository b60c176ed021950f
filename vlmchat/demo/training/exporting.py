"""Towers as files that the rest of the program knows: laid out like ``vlmchat/demo/weights``."""

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vlmchat.demo.training import state
from vlmchat.demo.training import tower as towers
from vlmchat.demo.training.tower import Shape, Tower
from vlmchat.demo.training.words import TEXT
from vlmchat.errors import UsageError
from vlmchat.finetune.files import write_whole
from vlmchat.models.demo_model import shipped_weights

WEIGHTS = "vision.safetensors"


def load(source: Path) -> Tower:
    """Return the tower of a checkpoint, or of a folder laid out like the shipped weights.

    Raises:
        UsageError: it is neither.
    """
    if not source.is_dir():
        return state.read(source).made()
    try:
        config = json.loads((source / "config.json").read_text("utf-8"))
        return towers.from_library(Shape.of_config(config), load_file(source / WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{source.name} holds no weights of a demo model's tower.") from error


def export(tower: Tower, folder: Path) -> None:
    """Write a tower with everything that makes a model of it, but for the text model.

    Raises:
        OSError: the disk is full, or the folder not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shipped, shape = shipped_weights(), tower.shape
    for file in sorted(shipped.iterdir()):
        if file.name not in (WEIGHTS, "config.json"):
            shutil.copyfile(file, folder / file.name)
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


def assemble(tower: Tower, model: Path, folder: Path) -> None:
    """Write a whole model with this tower: a folder that the engine loads.

    Args:
        tower: its eyes.
        model: folder of a demo model, whose text model and tokenizer are taken.
        folder: of the new one.

    Raises:
        OSError: the disk is full, or the folder not writable.
    """
    export(tower, folder)
    eyes = load_file(folder / WEIGHTS)
    text = {
        name: tensor
        for name, tensor in load_file(model / "model.safetensors").items()
        if name.startswith((TEXT, "lm_head."))
    }
    write_whole(folder / "model.safetensors", save(text | eyes, metadata={"format": "pt"}))
    (folder / WEIGHTS).unlink()
    shutil.copyfile(model / "tokenizer.json", folder / "tokenizer.json")


def _write_json(file: Path, content: object) -> None:
    write_whole(file, (json.dumps(content, indent=2) + "\n").encode())
