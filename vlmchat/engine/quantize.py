"""Quantization by bitsandbytes, without its traps on CPUs."""

import logging
from typing import Any

import torch
from transformers import BitsAndBytesConfig

log = logging.getLogger(__name__)

# Naming a skip list replaces the library's own, so lm_head is named again. Patterns are matched
# from the start of the full name or at its end.
_SKIPPED = [".*vision_model", ".*connector", "lm_head"]


def _unaligned(text: dict[str, Any]) -> list[str]:
    """Return the projections whose shapes crash bitsandbytes' 4-bit kernel on AVX512-BF16 CPUs.

    The kernel wants out_features in multiples of 32 and in_features in multiples of 64.
    """
    hidden, ffn = int(text["hidden_size"]), int(text["intermediate_size"])
    heads = int(text["num_attention_heads"])
    head_dim = int(text.get("head_dim") or hidden // heads)
    queries, keys = heads * head_dim, int(text.get("num_key_value_heads") or heads) * head_dim
    shapes = {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
        "gate_proj": (ffn, hidden),
        "up_proj": (ffn, hidden),
        "down_proj": (hidden, ffn),
    }
    return [name for name, (out, into) in shapes.items() if out % 32 or into % 64]


def bitsandbytes_config(
    quantization: str, text_config: dict[str, Any], device: str, dtype: torch.dtype
) -> BitsAndBytesConfig | None:
    """Return how to load at `quantization` (``none``, ``8bit``, ``4bit``).

    4-bit is NF4 with double quantization (QLoRA, arXiv:2305.14314). Vision tower, connector and
    head are never quantized.

    Args:
        quantization: as above.
        text_config: the text model's configuration.
        device: ``cpu`` or ``cuda``.
        dtype: of the computation.
    """
    if quantization == "none":
        return None
    skipped = list(_SKIPPED)
    if quantization == "8bit":
        # The library says once a layer a token that it casts to float16.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    if device == "cpu":
        skipped += _unaligned(text_config)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=skipped,
    )
