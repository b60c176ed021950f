"""Carrying out one job, from its folder to its adapter."""

import contextlib
import logging
import os
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import set_seed
from transformers.trainer_callback import ProgressCallback

from vlmchat.engine.hardware import Hardware, find_hardware, use_threads
from vlmchat.engine.threads import usable_cores
from vlmchat.errors import VlmchatError
from vlmchat.finetune.events import Ended, Error, Event, EventWriter, Paused, Sample, Started
from vlmchat.finetune.files import JobError, sync_folder, told
from vlmchat.finetune.job import Job, JobSpec, Side
from vlmchat.finetune.settings import RunSettings
from vlmchat.media.rules import rules, use_rules
from vlmchat.trainer import checkpoints
from vlmchat.trainer.answers import answer
from vlmchat.trainer.base import Base, adapted, check_trains, load_base, precision
from vlmchat.trainer.batches import Collator, Sight, features_sight, pixels_sight
from vlmchat.trainer.features import FeatureStore
from vlmchat.trainer.methods import dataset_of, method_of
from vlmchat.trainer.rows import Row, Rows
from vlmchat.trainer.telling import Telling

log = logging.getLogger(__name__)
_RESERVE = 64 * 1024
_HALVED = 4  # rows of a batch
_LAYER_BYTES = 34  # of activations a token, layer and hidden value (arXiv:2205.05198)


def run(job: Job, *, device: str = "auto", threads: int = 0) -> int:
    """Carry out `job`, which this process holds, and return the exit code.

    Every way it can end is told in the job's events.
    """
    # Decides how processes find each other, before anything else asks.
    state = PartialState(cpu=device == "cpu" or None)
    writer = EventWriter(job.events_file) if state.is_main_process else None
    reserve = job.folder / "reserve"
    with contextlib.suppress(OSError):
        reserve.write_bytes(b"\0" * _RESERVE)

    def tell(event: Event) -> None:
        if writer is not None:
            writer.write(event)

    try:
        tell(_carried_out(job, writer, device, threads))
        return 0
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        log.exception("the run failed")
        reserve.unlink(missing_ok=True)  # so that a full disk has room for the sentence
        with contextlib.suppress(OSError):
            tell(Error(message=_sentence(error), detail=type(error).__name__))
        return 1
    finally:
        reserve.unlink(missing_ok=True)
        if writer is not None:
            writer.close()


def _sentence(error: BaseException) -> str:
    if isinstance(error, VlmchatError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "The memory ran out: take a smaller batch, shorter rows or a smaller rank."
    if isinstance(error, OSError):
        return f"The run cannot go on ({error.strerror or error}): mend that and resume the job."
    first = " ".join(str(error).split())[:200] or type(error).__name__
    return f"The run failed ({first}): the job's log says more."


@dataclass(frozen=True)
class _Data:
    """The two sides of a job as rows, and what gives them their pictures."""

    train: list[Row]
    validation: list[Row]
    sight: Sight


def _carried_out(job: Job, writer: EventWriter | None, device: str, threads: int) -> Event:
    """Train, and return the event that the run ends with."""
    spec, settings = job.spec(), job.spec().settings
    use_rules(replace(rules(), background=spec.background, number_images=spec.number_images))
    use_threads(threads or usable_cores())  # a number that stays: sums come out the same
    hardware = find_hardware(device)
    settings.check_device(hardware.device)
    set_seed(settings.seed)
    base = load_base(spec.base, settings, hardware)
    data = _data(job, base, settings)
    set_seed(settings.seed)  # whatever was drawn while encoding, a resumed run draws the same
    model = adapted(base, settings, spec.base)
    parameters = check_trains(model)
    validation = Collator(data.validation, data.sight, base.pad_id, settings.method)
    started = Started(
        steps=0,
        rows=len(data.train),
        validation_rows=len(data.validation),
        parameters=parameters,
        device=hardware.device,
        processes=PartialState().num_processes,
    )

    def samples(step: int) -> list[Sample]:
        if writer is None or PartialState().distributed_type.value == "FSDP":
            return []
        count = min(settings.samples, len(data.validation))
        inner = telling.trainer.accelerator.unwrap_model(model)
        return [answer(inner, base, validation, index, step) for index in range(count)]

    telling = Telling(job, writer, settings, started, samples)
    trainer = _trainer(job, spec, base, data, model, hardware, telling)
    with _leaving(telling):
        trainer.train(resume_from_checkpoint=_resumed_from(job))
    return _ended(job, trainer, telling)


def _resumed_from(job: Job) -> str | None:
    found = checkpoints.last(job)
    return None if found is None else str(found)


# Data ------------------------------------------------------------------------------------------


def _data(job: Job, base: Base, settings: RunSettings) -> _Data:
    """Make all rows and, while the tower is frozen, the features of their pictures."""
    state = PartialState()
    context = min(settings.context or base.renderer.context, base.renderer.context)
    # The learned prompt takes its place in the context, too.
    context -= settings.virtual_tokens if settings.adapter == "prompt" else 0
    maker = Rows(base.renderer, context=context)
    store = None
    if settings.frozen_sight:
        store = FeatureStore(job.folder / "features", base.model, base.tile_maker)
    sides: dict[Side, list[Row]] = {"train": [], "validation": []}
    number = 0
    for side, rows in sides.items():
        for example in job.examples(side):
            row, images = maker.make(example)
            rows.append(row)
            # Each process encodes its part; names are of content, so that none is encoded twice.
            if store is not None and number % state.num_processes == state.process_index:
                store.encode(images)
            number += 1
    state.wait_for_everyone()
    if settings.method == "kto":  # see `methods.method_of`
        random.Random(settings.seed).shuffle(sides["train"])  # noqa: S311 - nothing secret
    if store is None:

        def tiles(row: Row) -> dict[str, torch.Tensor]:
            return {name: base.tile_maker.tiles(one) for name, one in maker.images(row).items()}

        return _Data(sides["train"], sides["validation"], pixels_sight(tiles))
    log.info("%d pictures encoded", store.encoded)
    store.forget_model()
    return _Data(sides["train"], sides["validation"], features_sight(store.read))


# Training --------------------------------------------------------------------------------------


def _trainer(
    job: Job,
    spec: JobSpec,
    base: Base,
    data: _Data,
    model: Any,  # noqa: ANN401 - PEFT's wrapper
    hardware: Hardware,
    telling: Telling,
) -> Any:  # noqa: ANN401 - one of TRL's
    settings = spec.settings
    common = _arguments(job, settings, hardware, bool(data.validation))
    common["gradient_checkpointing"] = _recomputes(base, settings, data.train, hardware)
    kind, arguments = method_of(settings, common)
    trainer: Any = kind(
        job=job,
        model=model,
        args=arguments,
        train_dataset=dataset_of(len(data.train), train=True),
        eval_dataset=dataset_of(len(data.validation), train=False) if data.validation else None,
        data_collator=_TwoSides(data, base.pad_id, settings),
        processing_class=base.tokenizer,
        callbacks=[telling],
    )
    trainer.remove_callback(ProgressCallback)
    telling.trainer = trainer
    return trainer


class _TwoSides:
    """The collator of both sides: transformers has one for both, and two datasets."""

    def __init__(self, data: _Data, pad_id: int, settings: RunSettings) -> None:
        method = settings.method
        self.train = Collator(data.train, data.sight, pad_id, method)
        self.validation = Collator(data.validation, data.sight, pad_id, method)

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        side = self.train if items[0]["train"] else self.validation
        return side(items)


def _arguments(
    job: Job, settings: RunSettings, hardware: Hardware, validates: bool
) -> dict[str, Any]:
    """Return the arguments that all of TRL's trainers take."""
    parts = _parts(settings, hardware)
    return {
        "output_dir": str(job.checkpoints),
        "per_device_train_batch_size": settings.batch // parts,
        "per_device_eval_batch_size": settings.batch,
        "gradient_accumulation_steps": settings.accumulation * parts,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "learning_rate": settings.rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(
            settings.schedule, settings.schedule
        ),
        "warmup_steps": settings.warmup,  # below 1: a part of all steps
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "optim": "adamw_torch",
        "seed": settings.seed,
        "data_seed": settings.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if validates else "no",
        "eval_steps": settings.eval_steps,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": None,
        "dataloader_pin_memory": hardware.device != "cpu",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": "none",
        "push_to_hub": False,
        **precision(hardware),
    }


def _parts(settings: RunSettings, hardware: Hardware) -> int:
    """Return in how many parts a batch goes through the model.

    Two rows keep a processor's cores as busy as four do, and their activations take half the
    memory. The supervised loss is a mean over the tokens of all parts, so that nothing else
    changes; the losses of preferences are means over rows, and are left whole.
    """
    halves = hardware.device == "cpu" and settings.method == "sft" and settings.batch >= _HALVED
    return 2 if halves and settings.batch % 2 == 0 else 1


def _recomputes(base: Base, settings: RunSettings, rows: Sequence[Row], hardware: Hardware) -> bool:
    """Return whether activations are recomputed rather than kept, because they would not fit.

    Keeping them saves a third of the time; they may take a quarter of the memory that is free.
    """
    text = base.model.config.get_text_config()
    longest = max(sum(len(one.ids) for one in row.branches) for row in rows)
    value = hardware.value_bytes * _LAYER_BYTES // 2
    kept = settings.batch * longest * text.hidden_size * text.num_hidden_layers * value
    return bool(kept > find_hardware(hardware.device).available // 4) or not settings.frozen_sight


@contextlib.contextmanager
def _leaving(telling: Telling) -> Iterator[None]:
    """While training: asked by the system to end, leave a checkpoint to go on from."""

    def leave(*_: object) -> None:
        telling.asked_to_leave = True

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# The end ---------------------------------------------------------------------------------------


def _ended(job: Job, trainer: Any, telling: Telling) -> Event:  # noqa: ANN401 - one of TRL's
    step = int(trainer.state.global_step)
    if telling.ending == "left":
        return Paused(step=step)
    if telling.ending == "cancelled":
        return Ended(reason="cancelled", step=step)
    best = telling.best
    if PartialState().is_main_process:
        _save_adapter(job, trainer, best[0] if best else None)
    trainer.accelerator.wait_for_everyone()
    return Ended(
        reason=telling.ending or "finished",
        step=step,
        best_step=best[0] if best else None,
        loss=best[1] if best else None,
    )


def _save_adapter(job: Job, trainer: Any, best: int | None) -> None:  # noqa: ANN401
    """Leave the best adapter, or the last one where nothing was measured: whole or not at all."""
    temporary = job.folder / ".adapter.part"
    with told("The adapter cannot be saved"):
        shutil.rmtree(temporary, ignore_errors=True)
        source = None if best is None else job.checkpoints / checkpoints.name_of(best)
        if source is not None and source.is_dir():
            temporary.mkdir()
            for path in source.glob("adapter_*"):
                shutil.copyfile(path, temporary / path.name)
        else:
            model = trainer.accelerator.unwrap_model(trainer.model)
            # Of preferences the model it began as is beside it, as an adapter of its own.
            model.save_pretrained(temporary, selected_adapters=[model.active_adapter])
            (temporary / "README.md").unlink(missing_ok=True)
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if job.adapter.exists():
            shutil.rmtree(job.adapter)
        temporary.rename(job.adapter)
        sync_folder(job.folder)
    if not any(Path(job.adapter).glob("adapter_model.safetensors")):
        raise JobError("The adapter was not saved: the job's log says more.")
