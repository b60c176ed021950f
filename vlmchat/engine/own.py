"""A model folder's text model in our own ways, and the rest of it in the library's modules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlmchat.engine.bare import load_bare
from vlmchat.engine.config import model_config
from vlmchat.engine.hardware import Hardware
from vlmchat.engine.text.choosing import OwnText
from vlmchat.engine.text.files import FileWeights, has_layers
from vlmchat.engine.text.weights import ModelWeights, TextWeights, is_plain_llama
from vlmchat.engine.weights import load_config, load_weights, load_without_layers, strip
from vlmchat.models.resolve import ModelFolder


def is_plain(folder: ModelFolder, config: dict[str, Any]) -> bool:
    """Return whether our own ways know the text model in a folder."""
    return model_config(config) is not None or is_plain_llama(load_config(folder, config))


def load_own(
    folder: ModelFolder, config: dict[str, Any], quantization: str, hardware: Hardware, native: str
) -> tuple[Any, OwnText]:
    """Return the model in a folder without decoder layers and head, and these as a text model.

    Args:
        folder: of a model of which `is_plain` is true.
        config: what its ``config.json`` holds.
        quantization: ``none``, ``8bit`` or ``4bit``.
        hardware: a processor, and in which numbers it computes.
        native: ``auto`` or ``off``.

    Raises:
        ModelError: weights are missing or damaged.
    """
    known = model_config(config)
    text = (known or load_config(folder, config)).get_text_config()
    readable = has_layers(folder.path, text)
    model: Any = load_bare(folder.path, known, hardware.dtype) if readable and known else None
    if model is None and readable:
        model = load_without_layers(folder, config, hardware)
    elif (
        model is None
    ):  # they have other names there, which the library knows, or it says what is wrong
        model = load_weights(folder, config, "none", hardware)
    source = _Source(folder, config, hardware, model, readable)
    own = OwnText(source, Embedding(model), quantization, native=native != "off")
    strip(model)
    return model, own


@dataclass(frozen=True, slots=True)
class _Source:
    """Gives the weights of a model folder: from its files, or else as the library reads them.

    Attributes:
        model: as it was loaded, stripped or not.
        readable: whether its files can be read without the library.
    """

    folder: ModelFolder
    config: dict[str, Any]
    hardware: Hardware
    model: Any
    readable: bool

    def __call__(self) -> TextWeights:
        if self.readable:
            return FileWeights(self.model, self.folder.path, self.hardware.dtype)
        if len(self.model.model.text_model.layers):
            return ModelWeights(self.model)
        return ModelWeights(load_weights(self.folder, self.config, "none", self.hardware))


class Embedding:
    """Embeds tokens by a model's own vectors, whatever module holds them.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - two classes without a typed base
        self._words = model.get_input_embeddings()

    def __call__(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens: (tokens, hidden)."""
        wanted = torch.tensor(ids, dtype=torch.long, device=self._words.weight.device)
        embedded: torch.Tensor = self._words(wanted)
        return embedded
