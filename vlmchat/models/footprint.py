"""How much memory a model takes, known before it is loaded: one rule for all who ask."""

from dataclasses import dataclass

from vlmchat.errors import ModelError
from vlmchat.text import human_bytes

# Bytes a weight, with the scales: NF4 with double quantization stores 4.127 bits (QLoRA,
# arXiv:2305.14314, section 3); int8 one scale a row.
_BYTES = {"8bit": 1.01, "4bit": 0.52}
_SHARED_BY = 32
"""Weights that share a scale and a zero where the engine packs 4 bits itself."""
_CACHED_TOKENS = 4096
_WORKSPACE = 400_000_000
"""Bytes for the libraries themselves and the activations of one picture's tiles."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What of a model decides the memory it takes.

    Attributes:
        quantizable: weights that a quantization makes smaller: the linear layers of the text
            model's blocks.
        other: all other weights (vision tower, connector, embeddings, norms).
        cache_per_token: values of KV cache that a token takes.
    """

    quantizable: int
    other: int
    cache_per_token: int

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.quantizable + self.other

    def required(self, quantization: str, value_bytes: int, *, packed: bool = False) -> int:
        """Return the bytes needed at `quantization` with `value_bytes` for each plain value.

        Counted are the weights, the KV cache of 4 096 tokens, and 400 MB for activations and the
        libraries. `packed` says that the engine packs the weights itself, as it does on processors.
        """
        each = _BYTES.get(quantization, value_bytes)
        if packed and quantization == "4bit":
            each = 0.5 + 2 * value_bytes / _SHARED_BY
        weights = self.quantizable * each + self.other * value_bytes
        cache = self.cache_per_token * _CACHED_TOKENS * value_bytes
        return int(weights) + cache + _WORKSPACE


def choose_quantization(
    footprint: Footprint,
    wanted: str,
    value_bytes: int,
    available: int,
    name: str,
    *,
    packed: bool = False,
) -> str:
    """Return the quantization to load with: `wanted`, or what ``auto`` means here.

    That is 8 bits where the engine packs the weights itself, as it does on processors: there, in
    the compiled step, they say the same next token as float32 as often as PyTorch's bfloat16 does
    (``benchmarks/agreement.py``), in less memory and faster. Elsewhere it is the finest that fits.

    Args:
        footprint: of the model.
        wanted: ``auto``, ``none``, ``8bit`` or ``4bit``.
        value_bytes: bytes of a plain value on the device.
        available: bytes free on the device.
        name: how the model is called in the message.
        packed: whether the engine packs the weights itself.

    Raises:
        ModelError: it does not fit; the sentence holds the numbers and what would.
    """
    choices = ["8bit", "4bit", "none"] if packed else ["none", "8bit", "4bit"]
    needs = {one: footprint.required(one, value_bytes, packed=packed) for one in choices}
    fitting = [one for one in choices if needs[one] <= available]
    if wanted == "auto" and fitting:
        return fitting[0]
    if wanted in fitting:
        return wanted
    need = needs["4bit" if wanted == "auto" else wanted]
    advice = f"with --quant {fitting[0]} it fits" if fitting else "choose a smaller model"
    raise ModelError(
        f"“{name}” needs {human_bytes(need)} of memory"
        f"{'' if wanted == 'auto' else f' with --quant {wanted}'} and "
        f"{human_bytes(available)} are free: {advice}."
    )
