"""A LoRA over the text model (arXiv:2106.09685), which learns to read image tokens.

The text model's matrices lie together here as `FrozenText` has them: queries, keys and values have
one matrix, and so have the two gates. So what comes in is brought down once for all of them; PEFT
knows each of them apart, and gets the same matrix for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from vlmchat.demo.training.words import TEXT

SCALE = 2.0
"""What is added is multiplied with this: PEFT's ``lora_alpha`` over the rank."""

Pair: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""What brings inputs down to the rank, (rank, in), and up to the outputs, (out, rank)."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is laid beside the four matrices of a layer, if anything is."""

    qkv: Pair | None = None
    out: Pair | None = None
    gates: Pair | None = None
    down: Pair | None = None


class Adapter(nn.Module):
    """A LoRA over all matrices of all layers; it begins by adding nothing.

    Args:
        config: of the text model, as in ``config.json`` under ``text_config``.
        rank: of what is laid beside each matrix.
    """

    def __init__(self, config: dict[str, Any], rank: int) -> None:
        super().__init__()
        self.rank = rank
        width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
        heads, shared = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
        head = int(config.get("head_dim") or width // heads)
        self._parts = {
            "qkv": {
                "self_attn.q_proj": heads * head,
                "self_attn.k_proj": shared * head,
                "self_attn.v_proj": shared * head,
            },
            "out": {"self_attn.o_proj": width},
            "gates": {"mlp.gate_proj": inner, "mlp.up_proj": inner},
            "down": {"mlp.down_proj": width},
        }
        inputs = {"qkv": width, "out": heads * head, "gates": width, "down": inner}
        self.layers = nn.ModuleList(
            nn.ParameterDict(
                {
                    f"{name}_{way}": nn.Parameter(
                        torch.randn(rank, inputs[name]) / inputs[name] ** 0.5
                        if way == "a"
                        else torch.zeros(sum(parts.values()), rank)
                    )
                    for name, parts in self._parts.items()
                    for way in ("a", "b")
                }
            )
            for _ in range(int(config["num_hidden_layers"]))
        )

    def beside(self, number: int, dtype: torch.dtype) -> Beside:
        """Return what is laid beside the matrices of one layer, the scale already in it."""
        layer = self.layers[number]
        assert isinstance(layer, nn.ParameterDict)
        pairs = (
            (layer[f"{name}_a"].to(dtype), (layer[f"{name}_b"] * SCALE).to(dtype))
            for name in ("qkv", "out", "gates", "down")
        )
        return Beside(*pairs)

    def to_library(self) -> dict[str, torch.Tensor]:
        """Return the weights by the names that PEFT gives them."""
        found = {}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.ParameterDict)
            for name, parts in self._parts.items():
                rows = torch.split(layer[f"{name}_b"].detach(), list(parts.values()))
                for part, up in zip(parts, rows, strict=True):
                    place = f"base_model.model.{TEXT}layers.{number}.{part}"
                    found[f"{place}.lora_A.weight"] = layer[f"{name}_a"].detach().clone()
                    found[f"{place}.lora_B.weight"] = up.clone()
        return found

    @classmethod
    def from_library(cls, config: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> "Adapter":
        """Return the adapter whose weights `to_library` has named.

        Args:
            config: of the text model.
            weights: as PEFT saves them.

        Raises:
            KeyError: they lack a matrix.
            RuntimeError: they are of another text model.
        """
        first = f"base_model.model.{TEXT}layers.0.self_attn.q_proj.lora_A.weight"
        made = cls(config, len(weights[first]))
        found = {}
        for number in range(len(made.layers)):
            for name, parts in made._parts.items():
                places = [f"base_model.model.{TEXT}layers.{number}.{part}" for part in parts]
                rows = [weights[f"{place}.lora_B.weight"] for place in places]
                found[f"layers.{number}.{name}_a"] = weights[f"{places[0]}.lora_A.weight"]
                found[f"layers.{number}.{name}_b"] = torch.cat(rows)
        made.load_state_dict(found)
        return made

    def library_config(self) -> dict[str, Any]:
        """Return PEFT's ``adapter_config.json``."""
        return {
            "peft_type": "LORA",
            "task_type": None,
            "base_model_name_or_path": None,
            "inference_mode": True,
            "r": self.rank,
            "lora_alpha": round(SCALE * self.rank),
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": rf"{TEXT.replace('.', chr(92) + '.')}layers\.\d+\.\w+\.\w+_proj",
        }
