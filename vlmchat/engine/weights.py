"""The weights of a model folder in the library's modules, all of them or without the text's."""

import warnings
from typing import Any

import torch
from transformers.utils import logging as library_logging

from vlmchat.engine.bare import Taken
from vlmchat.engine.hardware import Hardware
from vlmchat.engine.quantize import bitsandbytes_config
from vlmchat.errors import ModelError
from vlmchat.models.resolve import ModelFolder
from vlmchat.text import visible_line


def load_weights(
    folder: ModelFolder, config: dict[str, Any], quantization: str, hardware: Hardware
) -> Any:  # noqa: ANN401 - two classes without a typed base
    """Return the model in a folder, ready to answer.

    Args:
        folder: of the model.
        config: what its ``config.json`` holds.
        quantization: ``none``, ``8bit`` or ``4bit``.
        hardware: where it goes, and in which numbers.

    Raises:
        ModelError: weights are missing or damaged.
    """
    wanted = bitsandbytes_config(
        quantization, config["text_config"], hardware.device, hardware.dtype
    )
    extra = {} if wanted is None else {"quantization_config": wanted}
    return _load(folder, config["model_type"], hardware, **extra)


def load_without_layers(folder: ModelFolder, config: dict[str, Any], hardware: Hardware) -> Any:  # noqa: ANN401 - two classes without a typed base
    """Return the model in a folder without its decoder layers, for those who read them themselves.

    Raises:
        ModelError: weights are missing or damaged.
    """
    changed = load_config(folder, config)
    text = changed.get_text_config()
    layers, text.num_hidden_layers = text.num_hidden_layers, 0
    said = library_logging.get_verbosity()
    library_logging.set_verbosity_error()  # what it does not find a place for is meant to be left
    try:
        model = _load(folder, config["model_type"], hardware, config=changed)
    finally:
        library_logging.set_verbosity(said)
    for known in (model.config.get_text_config(), model.model.text_model.config):
        known.num_hidden_layers = layers
    return model


def strip(model: Any) -> None:  # noqa: ANN401 - two classes without a typed base
    """Take out of `model` what a text model of our own has packed: decoder layers and head."""
    head = model.lm_head
    model.model.text_model.layers = torch.nn.ModuleList()
    model.lm_head = Taken(head.in_features, head.out_features, bias=False, device="meta")


def load_config(folder: ModelFolder, config: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the library's configuration of the model in a folder."""
    from transformers.models.idefics3.configuration_idefics3 import Idefics3Config
    from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig

    kind: Any = Idefics3Config if config["model_type"] == "idefics3" else SmolVLMConfig
    return kind.from_pretrained(folder.path)


def model_class(kind: str) -> Any:  # noqa: ANN401 - two classes without a typed base
    """Return the class of models whose ``model_type`` is `kind`."""
    if kind == "idefics3":
        from transformers.models.idefics3.modeling_idefics3 import Idefics3ForConditionalGeneration

        return Idefics3ForConditionalGeneration
    from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

    return SmolVLMForConditionalGeneration


def _load(folder: ModelFolder, kind: str, hardware: Hardware, **extra: Any) -> Any:  # noqa: ANN401
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, found = model_class(kind).from_pretrained(
                folder.path,
                dtype=hardware.dtype,  # some checkpoints are float32: twice the memory
                device_map=hardware.device,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="sdpa",
                output_loading_info=True,
                **extra,
            )
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"The weights of {folder.title} do not load ({short(error)}): fetch them again."
        ) from error
    if found["missing_keys"]:
        # The library would fill them with random numbers and say so in the log only.
        name = sorted(found["missing_keys"])[0]
        raise ModelError(
            f"The weights of {folder.title} are not complete ({len(found['missing_keys'])} "
            f"missing, {visible_line(name)} the first): fetch them again."
        )
    return model.eval()


def short(error: Exception) -> str:
    """Return the first line of what a library says, for the middle of a sentence."""
    lines = visible_line(str(error).strip().split("\n")[0])
    return lines[:200].rstrip(".") or type(error).__name__
