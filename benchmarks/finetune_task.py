"""What fine-tuning does for the demo model: exact match before and after, on rows held out.

Sixty drawn rows of a small task (`vlmchat.demo.tasks`) are read from a log, prepared and trained as
`vlmchat finetune` does; base and tuned then answer the same forty other rows, greedily, through the
engine's own generation.

    python benchmarks/finetune_task.py
    python benchmarks/finetune_task.py --task charts --epochs 20
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).parents[1]))
from vlmchat.chat.messages import user_message
from vlmchat.demo.tasks import TASKS, TaskRow, rows, write_log
from vlmchat.engine.adapters import wear
from vlmchat.engine.generate import generate
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.sampling import SamplingParams
from vlmchat.errors import VlmchatError
from vlmchat.finetune import process
from vlmchat.finetune.events import Ended, Step
from vlmchat.finetune.job import Job
from vlmchat.finetune.preparing import Preparation, find_base, here
from vlmchat.finetune.settings import RunSettings
from vlmchat.media.images import media_from_bytes

TRAINING, HELD_OUT = 60, 40
ALLOWED_MATCH, ALLOWED_MINUTES = 0.8, 10.0


def trained(log: Path, settings: RunSettings, threads: int) -> Job:
    """Fine-tune the demo model on a log and return the finished job."""
    base = find_base("demo")
    with Preparation(base) as preparation:
        report = preparation.read([log])
        print("\n".join(report.sentences()))
        plan = preparation.plan(settings, here("cpu", base))
        job = preparation.create(log.stem, plan)
    process.start(job, arguments=("--device", "cpu", "--threads", str(threads)))
    tail = job.events()
    losses: list[float] = []
    while True:
        for event in tail.new():
            if isinstance(event, Step) and event.loss is not None:
                losses.append(event.loss)
                if event.step % 15 == 0:
                    mean = sum(losses[-15:]) / 15
                    print(f"  step {event.step}, epoch {event.epoch:.1f}: loss {mean:.3f}")
            if isinstance(event, Ended):
                return job
        if not job.alive() and job.state() in ("failed", "dead"):
            raise VlmchatError(f"The trainer did not finish: see {job.log_file}.")
        time.sleep(0.2)


def answers(loaded: LoadedModel, found: list[TaskRow]) -> list[str]:
    """Return what the model says to each row, greedily."""
    said: list[str] = []
    for row in found:
        asked = user_message(row.question, [media_from_bytes(row.png, "picture.png")])
        prompt = loaded.builder.build([asked])
        pieces: list[str] = []
        params = SamplingParams(max_tokens=24)
        generate(loaded, prompt, params, Event(), pieces.append)
        said.append("".join(pieces).strip())
    return said


def show(name: str, found: list[TaskRow], said: list[str]) -> float:
    """Print how many answers are right, with some that are not, and return the share."""
    right = sum(row.answer == text for row, text in zip(found, said, strict=True))
    told = sum(row.answer.lower() in text.lower() for row, text in zip(found, said, strict=True))
    print(f"{name}: exact match {right} of {len(found)} = {right / len(found):.3f}", end="")
    print(f" (the answer is somewhere in what was said: {told})")
    wrong = [(row, text) for row, text in zip(found, said, strict=True) if row.answer != text]
    for row, text in wrong[:3]:
        print(f"    {row.question} {row.answer!r}, said {text!r}")
    return right / len(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", choices=tuple(TASKS), default="sorting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--vision", action="store_true", help="train the vision tower, too")
    parser.add_argument("--connector", action="store_true", help="train the connector, too")
    options = parser.parse_args()
    task = TASKS[options.task]
    settings = RunSettings(
        rank=options.rank,
        alpha=2 * options.rank,
        learning_rate=options.rate,
        epochs=options.epochs,
        batch=options.batch,
        accumulation=1,
        vision=options.vision,
        connector=options.connector,
        validation_share=0.0,
        samples=0,
        checkpoint_steps=100_000,
        seed=options.seed,
    )
    held_out = list(rows(task, HELD_OUT, 2 * options.seed + 2))
    print(f"{task.name}: {task.title} {TRAINING} rows to learn, {HELD_OUT} held out.")
    wanted = LoadOptions(model="demo", quant="none", device="cpu", threads=options.threads)
    loaded = load_model(wanted, lambda _: None)
    show("base", held_out, answers(loaded, held_out))
    with tempfile.TemporaryDirectory() as folder:
        log = write_log(Path(folder), task.name, rows(task, TRAINING, 2 * options.seed + 1))
        began = time.perf_counter()
        job = trained(log, settings, options.threads)
        minutes = (time.perf_counter() - began) / 60
    try:
        worn = wear(loaded, task.name, job.adapter)
        match = show("tuned", held_out, answers(worn, held_out))
    finally:
        job.delete()
    print(f"fine-tuned in {minutes:.1f} minutes with {options.threads} threads")
    kept = match >= ALLOWED_MATCH and minutes <= ALLOWED_MINUTES
    print("kept" if kept else f"not kept: {ALLOWED_MATCH} in {ALLOWED_MINUTES:.0f} minutes")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
