"""How much memory a model will take, known before it is loaded."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmchat.errors import ModelError
from vlmchat.models.local import tensors
from vlmchat.text import human_bytes

# Linear layers of the text model's blocks: the only weights that are quantized.
_QUANTIZED = re.compile(r"text_model\.layers\..*_proj\.weight$")
# Bytes a weight, with the scales: NF4 with double quantization stores 4.127 bits (QLoRA,
# arXiv:2305.14314, section 3); int8 one scale a row.
_BYTES = {"8bit": 1.01, "4bit": 0.52}
_CACHED_TOKENS = 4096
_MARGIN = 300_000_000
"""Tiles, activations and the libraries' own workspace, bytes."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Parameters of a model, counted from the headers of its safetensors files.

    Attributes:
        quantizable: weights that a quantization makes smaller.
        other: all the others (vision tower, connector, embeddings, norms).
        cache: bytes of KV cache for a conversation of 4096 tokens at 2 bytes a value.
    """

    quantizable: int
    other: int
    cache: int

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.quantizable + self.other

    def required(self, quantization: str, value_bytes: int) -> int:
        """Return the bytes needed at `quantization` with `value_bytes` for each plain value."""
        each = _BYTES.get(quantization, value_bytes)
        weights = self.quantizable * each + self.other * value_bytes
        return int(weights) + self.cache * value_bytes // 2 + _MARGIN


def measure(folder: Path, config: dict[str, Any]) -> Footprint:
    """Return the footprint of the model in `folder`.

    Args:
        folder: a model folder that was validated.
        config: the contents of its ``config.json``.
    """
    quantizable = other = 0
    for name, tensor in tensors(folder).items():
        if _QUANTIZED.search(name):
            quantizable += tensor.parameters
        else:
            other += tensor.parameters
    text = config.get("text_config", {})
    heads = int(text.get("num_attention_heads", 32))
    head_dim = int(text.get("head_dim") or int(text.get("hidden_size", 2048)) // heads)
    kv_heads = int(text.get("num_key_value_heads") or heads)
    layers = int(text.get("num_hidden_layers", 24))
    cache = 2 * layers * kv_heads * head_dim * _CACHED_TOKENS * 2
    return Footprint(quantizable, other, cache)


def choose_quantization(
    footprint: Footprint, wanted: str, value_bytes: int, available: int, name: str
) -> str:
    """Return the quantization to load with: `wanted`, or for ``auto`` the finest that fits.

    Args:
        footprint: of the model.
        wanted: ``auto``, ``none``, ``8bit`` or ``4bit``.
        value_bytes: bytes of a plain value on the device.
        available: bytes free on the device.
        name: how the model is called in the message.

    Raises:
        ModelError: it does not fit; the sentence holds the numbers and what would.
    """
    choices = ["none", "8bit", "4bit"]
    fitting = [one for one in choices if footprint.required(one, value_bytes) <= available]
    if wanted == "auto" and fitting:
        return fitting[0]
    if wanted in fitting:
        return wanted
    need = footprint.required("4bit" if wanted == "auto" else wanted, value_bytes)
    advice = f"with --quant {fitting[0]} it fits" if fitting else "choose a smaller model"
    raise ModelError(
        f"“{name}” needs {human_bytes(need)} of memory"
        f"{'' if wanted == 'auto' else f' with --quant {wanted}'} and "
        f"{human_bytes(available)} are free: {advice}."
    )
