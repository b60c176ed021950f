"""Kills, pauses, stops and full disks: nothing of a run is lost, and what goes on is the same."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.jobs import carry_out, environment, job_of, sft_rows, train
from tests.trainer.test_methods import QUICK
from vlmchat.finetune.events import (
    Ended,
    Error,
    Event,
    Paused,
    Resumed,
    Started,
    Step,
    Validation,
    read_events,
    valid,
)
from vlmchat.finetune.job import Job
from vlmchat.finetune.process import start
from vlmchat.trainer import checkpoints

LONG = QUICK | {"epochs": 12, "dropout": 0.1, "seed": 5}


@pytest.fixture(scope="module")
def forks() -> Any:
    """Return what starts processes that have the libraries already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vlmchat.trainer.run", "tests.trainer.jobs"])
    return context


def spawned(forks: Any, job: Job) -> Any:
    process = forks.Process(target=carry_out, args=(str(job.folder),))
    process.start()
    return process


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def losses(job: Job) -> dict[str, list[tuple[int, float | None]]]:
    events = list(valid(read_events(job.events_file)))
    return {
        "train": [(one.step, one.loss) for one in events if isinstance(one, Step)],
        "validation": [(one.step, one.loss) for one in events if isinstance(one, Validation)],
    }


def stepped(job: Job) -> bool:
    return any(isinstance(event, Step) for event in read_events(job.events_file))


def last(job: Job) -> Event | None:
    events = read_events(job.events_file)
    return events[-1] if events else None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_change_nothing(forks: Any, tiny_model: Path, tmp_path: Path) -> None:
    rows = sft_rows(tmp_path, 10)
    whole = job_of(tiny_model, tmp_path, rows, held_out=2, **LONG)
    killed = Job(Path(shutil.copytree(whole.folder, tmp_path / "jobs" / "killed")))
    process = spawned(forks, whole)
    process.join(120)
    assert process.exitcode == 0 and whole.state() == "finished"
    moments = random.Random(11)
    kills = 0
    while kills < 20:
        before = len(read_events(killed.events_file))
        process = spawned(forks, killed)
        wanted = before + moments.choice((0, 1, 2, 4, 7, 9))

        def far_enough(process: Any = process, wanted: int = wanted) -> bool:
            return not process.is_alive() or len(read_events(killed.events_file)) >= wanted

        until(far_enough)
        time.sleep(moments.random() * 0.06)
        assert process.is_alive(), "the run ended before it could be killed 20 times"
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        kills += 1
        assert killed.state() in ("dead", "prepared")
        for path in killed.checkpoints.glob("checkpoint-*"):
            assert (path / "trainer_state.json").is_file(), "half a checkpoint"
    process = spawned(forks, killed)
    process.join(120)
    assert process.exitcode == 0 and killed.state() == "finished"
    assert losses(killed) == losses(whole)
    one, other = (load_file(job.adapter / "adapter_model.safetensors") for job in (whole, killed))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-6), name
    starts = [one for one in read_events(killed.events_file) if isinstance(one, Started)]
    assert any(one.from_step > 0 for one in starts)


@pytest.mark.slow
def test_pause_resume_and_stop(forks: Any, tiny_model: Path, tmp_path: Path) -> None:
    settings = QUICK | {"epochs": 500}
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 10), held_out=2, **settings)
    process = spawned(forks, job)
    until(lambda: stepped(job))
    assert job.state() == "running" and job.pid() == process.pid
    job.ask("pause")
    until(lambda: isinstance(last(job), Paused))
    assert job.state() == "paused" and checkpoints.last(job) is not None
    count = len(read_events(job.events_file))
    time.sleep(0.3)
    assert len(read_events(job.events_file)) == count
    job.ask("resume")
    until(lambda: len(read_events(job.events_file)) > count + 2)
    assert any(isinstance(one, Resumed) for one in read_events(job.events_file))
    job.ask("stop")
    process.join(60)
    ended = last(job)
    assert isinstance(ended, Ended) and ended.reason == "stopped" and job.state() == "stopped"
    assert ended.best_step and (job.adapter / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_cancel_leaves_no_adapter(forks: Any, tiny_model: Path, tmp_path: Path) -> None:
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 6), **(QUICK | {"epochs": 500}))
    process = spawned(forks, job)
    until(lambda: stepped(job))
    job.ask("cancel")
    process.join(60)
    ended = last(job)
    assert isinstance(ended, Ended) and ended.reason == "cancelled"
    assert not job.adapter.exists()


def test_asked_by_the_system_to_end(forks: Any, tiny_model: Path, tmp_path: Path) -> None:
    """A shutdown leaves a job to go on with."""
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 6), **(QUICK | {"epochs": 500}))
    process = spawned(forks, job)
    until(lambda: stepped(job))
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    paused = last(job)
    assert isinstance(paused, Paused) and job.state() == "paused"
    newest = checkpoints.last(job)
    assert newest is not None and newest.name == f"checkpoint-{paused.step}"


def test_a_full_disk(
    forks: Any, tiny_model: Path, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(3_000_000)
    made = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 6), **(QUICK | {"epochs": 500}))
    job = Job(Path(shutil.copytree(made.folder, disk / "job")))
    process = spawned(forks, job)
    until(lambda: checkpoints.last(job) is not None)
    room = shutil.disk_usage(disk).free
    with (disk / "filler").open("wb") as filler:
        filler.write(b"\0" * max(0, room - 40_000))
    process.join(90)
    error = last(job)
    assert process.exitcode == 1
    assert isinstance(error, Error), error
    assert "disk is full" in error.message or "No space" in error.message
    newest = checkpoints.last(job)
    assert newest is not None and newest.name in error.message
    (disk / "filler").unlink()
    again = spawned(forks, job)
    before = len(read_events(job.events_file))
    until(lambda: len(read_events(job.events_file)) > before + 3)
    job.ask("stop")
    again.join(60)
    assert job.state() == "stopped" and job.adapter.is_dir()


@pytest.mark.slow
def test_the_real_process_outlives_whoever_started_it(tiny_model: Path, tmp_path: Path) -> None:
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 6), held_out=1, **QUICK)
    code = (
        "import sys; from vlmchat.finetune.job import open_job; "
        "from vlmchat.finetune.process import start; start(open_job(sys.argv[1])); "
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(job.folder)], env=environment(), check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    until(lambda: job.state() == "finished", 120)
    assert job.adapter.is_dir() and "vlmchat.trainer" in job.log_file.read_text()


@pytest.mark.slow
def test_a_done_job_is_not_started_again(tiny_model: Path, tmp_path: Path) -> None:
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 2), **(QUICK | {"epochs": 1}))
    assert isinstance(train(job)[-1], Ended)
    with pytest.raises(Exception, match="is done"):
        start(job)
