"""Jobs for tests of the trainer: real pictures and videos, the tiny model."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlmchat.finetune.events import Event, read_events
from vlmchat.finetune.examples import Example
from vlmchat.finetune.job import BaseModelRef, Job, JobSpec, create
from vlmchat.finetune.reading import ExampleReader
from vlmchat.finetune.settings import make

COLOURS = ("red", "green", "blue", "white", "black", "yellow")


def picture(folder: Path, colour: str, size: tuple[int, int] = (40, 30)) -> str:
    """Return the name of a picture of one colour in `folder`."""
    name = f"{colour}-{size[0]}x{size[1]}.png"
    if not (folder / name).exists():
        Image.new("RGB", size, colour).save(folder / name)
    return name


def sft_rows(folder: Path, count: int, *, pictures: int = 1) -> list[dict[str, Any]]:
    """Return rows in the course's chat format, each about so many pictures."""
    rows = []
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        parts: list[dict[str, Any]] = [
            {"type": "image", "path": picture(folder, colour, (40 + number % 3, 30))}
            for _ in range(pictures)
        ]
        parts.append({"type": "text", "text": f"What is it, number {number}?"})
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": parts},
                    {
                        "role": "assistant",
                        "content": [{"type": "text", "text": f"It is {colour}."}],
                    },
                ]
            }
        )
    return rows


def preference_rows(folder: Path, count: int, *, pictures: int = 1) -> list[dict[str, Any]]:
    """Return preference rows whose chosen answer names the colour."""
    rows = []
    for row in sft_rows(folder, count, pictures=pictures):
        question, answer = row["messages"]
        worse = [{"type": "text", "text": "No idea, really none."}]
        rows.append(
            {
                "prompt": [question],
                "chosen": [answer],
                "rejected": [{"role": "assistant", "content": worse}],
            }
        )
    return rows


def kto_rows(folder: Path, count: int, *, pictures: int = 1) -> list[dict[str, Any]]:
    """Return KTO rows, every other one good."""
    rows = []
    for number, row in enumerate(preference_rows(folder, count, pictures=pictures)):
        good = number % 2 == 0
        completion = row["chosen"] if good else row["rejected"]
        rows.append({"prompt": row["prompt"], "completion": completion, "label": good})
    return rows


def examples_of(
    folder: Path, rows: Sequence[dict[str, Any]]
) -> tuple[list[Example], ExampleReader]:
    """Return the examples in rows; the reader must be closed when their media are copied."""
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    reader = ExampleReader()
    found = list(reader.read(path))
    bad = [item for item in found if not isinstance(item, Example)]
    assert not bad, bad
    return [item for item in found if isinstance(item, Example)], reader


def job_of(
    model: Path,
    folder: Path,
    rows: Sequence[dict[str, Any]],
    *,
    held_out: int = 0,
    **settings: Any,
) -> Job:
    """Return a prepared job in ``folder/jobs``, the last rows held out for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = folder / "jobs"
    jobs.mkdir(exist_ok=True)
    examples, reader = examples_of(folder, rows)
    with reader:
        spec = JobSpec("test", BaseModelRef(str(model), "", str(model)), make(settings))
        cut = len(examples) - held_out
        return create(spec, examples[:cut], examples[cut:], folder=jobs)


def environment() -> dict[str, str]:
    """Return an environment in which a trainer is as quick as it can be."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CI": "1"}


def train(job: Job, *, ok: bool = True) -> list[Event]:
    """Run the real trainer to its end and return what it told."""
    command = [sys.executable, "-m", "vlmchat.trainer", str(job.folder), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--threads", "1"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=280,
        check=False,
    )
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return read_events(job.events_file)


def carry_out(folder: str) -> None:
    """Do what ``python -m vlmchat.trainer`` does, for a process that has imported everything."""
    from vlmchat.trainer.run import run

    job = Job(Path(folder))
    with job.hold():
        code = run(job, device="cpu", threads=1)
    sys.stdout.flush()
    os._exit(code)
