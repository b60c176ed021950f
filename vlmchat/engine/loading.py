"""Bringing a model up: find it, check that it fits, load it."""

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from vlmchat.chat.messages import Message
from vlmchat.engine.adapters import wear
from vlmchat.engine.hardware import Hardware, find_hardware, use_threads
from vlmchat.engine.own import is_plain, load_own
from vlmchat.engine.pages import trim
from vlmchat.engine.pixels import PixelSettings
from vlmchat.engine.plain import Plain, with_plain
from vlmchat.engine.prompt import PromptBuilder
from vlmchat.engine.text.choosing import describe, modules_text
from vlmchat.engine.text.library import LibraryText
from vlmchat.engine.text.model import TextModel
from vlmchat.engine.vision import TileMaker
from vlmchat.engine.weights import load_weights, short
from vlmchat.errors import ModelError
from vlmchat.media.rules import rules
from vlmchat.media.tiles import ProcessorSpec
from vlmchat.models.adapter import OFF
from vlmchat.models.footprint import choose_quantization
from vlmchat.models.local import PLAIN, READING, footprint_of
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.models.resolve import ModelFolder, resolve
from vlmchat.text import visible_line

log = logging.getLogger(__name__)

END_OF_UTTERANCE = "<end_of_utterance>"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What to load and how; see `vlmchat.client.supervisor.EngineOptions`.

    Attributes:
        dtype: the numbers to compute in (``float32``); empty for what the device multiplies fast.
        native: ``auto``, or ``off`` for the text model in plain torch even where a compiler is.
        library: leave the text model to the library, for those who need its modules whole.
        own_adapter: whether the model answers with the adapter that it brings along, if it does.
    """

    model: str | None = None
    quant: str = "auto"
    device: str = "auto"
    adapter: Path | None = None
    threads: int = 0
    dtype: str = ""
    native: str = "auto"
    library: bool = False
    own_adapter: bool = True


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to answer.

    Attributes:
        model: ``Idefics3ForConditionalGeneration`` or ``SmolVLMForConditionalGeneration``; where
            `text` is an `OwnText`, without the decoder layers and the head, or a `Bare` one.
        text: how its text model is run; another one wherever the weights are other ones.
        context: most tokens of prompt and answer together.
        end_ids: tokens that end an answer.
        adapter: name and digest of the adapter, or empty; ``off`` without the model's own.
        base: the same model without the adapter; ``None`` where there is none.
        remark: a sentence about the adapter that a person should see; may be empty.
        native: as in `LoadOptions`.
        plain: gives the same model with the text model as it was before it learned to read
            pictures; ``None`` where it is the same, or an adapter is laid over it.
    """

    folder: ModelFolder
    model: Any
    text: TextModel[Any]
    tokenizer: PreTrainedTokenizerFast
    builder: PromptBuilder
    tile_maker: TileMaker
    context: int
    end_ids: frozenset[int]
    hardware: Hardware
    quantization: str
    adapter: str
    parameters: int
    base: "LoadedModel | None" = None
    remark: str = ""
    native: str = "auto"
    plain: Plain | None = None

    def answering(self, messages: Iterable[Message]) -> "LoadedModel":
        """Return what answers a conversation: the plain model where there is no picture in it."""
        if self.plain is None or any(message.media for message in messages):
            return self
        return self.plain()

    @property
    def id(self) -> str:
        """The name clients ask for."""
        return self.folder.id

    @property
    def names(self) -> frozenset[str]:
        """Every name clients may ask for."""
        return frozenset({self.folder.id, self.folder.title})

    @property
    def own_adapter(self) -> str:
        """Name of the adapter that the model brings along to read pictures with, or empty."""
        return READING if (self.folder.path / PLAIN).is_dir() else ""

    @property
    def video(self) -> bool:
        """Whether the model has learned videos: SmolVLM2 and the demo have, not those before."""
        return bool(self.model.config.model_type == "smolvlm")

    def provenance(self) -> dict[str, str]:
        """Return what produced an answer."""
        return {
            "model": self.folder.id,
            "revision": self.folder.revision,
            "quantization": self.quantization,
            "adapter": self.adapter,
            "device": self.hardware.device,
            "dtype": str(self.hardware.dtype).removeprefix("torch."),
            "way": self.text.way,
        }

    def meta(self) -> dict[str, Any]:
        """Return the ``meta`` object of ``/v1/models``."""
        return {
            **self.provenance(),
            "way": describe(self.text),  # and why
            "title": self.folder.title,
            "notice": " ".join(filter(None, (self.folder.notice, self.remark))),
            "context": self.context,
            "images": True,
            "processor": self.builder.spec.as_row(),
            "video": self.video,
            "own_adapter": self.own_adapter,
            "parameters": self.parameters,
        }


def load_model(options: LoadOptions, progress: ProgressSink) -> LoadedModel:
    """Find, fetch and load the model that `options` ask for.

    Raises:
        ModelError: not found, not loadable or not fitting; one sentence.
    """
    began = time.perf_counter()
    progress(Progress("starting", "Starting"))
    use_threads(options.threads)
    hardware = find_hardware(options.device)
    if options.dtype:
        hardware = replace(hardware, dtype=getattr(torch, options.dtype))
    folder = resolve(
        options.model, progress, memory_bytes=hardware.available, device=hardware.device
    )
    config = _read_json(folder.path / "config.json")
    footprint = footprint_of(folder.path)
    own = not options.library and hardware.device == "cpu" and is_plain(folder, config)
    quantization = choose_quantization(
        *(footprint, options.quant, hardware.value_bytes, hardware.available, folder.title),
        packed=own,
    )
    if quantization == "none":
        progress(Progress("loading", f"Loading {folder.title}"))
    else:
        progress(Progress("quantizing", f"Quantizing {folder.title} to {quantization}"))
    text: TextModel[Any]
    if own:
        model, text = load_own(folder, config, quantization, hardware, options.native)
    else:
        model = load_weights(folder, config, quantization, hardware)
        text = LibraryText(model) if options.library else modules_text(model)
    tokenizer = load_tokenizer(folder)
    preprocessor = _read_json(folder.path / "preprocessor_config.json")
    blank = len(tokenizer.encode("\n\n", add_special_tokens=False))
    spec, limits = ProcessorSpec.from_configs(config, preprocessor, blank), rules().limits
    loaded = LoadedModel(
        folder=folder,
        model=model,
        text=text,
        tokenizer=tokenizer,
        builder=PromptBuilder(tokenizer, spec, limits),
        tile_maker=TileMaker(PixelSettings.of(preprocessor), spec, limits),
        context=int(model.config.get_text_config().max_position_embeddings),
        end_ids=_end_ids(model, tokenizer),
        hardware=hardware,
        quantization=quantization,
        adapter="",
        parameters=footprint.parameters,
        native=options.native,
    )
    loaded = with_plain(loaded, library=options.library)
    if loaded.plain is not None and not options.own_adapter:
        loaded = replace(loaded.plain(), adapter=OFF)
    if options.adapter is not None:
        name = options.adapter.resolve().name
        progress(Progress("loading", f"Loading the adapter {visible_line(name)}"))
        loaded = wear(loaded, name, options.adapter)
    trim()
    took = time.perf_counter() - began
    log.info("loaded %s in %.1f s; text: %s", folder.path, took, describe(loaded.text))
    return loaded


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}): fetch the model again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object: fetch the model again.")
    return value


def load_tokenizer(folder: ModelFolder) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a model folder.

    Raises:
        ModelError: it is damaged, or has no chat template.
    """
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder.path, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"The tokenizer of {folder.title} does not load ({short(error)})."
        ) from error
    if not tokenizer.chat_template:
        raise ModelError(f"{folder.title} has no chat template: use an instruct or chat model.")
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer


def _end_ids(model: Any, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:  # noqa: ANN401
    """Return every token that ends an answer, of the model's and the tokenizer's own naming."""
    ends = model.generation_config.eos_token_id
    ids = set(ends if isinstance(ends, list) else [ends])
    ids.add(tokenizer.eos_token_id)
    ids.add(tokenizer.get_vocab().get(END_OF_UTTERANCE))
    return frozenset(index for index in ids if index is not None)
