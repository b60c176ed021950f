"""The model that is trained: the base as the engine loads it, and the adapter over it."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PromptTuningConfig, TaskType, get_peft_model
from transformers import PreTrainedTokenizerFast

from vlmchat.engine.hardware import Hardware
from vlmchat.engine.loading import load_tokenizer
from vlmchat.engine.pixels import PixelSettings
from vlmchat.engine.vision import TileMaker
from vlmchat.engine.weights import load_weights
from vlmchat.errors import ModelError
from vlmchat.finetune.job import BaseModelRef
from vlmchat.finetune.modules import target_pattern
from vlmchat.finetune.rendering import Renderer
from vlmchat.finetune.settings import RunSettings
from vlmchat.media.rules import rules
from vlmchat.models.catalogue import DEMO
from vlmchat.models.local import check_folder, read_json
from vlmchat.models.resolve import ModelFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded base; its `model` is frozen and has no adapter."""

    model: Any
    tokenizer: PreTrainedTokenizerFast
    renderer: Renderer
    tile_maker: TileMaker
    hardware: Hardware

    @property
    def pad_id(self) -> int:
        """The id that fills up shorter sequences."""
        found = self.tokenizer.pad_token_id
        return int(found) if isinstance(found, int) else 0


def load_base(ref: BaseModelRef, settings: RunSettings, hardware: Hardware) -> Base:
    """Load the base of a job in evaluation mode.

    Raises:
        ModelError: it is gone, damaged, or not to be quantized here.
    """
    from pathlib import Path

    path = Path(ref.folder)
    check_folder(path)
    demo = ref.id == DEMO.id
    folder = ModelFolder(path, ref.id, path.name, ref.revision, demo, "")
    config, pixels = (read_json(path / f"{it}config.json") for it in ("", "preprocessor_"))
    model = load_weights(folder, config, settings.quantization, hardware)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    renderer = Renderer(path, videos=False if demo else None)
    return Base(
        model=model,
        tokenizer=load_tokenizer(folder),
        renderer=renderer,
        tile_maker=TileMaker(PixelSettings.of(pixels), renderer.spec, rules().limits),
        hardware=hardware,
    )


def adapter_config(settings: RunSettings, ref: BaseModelRef) -> PeftConfig:
    """Return PEFT's configuration of the adapter, naming the base as others will find it.

    Layers are named by a pattern that matches whole names (`vlmchat.finetune.modules`), so that
    ``q_proj`` never means the vision tower's.
    """
    known: dict[str, Any] = {
        "task_type": TaskType.CAUSAL_LM,
        "base_model_name_or_path": ref.id,
        "revision": ref.revision or None,
    }
    if settings.adapter == "prompt":
        return PromptTuningConfig(
            num_virtual_tokens=settings.virtual_tokens,
            # Words begin nearer to what the model knows than noise does (arXiv:2104.08691, 3.2).
            prompt_tuning_init="SAMPLE_VOCAB",
            **known,
        )
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=target_pattern(settings),
        use_dora=settings.adapter == "dora",
        use_rslora=settings.adapter == "rslora",
        **known,
    )


def adapted(base: Base, settings: RunSettings, ref: BaseModelRef) -> Any:  # noqa: ANN401
    """Return PEFT's wrapper around the base, with a new adapter."""
    model = get_peft_model(base.model, adapter_config(settings, ref))
    # PEFT puts in the folder that the base was loaded from, which means nothing elsewhere.
    config = model.peft_config[model.active_adapter]
    config.base_model_name_or_path, config.revision = ref.id, ref.revision or None
    return model


def check_trains(model: Any) -> int:  # noqa: ANN401 - PEFT's wrapper
    """Return how many numbers are trained.

    Raises:
        ModelError: none; the pattern matches no layer of this model.
    """
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not count:
        raise ModelError("No layer of this model gets an adapter with these settings.")
    return int(count)


def precision(hardware: Hardware) -> dict[str, bool]:
    """Return the arguments for computing in the device's fast numbers."""
    return {
        "bf16": hardware.dtype == torch.bfloat16,
        "fp16": hardware.dtype == torch.float16,
        "use_cpu": hardware.device == "cpu",
    }
