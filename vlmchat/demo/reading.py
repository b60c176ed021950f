"""What the demo's text model reads pictures with, and the same text model without it.

SmolLM2 has never seen an image token. A LoRA that it was trained with for this project
(`vlmchat.demo.training.reading`) comes with the vision weights, in a folder `READING` as PEFT saves
it, and is merged into the model when that is put together. Its layers as they were lie beside, in a
folder of their own: where there is no picture the engine answers with them, so that text chat stays
exactly SmolLM2's, and always where the adapter is taken off (``/adapter off``).
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.models.local import PLAIN, READING

if TYPE_CHECKING:
    import torch

    Weights = dict[str, torch.Tensor]

_FILE = "model.safetensors"
_LAYER = re.compile(r"model\.text_model\.layers\.")
_PART = re.compile(r"base_model\.model\.(.+)\.lora_A\.weight")


def put_in(weights: "Weights", shipped: Path, folder: Path) -> "Weights":
    """Return a text model's weights with the adapter merged in, if there is one.

    The layers as they were are written into `folder` then, too.

    Args:
        weights: of the text model, by their names in a SmolVLM.
        shipped: where the vision weights, and maybe the adapter, lie.
        folder: of the model.

    Raises:
        KeyError: the adapter is for other layers.
    """
    from safetensors.torch import load_file, save_file

    adapter = shipped / READING
    if not adapter.is_dir():
        return weights
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    learned = load_file(adapter / "adapter_model.safetensors")
    scale = float(config["lora_alpha"]) / int(config["r"])
    (folder / PLAIN).mkdir(exist_ok=True)
    layers = {name: tensor for name, tensor in weights.items() if _LAYER.match(name)}
    save_file(layers, folder / PLAIN / _FILE, metadata={"format": "pt"})
    merged = dict(weights)
    for name, down in learned.items():
        if found := _PART.fullmatch(name):
            up = learned[name.replace("lora_A", "lora_B")].float()
            place = f"{found.group(1)}.weight"
            before = weights[place]
            merged[place] = (before.float() + scale * (up @ down.float())).to(before.dtype)
    return merged


def plain_file(folder: Path) -> Path | None:
    """Return the file of the text model's layers as they were, if they are other than the model's.

    Args:
        folder: of a demo model.
    """
    file = folder / PLAIN / _FILE
    return file if file.exists() else None
