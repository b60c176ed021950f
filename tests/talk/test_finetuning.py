"""Fine-tuning without a screen: settings, reading along, adopting once, keeping out of memory."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import Reply, Script
from tests.fake_trainer import write_adapter
from tests.finetune.logs import asked, write_log
from tests.tui.driving import scripted
from vlmchat.errors import UsageError
from vlmchat.finetune.adopting import adopt_once, is_adopted
from vlmchat.finetune.events import (
    Ended,
    Error,
    EventWriter,
    Paused,
    Resumed,
    Sample,
    Started,
    Step,
    Validation,
)
from vlmchat.finetune.job import BaseModelRef, Job, JobSpec, create
from vlmchat.finetune.settings import RunSettings
from vlmchat.finetune.shelf import delete, list_adapters
from vlmchat.settings import Settings
from vlmchat.talk.engine_keeper import EngineEvent, LocalKeeper
from vlmchat.talk.finetuning.fields import GROUPS, OF_THE_DATA, run_fields, used
from vlmchat.talk.finetuning.flow import Finetuning, of_files
from vlmchat.talk.finetuning.following import all_watches
from vlmchat.talk.finetuning.memory import free_memory, memory_of
from vlmchat.talk.finetuning.summary import time_words
from vlmchat.talk.finetuning.watching import JobWatch


async def _no(path: Path) -> str:
    raise AssertionError(path)


async def flow_of(log: Path, tiny: Path) -> Finetuning:
    flow = Finetuning(str(tiny), "cpu", of_files([log]))
    await flow.read(lambda rows: None, _no)  # type: ignore[arg-type]
    return flow


async def a_job(folder: Path, tiny: Path) -> Job:
    rows = [asked(f"What {n}?", f"A {n}.") for n in range(6)]
    flow = await flow_of(write_log(folder / "log.jsonl", rows), tiny)
    job = await flow.create("a job", await flow.plan())
    flow.close()
    return job


def test_every_setting_is_in_the_form_once() -> None:
    named = [name for _, names in GROUPS for name in names]
    assert sorted([*named, *OF_THE_DATA]) == sorted(RunSettings.model_fields)
    settings = RunSettings()
    fields = run_fields(lambda: settings)
    for name, field in fields.items():
        assert field.description and field.title
        value = getattr(settings, name)
        assert field.parse(field.written(value)) == value
    with pytest.raises(UsageError, match="The rank cannot be"):
        fields["rank"].parse("many")
    with pytest.raises(UsageError, match="Nothing would be trained"):
        fields["text"].parse("false")
    assert fields["learning_rate"].parse(" ") is None
    assert fields["learning_rate"].parse("2e-4") == 2e-4
    assert not used("rank", RunSettings(adapter="prompt")) and used("rank", settings)


async def test_presets_keep_what_was_said_of_the_data(tmp_path: Path, tiny_model: Path) -> None:
    log = write_log(tmp_path / "l.jsonl", [asked(f"{n}?", "Yes.") for n in range(9)])
    flow = await flow_of(log, tiny_model)
    flow.change("seed", 7)
    flow.use_preset("careful")
    assert flow.settings.seed == 7 and flow.settings.rank == 32
    flow.use_preset("default")
    assert flow.settings == RunSettings(seed=7)
    outcome = await flow.plan()
    assert outcome.plan is not None and outcome.cost is not None
    flow.close()


async def test_the_method_suits_what_was_read(tmp_path: Path, tiny_model: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": f"{n}?", "chosen": "Yes, it is.", "rejected": "No, it is not."} for n in range(5)
    ]
    flow = await flow_of(write_log(tmp_path / "l.jsonl", rows), tiny_model)
    assert (flow.settings.method, flow.preset) == ("mpo", "preference")
    flow.change("method", "sft")
    await flow.read(lambda rows: None, _no)  # type: ignore[arg-type]
    assert str(flow.settings.method) == "sft"
    flow.close()
    rows = [{"prompt": f"{n}?", "completion": "Yes.", "label": n % 2 == 0} for n in range(5)]
    flow = await flow_of(write_log(tmp_path / "k.jsonl", rows), tiny_model)
    assert str(flow.settings.method) == "kto"
    flow.close()


def _step(step: int, at: float) -> Step:
    return Step(step=step, epoch=1, loss=1 / step, learning_rate=1e-4, time=at)


async def test_reading_along(tmp_path: Path, tiny_model: Path) -> None:
    job = await a_job(tmp_path, tiny_model)
    watch = JobWatch(job)
    assert not watch.update() and watch.where() == "not started yet"
    with job.hold(), EventWriter(job.events_file) as events:
        assert watch.update() and watch.where() == "loading"
        assert watch.label() == "tuning 0 %"
        events.write(Started(steps=20, rows=5))
        for step in range(1, 11):
            events.write(_step(step, 100 + 3 * step))
        events.write(Validation(step=5, loss=0.5, best=True))
        events.write(Sample(step=5, index=0, text="x"))
        assert watch.update()
        assert watch.step == 10 and watch.share == 0.5 and watch.seconds_left == 30
        assert watch.where() == "running · step 10 of 20 (50%) · epoch 1 · 30 s left"
        assert "best 0.5, step 5" in watch.losses()
        events.write(Paused(step=10, time=140))
        watch.update()
        assert str(watch.state) == "paused" and not watch.seconds_left
        events.write(Resumed(step=10, time=900))
        events.write(_step(11, 903))
        watch.update()
        assert watch.seconds_left == 27  # the pause is no pace
    watch.update()
    assert str(watch.state) == "dead" and watch.label() == ""
    with job.hold(), EventWriter(job.events_file) as events:
        events.write(Started(steps=20, rows=5, from_step=4))
        watch.update()
        assert [step for step, _ in watch.training] == [1, 2, 3, 4]
        assert watch.step == 4 and not watch.validation and not watch.samples[0]
        events.write(Error(message="No."))
        watch.update()
    watch.update()
    assert str(watch.state) == "failed" and watch.error is not None
    assert [one.job.id for one in all_watches()] == ["a-job"]


async def test_a_result_is_adopted_once(tmp_path: Path, tiny_model: Path) -> None:
    job = await a_job(tmp_path, tiny_model)
    with EventWriter(job.events_file) as events:
        events.write(Started(steps=2, rows=5))
        events.write(Ended(reason="finished", step=2))
    write_adapter(job.adapter)
    assert not is_adopted(job)
    both = await asyncio.gather(*(asyncio.to_thread(adopt_once, job) for _ in range(2)))
    assert len({one.name for one in both if one is not None}) == 1
    (adapter,) = list_adapters()
    assert is_adopted(job)
    delete(adapter.name)
    assert adopt_once(job) is None and not list_adapters() and is_adopted(job)


async def test_the_engine_leaves_the_memory_and_comes_back(tmp_path: Path) -> None:
    keeper = scripted(Script([Reply(["Yes."])]), tmp_path)(Settings())
    assert isinstance(keeper, LocalKeeper)
    told: list[EngineEvent] = []
    await keeper.unload("Not yet.")  # there is nothing to unload
    keeper.listen(told.append)
    keeper.start()
    await keeper.wait_ready()
    pid = keeper.pid
    assert memory_of(pid, "cpu") > 1_000_000 and free_memory("cpu") > 1_000_000
    await keeper.unload("A job is trained.")
    assert not keeper.pid and str(keeper.status.stage) == "unloaded" and keeper.deaths == 0
    assert memory_of(pid, "cpu") == 0 and memory_of(None, "cpu") == 0
    keeper.restart()
    deadline = time.monotonic() + 20
    while str(keeper.status.stage) != "ready":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await keeper.close()
    assert not [event for event in told if type(event).__name__ == "EngineFailed"]


def test_lengths_of_time() -> None:
    said = [time_words(value) for value in (0.2, 40, 100, 5_400, 8_000, 7_200, 400_000)]
    assert said == ["1 s", "40 s", "2 min", "1 h 30 min", "2 h 13 min", "2 h", "4 days 15 h"]


def test_a_job_of_another_version_is_passed_over(tmp_path: Path) -> None:
    spec = JobSpec("x", BaseModelRef("a", "b", str(tmp_path)), RunSettings())
    with pytest.raises(UsageError):
        create(spec, [])
    assert all_watches() == []
