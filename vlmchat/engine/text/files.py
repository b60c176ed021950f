"""The weights of a text model, read from the model's files a layer at a time.

Who packs the weights needs each layer once: read from here, no two of them are in memory.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from vlmchat.engine.text.weights import LayerWeights, ModelWeights
from vlmchat.models.local import tensors, weight_files

_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_OUTPUT, _DOWN = "self_attn.o_proj", "mlp.down_proj"
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
_HEAD = "lm_head.weight"
_NORMS = ("input_layernorm", "post_attention_layernorm")
_PARTS = (*_QKV, _OUTPUT, *_GATE_UP, _DOWN, *_NORMS)


def has_layers(folder: Path, config: Any) -> bool:  # noqa: ANN401 - a class without types
    """Return whether the files of a model hold its layers as `FileWeights` expects them.

    Args:
        folder: of the model.
        config: of its text model.
    """
    found, hidden, ffn = tensors(folder), int(config.hidden_size), int(config.intermediate_size)
    head_dim = int(getattr(config, "head_dim", None) or hidden // config.num_attention_heads)
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_NORMS, (hidden,))
    shapes |= zip(_QKV, ((queries, hidden), (keys, hidden), (keys, hidden)), strict=True)
    shapes |= {_OUTPUT: (hidden, queries), _DOWN: (hidden, ffn)}
    shapes |= dict.fromkeys(_GATE_UP, (ffn, hidden))
    wanted = {
        _name(index, part): shape
        for index in range(config.num_hidden_layers)
        for part, shape in shapes.items()
    }
    return all(name in found and found[name].shape == wanted[name] for name in wanted)


def head_and_layers(
    folder: Path, count: int, dtype: torch.dtype
) -> tuple[torch.Tensor | None, Iterator[dict[str, torch.Tensor]]]:
    """Return the head, and each layer's weights by the names that the library's modules have.

    Args:
        folder: of the model; `has_layers` says yes of it.
        count: of layers.
        dtype: to read the weights in.

    Returns:
        The head, (vocab, hidden), or nothing where it is that of the embeddings; and the layers,
        read one by one.
    """
    files = _files_by_name(folder)
    head = _read(files, [_HEAD], dtype)[_HEAD] if _HEAD in files else None
    return head, (_layer(files, index, dtype) for index in range(count))


def _layer(files: dict[str, Path], index: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    names = {f"{part}.weight": _name(index, part) for part in _PARTS}
    read = _read(files, names.values(), dtype)
    return {part: read[name] for part, name in names.items()}


def _read(
    files: dict[str, Path], names: Iterable[str], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Return tensors by name; each file is opened once, and let go of with all of its pages."""
    wanted: dict[Path, list[str]] = {}
    for name in names:
        wanted.setdefault(files[name], []).append(name)
    found: dict[str, torch.Tensor] = {}
    for path, inside in wanted.items():
        with safe_open(path, framework="pt") as file:
            for name in inside:
                found[name] = file.get_tensor(name).to(dtype, copy=True)
    return found


class FileWeights(ModelWeights):
    """`TextWeights` whose layers are read from the files of the model.

    Args:
        model: the loaded model; its own decoder layers are not looked at, nor is its head if that
            has been taken out.
        folder: of the model; `has_layers` says yes of it.
        dtype: to read the weights in.
    """

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype) -> None:  # noqa: ANN401
        super().__init__(model)
        self._dtype = dtype
        self._files = _files_by_name(folder)
        if self.head.is_meta:
            tied = _HEAD not in self._files
            self.head = (
                self._text.embed_tokens.weight.detach()
                if tied
                else _read(self._files, [_HEAD], dtype)[_HEAD]
            )

    def layer(self, index: int) -> LayerWeights:
        """Return one decoder layer."""
        found = _layer(self._files, index, self._dtype)
        return LayerWeights(
            input_norm=found[f"{_NORMS[0]}.weight"],
            qkv=torch.cat([found[f"{part}.weight"] for part in _QKV]),
            output=found[f"{_OUTPUT}.weight"],
            ffn_norm=found[f"{_NORMS[1]}.weight"],
            gate_up=torch.cat([found[f"{part}.weight"] for part in _GATE_UP]),
            down=found[f"{_DOWN}.weight"],
        )


def _name(index: int, part: str) -> str:
    return f"model.text_model.layers.{index}.{part}.weight"


def _files_by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name in weight_files(folder):
        with safe_open(folder / name, framework="pt") as file:
            files |= dict.fromkeys(file.keys(), folder / name)
    return files
