"""Adapters made by PEFT itself, for the tiny models."""

from pathlib import Path
from typing import Any

SEED = 0


def save_adapter(
    base: Path, folder: Path, kind: str = "lora", seed: int = SEED, **options: Any
) -> Path:
    """Write an adapter with random weights for the model in `base`; return its folder.

    Args:
        base: folder of the model.
        folder: to be made.
        kind: ``lora``, ``dora``, ``rslora``, ``prompt`` or ``ptuning``.
        seed: of the weights.
        options: of PEFT's configuration.
    """
    import torch

    tuned = adapted(base, kind, seed, **options)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "prompt_encoder" in name:
                parameter.normal_(std=0.3)
            elif "magnitude" in name:  # which begin as if there were none
                parameter.mul_(torch.rand_like(parameter) + 0.5)
    tuned.save_pretrained(str(folder))
    return folder


def adapted(base: Path, kind: str = "lora", seed: int = SEED, **options: Any) -> Any:
    """Return PEFT's own model over the model in `base`."""
    import torch
    from peft import LoraConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model

    torch.manual_seed(seed)
    model = bare(base)
    if kind in ("prompt", "ptuning"):
        config_class = PromptTuningConfig if kind == "prompt" else PromptEncoderConfig
        text = model.config.get_text_config()
        sizes = {
            "num_virtual_tokens": 5,
            "token_dim": text.hidden_size,
            "num_layers": text.num_hidden_layers,
            "num_attention_heads": text.num_attention_heads,
            "num_transformer_submodules": 1,
        }
        return get_peft_model(model, config_class(task_type="CAUSAL_LM", **{**sizes, **options}))
    chosen = {
        "r": 4,
        "lora_alpha": 32,
        "target_modules": r".*text_model.*(q|v|down)_proj",
        "init_lora_weights": False,
        "use_dora": kind == "dora",
        "use_rslora": kind == "rslora",
    }
    return get_peft_model(model, LoraConfig(**{**chosen, **options}))


def bare(base: Path, dtype: str = "bfloat16") -> Any:
    """Return the model in a folder as transformers loads it."""
    import torch
    from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

    return SmolVLMForConditionalGeneration.from_pretrained(
        base, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    ).eval()
