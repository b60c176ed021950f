"""Which layers of a model get an adapter, by name and by shape.

PEFT matches names anywhere in the model: ``q_proj`` alone also hits the vision tower. The patterns
here name the part first, and match the whole name.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from vlmchat.finetune.settings import Layers, RunSettings
from vlmchat.models.local import tensors
from vlmchat.models.safetensors_header import TensorInfo

# The names of the linear layers, in the text model and in the vision tower.
_NAMES: dict[Layers, tuple[str, str]] = {
    "all": ("(?:q|k|v|o|gate|up|down)_proj", "(?:q_proj|k_proj|v_proj|out_proj|fc1|fc2)"),
    "attention": ("(?:q|k|v|o)_proj", "(?:q_proj|k_proj|v_proj|out_proj)"),
    "query-value": ("(?:q|v)_proj", "(?:q|v)_proj"),
}
_TEXT = r"(?:.*\.)?text_model\.layers\.\d+\..*\b"
_VISION = r"(?:.*\.)?vision_model\.encoder\.layers\.\d+\..*\b"
_CONNECTOR = r"(?:.*\.)?connector\..*\bproj"


def target_pattern(settings: RunSettings) -> str:
    """Return the regular expression for PEFT's ``target_modules``; it matches whole names.

    Empty for prompt tuning, which has no layers.
    """
    if settings.adapter == "prompt":
        return ""
    text, vision = _NAMES[settings.layers]
    parts = [
        (settings.text, _TEXT + text),
        (settings.vision, _VISION + vision),
        (settings.connector, _CONNECTOR),
    ]
    return "|".join(f"(?:{pattern})" for wanted, pattern in parts if wanted)


def target_shapes(
    weights: Mapping[str, TensorInfo], settings: RunSettings
) -> dict[str, tuple[int, int]]:
    """Return (outputs, inputs) of each linear layer that gets an adapter, by its name."""
    pattern = target_pattern(settings)
    if not pattern:
        return {}
    whole = re.compile(pattern)
    return {
        name.removesuffix(".weight"): (info.shape[0], info.shape[1])
        for name, info in weights.items()
        if name.endswith(".weight")
        and len(info.shape) == 2
        and whole.fullmatch(name.removesuffix(".weight"))
    }


def trained_parameters(
    weights: Mapping[str, TensorInfo], settings: RunSettings, hidden: int
) -> int:
    """Return how many numbers are trained.

    LoRA has ``rank × (inputs + outputs)`` a layer (arXiv:2106.09685, section 4.1), rsLoRA the
    same, DoRA ``outputs`` more (arXiv:2402.09353); prompt tuning ``virtual tokens × hidden``.
    """
    if settings.adapter == "prompt":
        return settings.virtual_tokens * hidden
    shapes = target_shapes(weights, settings).values()
    count = sum(settings.rank * (out + into) for out, into in shapes)
    return count + (sum(out for out, _ in shapes) if settings.adapter == "dora" else 0)


def model_tensors(folder: Path) -> Mapping[str, TensorInfo]:
    """Return the tensors of a model folder by name, from headers alone; blocking.

    Raises:
        ModelError: a weight file is missing or corrupted.
    """
    return tensors(folder)
