"""Everything that a run can be told, with the presets; errors are sentences.

Where a default comes from stands at the field. What TRL 1.16 does by default and is wrong here
(``max_length`` 1024, which is less than one picture of 17 tiles; a loss on pictures and questions;
adapters on every layer called ``q_proj``, the vision tower's among them) cannot be asked for.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from vlmchat.errors import UsageError

Method: TypeAlias = Literal["sft", "dpo", "kto", "mpo"]
AdapterKind: TypeAlias = Literal["lora", "dora", "rslora", "prompt"]
Layers: TypeAlias = Literal["all", "attention", "query-value"]
Schedule: TypeAlias = Literal["linear", "cosine", "constant"]
BaseQuantization: TypeAlias = Literal["none", "8bit", "4bit"]
Preset: TypeAlias = Literal["quick", "careful", "preference"]

# SFT: half of the 2e-4 that TRL's LoRA examples and the SmolVLM course's notebook have (TRL's own
# 2e-5 is for training all weights), because a person's logs are small. DPO: 5e-6, as TRL's example
# of DPO with LoRA; without adapters TRL has 1e-6. KTO: the same; TRL's documentation advises at
# most 1e-6 for all weights at beta 0.1, and adapters take about ten times as much. MPO: as DPO,
# whose loss it mixes (arXiv:2411.10442).
LEARNING_RATES: dict[Method, float] = {"sft": 1e-4, "dpo": 5e-6, "kto": 5e-6, "mpo": 5e-6}
# Prompt tuning learns a few vectors and wants a far higher rate: 0.3 in Lester et al.
# (arXiv:2104.08691, with Adafactor); 3e-2 in PEFT's examples with AdamW.
PROMPT_RATE = 3e-2


class RunSettings(BaseModel):
    """How a model is fine-tuned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = Field(
        default="sft", description="What is learned from: answers, or preferences."
    )
    adapter: AdapterKind = Field(
        default="lora",
        description="LoRA; DoRA (magnitude apart); rsLoRA (scaled by √rank); prompt tuning.",
    )
    rank: int = Field(default=16, ge=1, le=512, description="Rank of the adapter's matrices.")
    alpha: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="Scale of the adapter: alpha ÷ rank (rsLoRA: ÷ √rank).",
    )
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout before the adapter.")
    virtual_tokens: int = Field(
        default=16, ge=1, le=256, description="Length of the learned prompt, for prompt tuning."
    )
    layers: Layers = Field(
        default="all",
        description="Which linear layers: all; attention's; query and value (LoRA's paper).",
    )
    text: bool = Field(default=True, description="The text model's linear layers get adapters.")
    vision: bool = Field(
        default=False, description="The vision tower's too; each picture is then encoded anew."
    )
    connector: bool = Field(default=False, description="The connector's projection too.")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Of the optimizer; by default 1e-4 for SFT, 5e-6 for DPO, KTO and MPO, 3e-2 "
        "for prompt tuning.",
    )
    schedule: Schedule = Field(default="cosine", description="How the learning rate falls.")
    warmup: float = Field(
        default=0.03,
        ge=0,
        le=0.5,
        description="Part of all steps over which the learning rate rises.",
    )
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="Of AdamW.")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Gradients are scaled down to this norm."
    )
    epochs: float = Field(default=3.0, gt=0, le=1000, description="Passes over the training rows.")
    max_steps: int | None = Field(
        default=None, ge=1, description="Steps of the optimizer at most, whatever the epochs say."
    )
    batch: int = Field(default=1, ge=1, le=1024, description="Rows that are computed at once.")
    accumulation: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="Batches whose gradients make one step of the optimizer.",
    )
    validation_share: float = Field(
        default=0.1,
        ge=0,
        le=0.9,
        description="Part of the rows that only measure; whole conversations.",
    )
    eval_steps: int = Field(
        default=20, ge=1, description="Steps between measurements of the validation loss."
    )
    patience: int | None = Field(
        default=3,
        ge=1,
        description="Stop when the validation loss has not fallen for this many measurements.",
    )
    checkpoint_steps: int = Field(default=20, ge=1, description="Steps between checkpoints.")
    samples: int = Field(
        default=2,
        ge=0,
        le=20,
        description="Validation prompts answered at each measurement, to look at.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Of the split, the order and the adapter."
    )
    quantization: BaseQuantization = Field(
        default="none",
        description="Of the base while training: none, 8bit, or 4bit (QLoRA; CUDA only).",
    )
    beta: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="How close DPO, KTO and MPO stay to the base (0.1: TRL and the papers).",
    )
    sft_weight: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Weight of the SFT loss in MPO, beside 1 for the preference loss.",
    )
    context: int | None = Field(
        default=None, ge=16, description="Longest row, tokens; by default what the model can take."
    )

    @property
    def rate(self) -> float:
        """The learning rate that is used."""
        if self.learning_rate is not None:
            return self.learning_rate
        return PROMPT_RATE if self.adapter == "prompt" else LEARNING_RATES[self.method]

    @property
    def effective_batch(self) -> int:
        """Rows that make one step of the optimizer."""
        return self.batch * self.accumulation

    @property
    def frozen_sight(self) -> bool:
        """Whether pictures are seen the same all through the run, so that each is encoded once."""
        return self.adapter == "prompt" or not (self.vision or self.connector)

    def steps(self, rows: int) -> int:
        """Return the steps of the optimizer for so many training rows."""
        import math

        each = math.ceil(rows / self.effective_batch)
        whole = max(1, math.ceil(self.epochs * each)) if rows else 0
        return whole if self.max_steps is None else min(whole, self.max_steps)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.adapter != "prompt" and not (self.text or self.vision or self.connector):
            raise ValueError(
                "Nothing would be trained: choose the text model, the vision tower or the "
                "connector for the adapter."
            )
        if self.adapter == "prompt" and (self.vision or self.connector):
            raise ValueError(
                "Prompt tuning learns a prompt and no layers: leave vision and connector off, or "
                "choose LoRA."
            )
        return self

    def check_device(self, device: str) -> None:
        """Check that these settings work on `device` (``cpu``, ``cuda``, ``mps``).

        Raises:
            UsageError: they do not; one sentence.
        """
        if self.quantization == "4bit" and not device.startswith("cuda"):
            raise UsageError(
                "A 4-bit base (QLoRA) trains on CUDA only, since on a CPU its kernels give wrong "
                "gradients after an answer was generated: choose quantization none or 8bit."
            )


PRESETS: dict[Preset, tuple[str, Mapping[str, Any]]] = {
    "quick": (
        "A first look: one pass with a small adapter.",
        {"rank": 8, "alpha": 16, "epochs": 1.0, "accumulation": 4, "eval_steps": 10},
    ),
    "careful": (
        "Up to ten passes, stopped when the validation loss no longer falls.",
        {
            "rank": 32,
            "alpha": 64,
            "epochs": 10.0,
            "learning_rate": 5e-5,
            "validation_share": 0.15,
            "patience": 5,
        },
    ),
    "preference": (
        "From better and worse answers: the preference loss with the SFT loss mixed in.",
        {"method": "mpo", "rank": 16, "alpha": 32, "epochs": 2.0, "dropout": 0.0},
    ),
}


def preset(name: str, **changes: Any) -> RunSettings:  # noqa: ANN401 - fields of the model
    """Return the settings of a preset with `changes` made to them.

    Raises:
        UsageError: there is no such preset, or a change is refused.
    """
    for known, (_, values) in PRESETS.items():
        if known == name:
            return make({**values, **changes})
    raise UsageError(f"There is no preset “{name}”: use {', '.join(PRESETS)}.")


def make(values: Mapping[str, Any]) -> RunSettings:
    """Return settings with these values and defaults for the rest.

    Raises:
        UsageError: a value is refused; one sentence for the first of them.
    """
    try:
        return RunSettings(**values)
    except ValidationError as error:
        raise UsageError(_sentence(error)) from None


def to_table(settings: RunSettings) -> dict[str, Any]:
    """Return settings as a TOML table; what has no value is left out."""
    return settings.model_dump(exclude_none=True)


def from_table(table: Mapping[str, Any]) -> RunSettings:
    """Return the settings that `to_table` made a table of: what is not in it has no value.

    Raises:
        UsageError: a value is refused.
    """
    optional = [name for name, field in RunSettings.model_fields.items() if _can_be_none(field)]
    return make({name: table.get(name) for name in optional} | dict(table))


def _can_be_none(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def _sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    name = ".".join(str(part) for part in problem["loc"]).replace("_", " ")
    given = problem.get("input")
    if problem["type"] == "extra_forbidden":
        return f"There is no setting “{name}” for fine-tuning: see vlmchat finetune --help."
    text = problem["msg"].removeprefix("Input ")
    return f"The {name} cannot be {given!r}: it {text}."
