"""Every method end to end on the tiny model: pictures, several, none, and videos, in one job."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.films import film_file
from tests.trainer.jobs import job_of, kto_rows, preference_rows, sft_rows
from vlmchat.finetune.events import Ended, Error, Step, Validation, json_schema, read_events
from vlmchat.finetune.job import Job
from vlmchat.trainer import run as running
from vlmchat.trainer.run import run

MAKERS = {"sft": sft_rows, "dpo": preference_rows, "mpo": preference_rows, "kto": kto_rows}
QUICK: dict[str, Any] = {
    "epochs": 2,
    "accumulation": 2,
    "eval_steps": 3,
    "checkpoint_steps": 3,
    "rank": 4,
    "alpha": 8,
    "learning_rate": 2e-3,
    "dropout": 0.0,
    "patience": None,
}


def mixed(method: str, folder: Path) -> list[dict[str, Any]]:
    """Return rows with one picture, none, two, and a video."""
    make = MAKERS[method]
    rows = [*make(folder, 4), *make(folder, 2, pictures=0), *make(folder, 2, pictures=2)]
    clip = folder / "clip.mp4"
    shutil.copyfile(film_file(), clip)
    for row in make(folder, 2, pictures=0):
        turns = row.get("messages") or row["prompt"]
        turns[0]["content"].insert(0, {"type": "video", "path": clip.name})
        rows.append(row)
    return rows


def carried_out(job: Job) -> list[Any]:
    code = run(job, device="cpu", threads=1)
    events = read_events(job.events_file)
    errors = [one.message for one in events if isinstance(one, Error)]
    assert code == 0 and not errors, errors
    return events


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "mpo"])
def test_each_method_learns_from_every_kind_of_row(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    rows = mixed(method, tmp_path)
    job = job_of(tiny_model, tmp_path, rows, held_out=2, method=method, **QUICK)
    events = carried_out(job)
    steps = [one for one in events if isinstance(one, Step)]
    assert [one.step for one in steps] == list(range(1, 9))
    assert all(one.loss is not None and one.tokens_per_second > 0 for one in steps)
    ended = events[-1]
    assert isinstance(ended, Ended) and ended.reason == "finished" and ended.best_step
    assert job.state() == "finished"
    assert (job.adapter / "adapter_model.safetensors").is_file()
    validator = Draft202012Validator(json_schema())
    for line in job.events_file.read_text().splitlines():
        validator.validate(json.loads(line))


def test_halves_of_a_batch_are_the_batch(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine rows of all kinds, so that the last batch of each epoch is a single row."""
    losses = []
    for name, least in (("whole", 99), ("halved", 4)):
        monkeypatch.setattr(running, "_HALVED", least)
        folder = tmp_path / name
        folder.mkdir()
        settings = QUICK | {"batch": 4, "accumulation": 1}
        job = job_of(tiny_model, folder, mixed("sft", folder)[:9], method="sft", **settings)
        steps = [one for one in carried_out(job) if isinstance(one, Step)]
        losses.append([one.loss for one in steps])
    # A row that counted too much would show in the first steps; what sums in bfloat16 round to, on
    # every processor otherwise, grows from step to step.
    whole, halved = losses
    assert len(whole) == 6 and whole[:3] == pytest.approx(halved[:3], rel=1e-3)
    assert whole == pytest.approx(halved, rel=5e-3)


def test_dpo_raises_the_margin(tiny_model: Path, tmp_path: Path) -> None:
    rows = preference_rows(tmp_path, 12)
    settings = QUICK | {"epochs": 4, "learning_rate": 5e-3}
    job = job_of(tiny_model, tmp_path, rows, held_out=3, method="dpo", **settings)
    measured = [one for one in carried_out(job) if isinstance(one, Validation)]
    first, last = (one.metrics["rewards/margins"] for one in (measured[0], measured[-1]))
    assert first is not None and last is not None
    assert last > first + 0.1 and last > 0


def test_sft_falls_and_stops_early(tiny_model: Path, tmp_path: Path) -> None:
    rows = sft_rows(tmp_path, 10)
    settings = QUICK | {"epochs": 60, "learning_rate": 5e-2, "eval_steps": 4, "patience": 2}
    job = job_of(tiny_model, tmp_path, rows, held_out=2, **settings)
    events = carried_out(job)
    ended = events[-1]
    assert isinstance(ended, Ended) and ended.reason == "early"
    assert ended.best_step is not None and ended.best_step <= ended.step - 8
    losses = [one.loss or 0 for one in events if isinstance(one, Validation)]
    assert ended.loss == min(losses)
    # What is left is the adapter of the best step, not of the last.
    best = job.checkpoints / f"checkpoint-{ended.best_step}" / "adapter_model.safetensors"
    assert best.read_bytes() == (job.adapter / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["dora", "rslora", "prompt"])
@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_every_adapter(method: str, adapter: str, tiny_model: Path, tmp_path: Path) -> None:
    rows = mixed(method, tmp_path)
    settings = QUICK | {"adapter": adapter, "epochs": 1}
    carried_out(job_of(tiny_model, tmp_path, rows, held_out=2, method=method, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"vision": True}, {"connector": True, "text": False}])
@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_sight_is_trained_where_asked(
    method: str, changes: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    rows = mixed(method, tmp_path)
    job = job_of(tiny_model, tmp_path, rows, held_out=2, method=method, **(QUICK | changes))
    carried_out(job)
    assert not (job.folder / "features").exists()


def test_the_older_architecture(tiny_idefics3: Path, tmp_path: Path) -> None:
    rows = sft_rows(tmp_path, 4)
    carried_out(job_of(tiny_idefics3, tmp_path, rows, **(QUICK | {"epochs": 1})))


@pytest.mark.slow
def test_an_8_bit_base(tiny_model: Path, tmp_path: Path) -> None:
    rows = sft_rows(tmp_path, 6)
    carried_out(job_of(tiny_model, tmp_path, rows, held_out=2, quantization="8bit", **QUICK))


def test_a_4_bit_base_is_refused_on_a_cpu(tiny_model: Path, tmp_path: Path) -> None:
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 2), quantization="4bit", **QUICK)
    assert run(job, device="cpu", threads=1) == 1
    (error,) = [one for one in read_events(job.events_file) if isinstance(one, Error)]
    assert "CUDA only" in error.message and job.state() == "failed"
