"""What our own ways need of a model's ``config.json``, without the library's classes for it.

To import those takes two seconds, as the text model's brings compilers along. What a file omits
has the library's defaults (``configuration_smolvlm.py``, ``configuration_llama.py``); a file that
says anything which these classes do not know is left to the library.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_GELU = ("gelu", "gelu_pytorch_tanh")
_THETA = 10_000.0

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class TextConfig:
    """A plain Llama: SwiGLU, no biases, a rotary embedding that is always the same.

    Attributes: named as in ``LlamaConfig``; `rope_theta` is the base of the rotary embedding.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """A SigLIP tower; named as in ``SmolVLMVisionConfig`` and ``Idefics3VisionConfig``."""

    hidden_size: int = 1152
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Both, and what joins them; named as in ``SmolVLMConfig`` and ``Idefics3Config``."""

    model_type: str
    text_config: TextConfig
    vision_config: VisionConfig
    scale_factor: int = 2
    image_token_id: int = 128_257

    def get_text_config(self) -> TextConfig:
        """Return the text model's, as the library's configurations do."""
        return self.text_config


def model_config(config: Mapping[str, Any]) -> ModelConfig | None:
    """Return the configuration of a model; nothing if it is one that the library has to read.

    Args:
        config: what its ``config.json`` holds.
    """
    text, vision = config.get("text_config"), config.get("vision_config")
    if not isinstance(text, dict) or not isinstance(vision, dict):
        return None
    found = _text(text)
    if found is None or "quantization_config" in config or "quantization_config" in text:
        return None
    try:
        seen = _read(VisionConfig, vision)
        whole = _read(ModelConfig, {**config, "text_config": found, "vision_config": seen})
    except TypeError:
        return None
    # They may be pairs of numbers, too.
    sides = all(isinstance(vision.get(it), int | None) for it in ("image_size", "patch_size"))
    return whole if sides and seen.hidden_act in _GELU else None


def _text(text: Mapping[str, Any]) -> TextConfig | None:
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    plain = (
        text.get("model_type") == "llama"
        and text.get("hidden_act", "silu") == "silu"
        and not text.get("attention_bias")
        and not text.get("mlp_bias")
        and rope.keys() <= {"rope_type", "rope_theta"}
        and rope.get("rope_type", "default") == "default"
    )
    if not plain:
        return None
    values = dict(text)
    values["rope_theta"] = rope.get("rope_theta", text.get("rope_theta", _THETA))
    try:
        if values.get("num_key_value_heads") is None:
            values["num_key_value_heads"] = text["num_attention_heads"]
        if values.get("head_dim") is None:
            values["head_dim"] = text["hidden_size"] // text["num_attention_heads"]
        return _read(TextConfig, values)
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return an object with those of the values that it has names for.

    Raises:
        TypeError: one without a default is missing.
    """
    names = (field.name for field in fields(kind))
    return kind(**{name: values[name] for name in names if values.get(name) is not None})
