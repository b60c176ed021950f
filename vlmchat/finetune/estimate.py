"""Memory, time and disk of a run before it is started, and what would fit if it does not.

All from headers and configuration files; nothing is loaded. The numbers err on the large side
where the formulas are coarse, and say whether the speed in them was measured.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vlmchat.errors import ModelError, UsageError
from vlmchat.finetune.events import Event, Step
from vlmchat.finetune.examples import Example
from vlmchat.finetune.modules import trained_parameters
from vlmchat.finetune.report import DataReport, Measured
from vlmchat.finetune.settings import RunSettings
from vlmchat.models.footprint import Footprint
from vlmchat.models.local import footprint_of, read_json, tensors
from vlmchat.models.processor import processor_spec
from vlmchat.models.safetensors_header import TensorInfo
from vlmchat.text import human_bytes

# What AdamW keeps for each trained number: itself, its gradient and two moments, 4 bytes each.
_TRAINED_BYTES = 16
_SAVED_BYTES = 12  # itself and two moments
_KEPT_CHECKPOINTS = 3
# Activations of one layer, bytes a token and hidden value at 2 bytes a value, with attention that
# keeps no matrix (Korthikanti et al., arXiv:2205.05198, equation 1 without its second term).
_LAYER_BYTES = 34
_LOGITS = 3  # logits, their probabilities and their gradient
_CACHED_TOKENS = 4096  # that `Footprint.required` counts; training keeps no cache
# Operations a second where nothing was measured; a guess, and told as one.
_ASSUMED = {"cuda": 2e13, "mps": 2e12, "cpu": 1e11}
_SLACK = 50_000_000


class DoesNotFitError(UsageError):
    """A run needs more than there is.

    Attributes:
        estimate: what it needs.
        suggestion: the nearest settings that fit, if any do.
    """

    code = "does_not_fit"

    def __init__(self, message: str, estimate: "Estimate", suggestion: RunSettings | None) -> None:
        super().__init__(message)
        self.estimate = estimate
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a model decides the costs of training it.

    Attributes:
        weights: every tensor of it.
        footprint: its parameters by whether they can be quantized.
        hidden: width of the text model.
        layers: of the text model.
        vocabulary: tokens it chooses from.
        vision_parameters: of the tower.
        vision_hidden: width of the tower.
        vision_layers: of the tower.
        patches: that the tower sees in a tile.
        tokens_per_tile: what the connector makes of them.
    """

    weights: Mapping[str, TensorInfo]
    footprint: Footprint
    hidden: int
    layers: int
    vocabulary: int
    vision_parameters: int
    vision_hidden: int
    vision_layers: int
    patches: int
    tokens_per_tile: int

    @classmethod
    def of(cls, folder: Path) -> "ModelShape":
        """Read the model folder's configuration and headers; blocking.

        Raises:
            ModelError: a file is missing or damaged.
        """
        config = read_json(folder / "config.json")
        weights = tensors(folder)
        text, vision = config.get("text_config", {}), config.get("vision_config", {})
        try:
            head = _shape_of(weights, "embed_tokens.weight")
            layers = int(text.get("num_hidden_layers", 32))
            side = int(vision["image_size"]) // int(vision["patch_size"])
            return cls(
                weights,
                footprint_of(folder),
                head[1],
                layers,
                head[0],
                sum(info.parameters for name, info in weights.items() if "vision_model." in name),
                int(vision.get("hidden_size", 1152)),
                int(vision.get("num_hidden_layers", 12)),
                side * side,
                processor_spec(folder).tokens_per_tile,
            )
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise ModelError(
                f"The configuration in “{folder.name}” does not say how large the model is "
                f"({error!r}): fetch the model again."
            ) from error

    @property
    def text_parameters(self) -> int:
        """Parameters that each token passes; the tower's are counted by the tile."""
        return self.footprint.parameters - self.vision_parameters - self.vocabulary * self.hidden


def _shape_of(weights: Mapping[str, TensorInfo], ending: str) -> tuple[int, ...]:
    return next(info.shape for name, info in weights.items() if name.endswith(ending))


@dataclass(frozen=True, slots=True)
class Workload:
    """What of the data decides the costs.

    Attributes:
        rows: that are trained on.
        validation_rows: that only measure.
        tokens: of all sequences of the training rows.
        validation_tokens: the same of the validation rows.
        longest: tokens of all sequences of the longest row (both answers of a preference).
        longest_trained: of them, tokens that the loss is taken on, at most.
        tiles: of all distinct pictures and frames.
        row_tiles: of the row that has most.
        media_bytes: of all distinct pictures and videos.
    """

    rows: int
    validation_rows: int
    tokens: int
    validation_tokens: int
    longest: int
    longest_trained: int
    tiles: int
    row_tiles: int
    media_bytes: int

    @classmethod
    def of(
        cls, report: DataReport, tokens_per_tile: int, validation: Iterable[Example] = ()
    ) -> "Workload":
        """Return the work in a report, of whose examples some only measure."""
        held = {example.digest for example in validation}
        train: list[Measured] = []
        rest: list[Measured] = []
        for item in report.usable:
            (rest if item.example.digest in held else train).append(item)
        media = {one.sha256: one for item in report.usable for one in item.example.media}
        # Tokens of pictures, each row's own: what occurs in several rows is counted once by share.
        seen: dict[tuple[str, ...], int] = {}
        for item in report.usable:
            key = tuple(sorted({one.sha256 for one in item.example.media}))
            branches = len(item.example.branches())
            seen[key] = max(seen.get(key, 0), item.count.image // branches // tokens_per_tile)
        return cls(
            len(train),
            len(rest),
            sum(item.count.total for item in train),
            sum(item.count.total for item in rest),
            max((item.count.total for item in report.usable), default=0),
            max((item.count.trained for item in report.usable), default=0),
            sum(seen.values()),
            max(seen.values(), default=0),
            sum(one.size for one in media.values()),
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run has.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        memory: bytes free on the device.
        disk: bytes free where jobs are.
        value_bytes: of a plain value on the device (2 for bfloat16).
        cores: of the processor, physical.
        tokens_per_second: measured in an earlier run with this model (see `measured_speed`).
    """

    device: str
    memory: int
    disk: int
    value_bytes: int = 2
    cores: int = 1
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run costs.

    Attributes:
        weights: bytes of the base as it is loaded, with the libraries.
        trained: bytes of adapter, gradients and optimizer.
        activations: bytes of one batch.
        parameters: numbers that are trained.
        steps: of the optimizer.
        seconds: of the whole run.
        measured: whether the speed in `seconds` was measured.
        disk: bytes of the job folder when it is done.
    """

    weights: int
    trained: int
    activations: int
    parameters: int
    steps: int
    seconds: float
    measured: bool
    disk: int

    @property
    def memory(self) -> int:
        """Bytes at the peak."""
        return self.weights + self.trained + self.activations


def estimate(
    settings: RunSettings, model: ModelShape, work: Workload, machine: Machine
) -> Estimate:
    """Return what a run costs.

    Memory, bytes:
        weights = quantizable × bytes(quantization) + other × value + 400 MB;
        trained = parameters × 16 (weight, gradient, two moments of AdamW in 32 bits);
        activations = batch × (longest × hidden × (value × layers + 17 × value)
        + 3 × 4 × trained tokens × vocabulary): the inputs of each layer, one layer recomputed at
        a time, and the logits of the tokens that are trained on. While the tower is trained, the
        same for its patches.

    Time, seconds:
        tokens × 6 × text parameters ÷ speed (forward, recomputed forward, backward to the
        activations: 2 operations a parameter and token each), 8 with the reference model of DPO,
        KTO and MPO, 2 for validation tokens; and tiles × patches × 2 × tower's parameters, once
        while sight is frozen, else 3 times each pass. With a measured speed, tokens ÷ speed.

    Disk, bytes:
        media + cached features (tiles × tokens a tile × hidden × 2) + adapter × 4 a parameter
        + 3 checkpoints × 12 a parameter + 50 MB.
    """
    value = machine.value_bytes
    footprint = model.footprint
    cache = footprint.cache_per_token * _CACHED_TOKENS * value
    weights = footprint.required(settings.quantization, value) - cache
    parameters = trained_parameters(model.weights, settings, model.hidden)
    steps = settings.steps(work.rows)
    passes = steps * settings.effective_batch / work.rows if work.rows else 0.0
    features = work.tiles * model.tokens_per_tile * model.hidden * 2 if settings.frozen_sight else 0
    return Estimate(
        weights,
        parameters * _TRAINED_BYTES,
        _activations(settings, model, work, value),
        parameters,
        steps,
        _seconds(settings, model, work, machine, passes, steps),
        machine.tokens_per_second is not None,
        work.media_bytes + features + parameters * (4 + _KEPT_CHECKPOINTS * _SAVED_BYTES) + _SLACK,
    )


def _activations(settings: RunSettings, model: ModelShape, work: Workload, value: int) -> int:
    layer = _LAYER_BYTES * value // 2
    row = work.longest * model.hidden * (value * model.layers + layer)
    row += _LOGITS * 4 * work.longest_trained * model.vocabulary
    if not settings.frozen_sight:
        seen = work.row_tiles * model.patches * model.vision_hidden
        row += seen * (value * model.vision_layers + layer)
    return settings.batch * row


def _seconds(
    settings: RunSettings,
    model: ModelShape,
    work: Workload,
    machine: Machine,
    passes: float,
    steps: int,
) -> float:
    evaluations = steps // settings.eval_steps if work.validation_rows else 0
    if machine.tokens_per_second is not None:
        # Measuring goes forward only, which is a third of the work.
        done = passes * work.tokens + evaluations * work.validation_tokens / 3
        return done / machine.tokens_per_second
    device = machine.device.partition(":")[0]
    speed = _ASSUMED.get(device, _ASSUMED["cpu"]) * (machine.cores if device == "cpu" else 1)
    each = 6 if settings.method == "sft" else 8
    text = each * passes * work.tokens + 2 * evaluations * work.validation_tokens
    tower = 1.0 if settings.frozen_sight else 3 * passes
    sight = 2 * tower * work.tiles * model.patches * model.vision_parameters
    return (text * model.text_parameters + sight) / speed


def measured_speed(events: Iterable[Event]) -> float | None:
    """Return the tokens a second of an earlier run in the middle, if it told any."""
    speeds = [e.tokens_per_second for e in events if isinstance(e, Step)]
    positive = [speed for speed in speeds if speed > 0]
    return median(positive) if positive else None


# What fits -------------------------------------------------------------------------------------


def check_fits(
    settings: RunSettings, model: ModelShape, work: Workload, machine: Machine
) -> Estimate:
    """Return what a run costs, if the machine has it.

    Raises:
        DoesNotFitError: it has not; the sentence has the numbers and the nearest setting that fits.
        UsageError: the settings do not work on this device.
    """
    settings.check_device(machine.device)
    needed = estimate(settings, model, work, machine)
    if needed.disk > machine.disk:
        raise DoesNotFitError(
            f"The run needs {human_bytes(needed.disk)} of disk and {human_bytes(machine.disk)} "
            "are free: make room, or choose a smaller rank.",
            needed,
            None,
        )
    if needed.memory <= machine.memory:
        return needed
    for change, smaller in _smaller(settings, machine):
        found = estimate(smaller, model, work, machine)
        if found.memory <= machine.memory and found.disk <= machine.disk:
            raise DoesNotFitError(
                f"{_needs(needed, machine)}: with {change} it takes {human_bytes(found.memory)}.",
                needed,
                smaller,
            )
    raise DoesNotFitError(
        f"{_needs(needed, machine)}, and no smaller setting fits: choose a smaller model, shorter "
        "rows, or fewer tiles a picture.",
        needed,
        None,
    )


def _needs(needed: Estimate, machine: Machine) -> str:
    return (
        f"The run needs {human_bytes(needed.memory)} of memory (model "
        f"{human_bytes(needed.weights)}, adapter {human_bytes(needed.trained)}, one batch "
        f"{human_bytes(needed.activations)}) and {human_bytes(machine.memory)} are free"
    )


def _smaller(settings: RunSettings, machine: Machine) -> Iterator[tuple[str, RunSettings]]:
    """Yield settings that need less and less, the mildest first, with what they are called.

    A smaller batch is made up for by accumulation, so that nothing is learned otherwise.
    """
    now = settings

    def changed(**values: Any) -> RunSettings:  # noqa: ANN401 - fields of the model
        return now.model_copy(update=values)

    while now.batch > 1:
        batch = now.batch // 2
        now = changed(batch=batch, accumulation=-(-settings.effective_batch // batch))
        yield f"batch {now.batch} and accumulation {now.accumulation}", now
    said = [f"batch {now.batch}"] if now.batch != settings.batch else []
    while now.rank > 4 and now.adapter != "prompt":
        # Alpha goes with it, so that the adapter's scale stays.
        rank = now.rank // 2
        now = changed(rank=rank, alpha=max(1, now.alpha * rank // now.rank))
        yield ", ".join([*said, f"rank {now.rank}"]), now
    if now.rank != settings.rank:
        said.append(f"rank {now.rank}")
    for part in ("vision", "connector"):
        if getattr(now, part) and (now.text or (part == "vision" and now.connector)):
            now = changed(**{part: False})
            said.append(f"{part} off")
            yield ", ".join(said), now
    choices = ["8bit", "4bit"] if machine.device.startswith("cuda") else ["8bit"]
    for choice in choices if now.quantization == "none" else choices[1:]:
        now = changed(quantization=choice)
        yield ", ".join([*said, f"quantization {choice}"]), now
