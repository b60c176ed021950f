"""Models that share the weights of another, and may be changed without touching it."""

from pathlib import Path
from typing import Any, TypeVar

import torch

from vlmchat.engine.bare import Bare, library_model
from vlmchat.engine.text.files import head_and_layers
from vlmchat.engine.weights import model_class

_Module = TypeVar("_Module", bound=torch.nn.Module)


def view_of(model: _Module) -> _Module:
    """Return a module tree of its own whose parameters and buffers are those of `model`.

    Putting other modules into it, or hooks onto it, does not touch `model`.
    """
    seen: dict[int, torch.nn.Module] = {}

    def copied(module: torch.nn.Module) -> torch.nn.Module:
        if id(module) in seen:
            return seen[id(module)]
        view = module.__new__(type(module))
        seen[id(module)] = view
        # A dictionary of the module's own is its state (hooks, parameters, buffers): whoever
        # changes it means the module, not its likeness.
        values = {k: v.copy() if type(v) is dict else v for k, v in module.__dict__.items()}
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            values[kind] = module.__dict__[kind].copy()
        values["_modules"] = {
            key: None if child is None else copied(child) for key, child in module._modules.items()
        }
        view.__dict__.update(values)
        return view

    result = copied(model)
    assert isinstance(result, type(model))
    return result


def changeable(model: Any) -> Any:  # noqa: ANN401 - two classes without a typed base
    """Return the library's model over the weights of `model`, which may be a `Bare` one.

    Putting other modules into it, or hooks onto it, does not touch `model`.
    """
    if isinstance(model, Bare):
        return library_model(model, model_class(model.config.model_type))
    return view_of(model)


def with_layers(model: Any, folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401 - two classes without a typed base
    """Return a view of a stripped model that has its decoder layers and head again.

    They are made without the library's loader, which changes torch's default dtype for all threads
    while it loads: another thread may be answering.

    Args:
        model: an Idefics3 or SmolVLM model whose text model is a Llama.
        folder: its files; `has_layers` says yes of them.
        dtype: to read the weights in.
    """
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    whole = changeable(model)
    text = whole.model.text_model
    head, states = head_and_layers(folder, text.config.num_hidden_layers, dtype)
    layers = []
    for index, state in enumerate(states):
        with torch.device("meta"):
            layer = LlamaDecoderLayer(text.config, index)
        layer.load_state_dict(state, assign=True)
        layers.append(layer.requires_grad_(False))
    text.layers = torch.nn.ModuleList(layers).eval()
    weight = text.embed_tokens.weight if head is None else torch.nn.Parameter(head, False)
    with torch.device("meta"):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = weight
    whole.lm_head = linear
    return whole
