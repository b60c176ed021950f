"""Estimates agree with what a run really takes, and a refusal names what would fit."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.finetune.logs import asked, read, write_log
from tests.pictures import saved
from vlmchat.errors import UsageError
from vlmchat.finetune.estimate import (
    DoesNotFitError,
    Machine,
    ModelShape,
    Workload,
    check_fits,
    estimate,
    measured_speed,
)
from vlmchat.finetune.events import Step
from vlmchat.finetune.modules import target_pattern, target_shapes, trained_parameters
from vlmchat.finetune.rendering import Renderer
from vlmchat.finetune.report import examine
from vlmchat.finetune.settings import RunSettings, make

MACHINE = Machine("cpu", 8_000_000_000, 50_000_000_000)


@pytest.fixture(scope="module")
def shape(tiny_model: Path) -> ModelShape:
    return ModelShape.of(tiny_model)


@pytest.fixture
def work(tmp_path: Path, tiny_model: Path) -> Workload:
    saved(tmp_path / "a.png", 64, 64)
    rows = [asked(f"What {n}?", f"A circle {n}.", "a.png") for n in range(8)]
    examples, _ = read(write_log(tmp_path / "log.jsonl", rows))
    renderer = Renderer(tiny_model)
    report = examine(examples, renderer.count, renderer.context)
    return Workload.of(report, renderer.spec.tokens_per_tile, examples[6:])


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(tiny_model)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"vision": True},
        {"connector": True, "text": False},
        {"vision": True, "connector": True, "rank": 4},
        {"adapter": "dora"},
        {"adapter": "rslora"},
        {"layers": "attention"},
        {"layers": "query-value", "vision": True},
    ],
)
def test_targets_and_parameters_are_those_of_peft(
    model: Any, shape: ModelShape, values: dict[str, Any]
) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    settings = make(values)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=target_pattern(settings),
        use_dora=settings.adapter == "dora",
        use_rslora=settings.adapter == "rslora",
    )
    import copy

    adapted = inject_adapter_in_model(config, copy.deepcopy(model))
    names = {n.partition(".lora_A")[0] for n, _ in adapted.named_parameters() if ".lora_A" in n}
    # Checkpoints and modules may differ in what stands before the part's name.
    mine = set(target_shapes(shape.weights, settings))
    assert {re.sub(r"^.*?(text_model|vision_model|connector)", r"\1", n) for n in names} == {
        re.sub(r"^.*?(text_model|vision_model|connector)", r"\1", n) for n in mine
    }
    count = sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)
    assert count == trained_parameters(shape.weights, settings, shape.hidden)


def test_text_only_by_default_never_hits_the_vision_tower(shape: ModelShape) -> None:
    names = target_shapes(shape.weights, RunSettings())
    assert len(names) == 14
    assert all("text_model" in name for name in names)
    few = target_shapes(shape.weights, make({"layers": "query-value"}))
    assert {name.rpartition(".")[2] for name in few} == {"q_proj", "v_proj"} and len(few) == 4
    assert target_pattern(make({"adapter": "prompt"})) == ""
    assert trained_parameters(shape.weights, make({"adapter": "prompt"}), 64) == 16 * 64


def test_workload_counts_each_picture_once(work: Workload, shape: ModelShape) -> None:
    assert (work.rows, work.validation_rows) == (6, 2)
    assert work.tiles == work.row_tiles > 1
    assert work.tokens > work.longest > work.longest_trained > 0
    assert work.media_bytes > 0


def test_more_costs_more(shape: ModelShape, work: Workload) -> None:
    base = estimate(RunSettings(), shape, work, MACHINE)
    for values in ({"batch": 2}, {"rank": 32}, {"vision": True}):
        assert estimate(make(values), shape, work, MACHINE).memory > base.memory, values
    assert estimate(make({"epochs": 6}), shape, work, MACHINE).seconds > base.seconds
    assert estimate(make({"quantization": "8bit"}), shape, work, MACHINE).memory < base.memory
    assert base.memory == base.weights + base.trained + base.activations
    assert not base.measured


def test_a_measured_speed_is_used(shape: ModelShape, work: Workload) -> None:
    machine = replace(MACHINE, tokens_per_second=100.0)
    found = estimate(make({"epochs": 2, "accumulation": 1}), shape, work, machine)
    assert found.measured
    assert found.seconds == pytest.approx(2 * work.tokens / 100, rel=0.2)
    steps = [
        Step(step=n, epoch=0, loss=1.0, learning_rate=1e-4, tokens_per_second=speed)
        for n, speed in enumerate((0.0, 90.0, 100.0, 900.0))
    ]
    assert measured_speed(steps) == 100.0
    assert measured_speed([]) is None


def test_a_refusal_names_the_nearest_setting_that_fits(shape: ModelShape, work: Workload) -> None:
    wanted = make({"batch": 8, "accumulation": 1, "rank": 64, "vision": True})
    assert check_fits(wanted, shape, work, MACHINE).memory < MACHINE.memory

    def refused(memory: int) -> DoesNotFitError:
        with pytest.raises(DoesNotFitError) as caught:
            check_fits(wanted, shape, work, replace(MACHINE, memory=memory))
        return caught.value

    def needs(**values: Any) -> int:
        return estimate(wanted.model_copy(update=values), shape, work, MACHINE).memory

    batch = refused(needs(batch=4))
    assert batch.suggestion is not None
    assert (batch.suggestion.batch, batch.suggestion.accumulation) == (4, 2)
    assert "batch 4 and accumulation 2" in str(batch) and "MB" in str(batch)
    rank = refused(needs(batch=1, rank=32))
    assert rank.suggestion is not None
    assert (rank.suggestion.batch, rank.suggestion.rank, rank.suggestion.alpha) == (1, 32, 16)
    parts = refused(needs(batch=1, rank=4, vision=False))
    assert parts.suggestion is not None
    assert not parts.suggestion.vision and parts.suggestion.rank == 4
    nothing = refused(1_000_000)
    assert nothing.suggestion is None and "smaller model" in str(nothing)


def test_disk_and_device_are_checked(shape: ModelShape, work: Workload) -> None:
    with pytest.raises(DoesNotFitError, match="of disk"):
        check_fits(RunSettings(), shape, work, replace(MACHINE, disk=1000))
    with pytest.raises(UsageError, match="CUDA only"):
        check_fits(make({"quantization": "4bit"}), shape, work, MACHINE)
