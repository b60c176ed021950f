"""Our fine-tuning against the plain TRL recipe: speed, memory, and whether it learns the same.

A SmolVLM-256M with random weights learns from drawn pictures with questions: once with one
512-pixel tile a row, once with five. Both sides have the same rows in the same order, batch,
epochs, seed and learning rate, LoRA of rank 8 on query and value, the loss on the answers only,
and run one after the other in processes of their own.

The plain side is `SFTTrainer` with its own vision collator and its defaults. It is run as most
recipes have it, with the names ``q_proj`` and ``v_proj``, which hit the vision tower too; and once
more with the text model's layers only, which is what ours trains: there the losses of every step
are compared. Its processor is Idefics3's (SmolVLM 1 is an Idefics3) with the library's Pillow
backend, as there is no torchvision here. Prompt and completion are given as text, so that both
sides learn the same tokens (TRL's own template for training adds the line end after the answer).

    python benchmarks/finetune.py --rows 32
    python benchmarks/finetune.py --quick
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

TILE = 512
RATE, RANK, ALPHA, SEED = 1e-4, 8, 16, 0
ALLOWED_SPEED, ALLOWED_MEMORY, ALLOWED_LOSS = 3.0, 0.70, 0.02
TEXT_ONLY = r".*text_model\.layers\.\d+\.self_attn\.(?:q|v)_proj"
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


@dataclass(frozen=True)
class Side:
    """What one side took.

    Attributes:
        seconds: from the loaded model to the saved adapter.
        whole: from the start of the process to its end.
        work: seconds that the processor's cores worked, which other processes do not change much.
        memory: largest resident size, bytes.
        losses: of each step.
    """

    name: str
    seconds: float
    whole: float
    work: float
    memory: int
    losses: list[float] = field(repr=False)


# What both learn from ----------------------------------------------------------------------------


def build_model(folder: Path, tiles: int) -> Path:
    """Write a SmolVLM-256M with random weights; its processor cuts pictures into `tiles`."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    from tests.tiny import build_tiny

    build_tiny(folder, "idefics3")
    old = json.loads((folder / "config.json").read_text())
    text: dict[str, Any] = {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49280,
        "max_position_embeddings": 8192,
        "pad_token_id": 2,
    }
    vision = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": TILE,
        "patch_size": 16,
    }
    config = Idefics3Config(
        text_config=text,
        vision_config=vision,
        scale_factor=4,
        image_token_id=old["image_token_id"],
        tie_word_embeddings=False,
    )
    torch.manual_seed(SEED)
    model = Idefics3ForConditionalGeneration(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = old["text_config"].get("eos_token_id", 2)
    model.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"image_seq_len": 64}))
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    settings["max_image_size"] = {"longest_edge": TILE}
    settings["size"] = {"longest_edge": TILE if tiles == 1 else 2 * TILE}
    file.write_text(json.dumps(settings))
    return folder


def draw_rows(folder: Path, rows: int, tiles: int) -> list[dict[str, str]]:
    """Write pictures into `folder` and return rows with path, question and answer."""
    from vlmchat.demo.pictures import COLOURS, OUTLINES, Shape, draw_scene

    folder.mkdir()
    random = Random(SEED)
    side = TILE if tiles == 1 else 2 * TILE
    found: list[dict[str, str]] = []
    for number in range(rows):
        kind, colour = random.choice(list(OUTLINES)), random.choice(list(COLOURS))
        x, y = (random.uniform(60, 180) for _ in range(2))
        scene = draw_scene((Shape(kind, colour, x, y, random.uniform(25, 50)),))
        path = folder / f"{number}.png"
        scene.resize((side, side)).save(path)
        question = random.choice(("What is in the picture?", "Which shape do you see, and where?"))
        where = ("left" if x < 120 else "right", "top" if y < 120 else "bottom")
        answer = f"The picture shows a {colour} {kind} on the {where[0]}, near the {where[1]}."
        found.append({"path": str(path), "question": question, "answer": answer})
    return found


# The plain side ----------------------------------------------------------------------------------


def plain(order: dict[str, Any]) -> None:
    """Train as TRL's documentation shows it; writes what it took as JSON."""
    import torch
    from datasets import Dataset, Image
    from datasets import Sequence as Several
    from peft import LoraConfig
    from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(order["threads"])
    folder = order["model"]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil.from_pretrained(folder), tokenizer, image_seq_len=64
    )
    model = Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    began = time.time()
    data = Dataset.from_dict(
        {
            "images": [[row["path"]] for row in order["rows"]],
            "prompt": [
                f"<|im_start|>User:<image>{row['question']}<end_of_utterance>\nAssistant:"
                for row in order["rows"]
            ],
            "completion": [f" {row['answer']}<end_of_utterance>" for row in order["rows"]],
        }
    ).cast_column("images", Several(Image()))
    config = SFTConfig(
        output_dir=order["out"],
        bf16=True,
        use_cpu=True,
        num_train_epochs=order["epochs"],
        per_device_train_batch_size=order["batch"],
        gradient_accumulation_steps=1,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        max_length=None,
        gradient_checkpointing=order["checkpointing"],
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=SEED,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=order["targets"])
    trainer = SFTTrainer(
        model, args=config, train_dataset=data, processing_class=processor, peft_config=lora
    )
    trainer.train()
    trainer.save_model()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    result = {"seconds": time.time() - began, "losses": losses}
    Path(order["out"], "result.json").write_text(json.dumps(result))


def run_plain(order: dict[str, Any], out: Path, name: str, targets: str | list[str]) -> Side:
    out.mkdir()
    told = out / "order.json"
    told.write_text(json.dumps({**order, "out": str(out), "targets": targets}))
    command = [sys.executable, __file__, "--plain-side", str(told)]
    whole, work, memory = watched(command, out / "log.txt")
    result = json.loads((out / "result.json").read_text())
    return Side(name, result["seconds"], whole, work, memory, result["losses"])


# Our side ----------------------------------------------------------------------------------------


def run_ours(order: dict[str, Any], out: Path) -> Side:
    """Train the same rows with vlmchat's trainer, from a log and a job folder."""
    from vlmchat.finetune.events import Step, read_events
    from vlmchat.finetune.examples import Example
    from vlmchat.finetune.job import BaseModelRef, JobSpec, create
    from vlmchat.finetune.reading import ExampleReader
    from vlmchat.finetune.settings import RunSettings

    out.mkdir()
    settings = RunSettings(
        rank=RANK,
        alpha=ALPHA,
        dropout=0.0,
        layers="query-value",
        learning_rate=RATE,
        warmup=0.0,
        epochs=order["epochs"],
        batch=order["batch"],
        accumulation=1,
        validation_share=0.0,
        patience=None,
        checkpoint_steps=100_000,
        samples=0,
        seed=SEED,
    )
    log = Path(order["rows"][0]["path"]).parent / "log.jsonl"
    with log.open("w") as file:
        for row in order["rows"]:
            asked = [
                {"type": "image", "path": row["path"]},
                {"type": "text", "text": row["question"]},
            ]
            answered = [{"type": "text", "text": row["answer"]}]
            turns = [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": answered},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")
    base = BaseModelRef("benchmark", "0", str(order["model"]))
    with ExampleReader() as reader:
        examples = [item for item in reader.read(log) if isinstance(item, Example)]
        assert len(examples) == len(order["rows"])
        job = create(JobSpec("benchmark", base, settings), examples, folder=out)
    command = [sys.executable, __file__, "--our-side", str(job.folder)]
    command += ["--threads", str(order["threads"])]
    whole, work, memory = watched(command, job.log_file)
    result = json.loads((job.folder / "result.json").read_text())
    steps = [event for event in read_events(job.events_file) if isinstance(event, Step)]
    losses = [float("nan") if event.loss is None else event.loss for event in steps]
    return Side("ours", result["seconds"], whole, work, memory, losses)


def ours(folder: Path, threads: int) -> None:
    """Be the trainer of a job, and note when its model is loaded."""
    from unittest.mock import patch

    from vlmchat.engine.hardware import Hardware
    from vlmchat.finetune.job import BaseModelRef, Job
    from vlmchat.finetune.settings import RunSettings
    from vlmchat.trainer import base, run

    loaded: list[float] = []
    load = base.load_base

    def noted(ref: BaseModelRef, settings: RunSettings, hardware: Hardware) -> base.Base:
        found = load(ref, settings, hardware)
        loaded.append(time.time())
        return found

    job = Job(folder)
    with job.hold(), patch.object(run, "load_base", noted):
        if run.run(job, device="cpu", threads=threads):
            sys.exit("our side failed")
    result = {"seconds": time.time() - loaded[0]}
    (folder / "result.json").write_text(json.dumps(result))


def watched(command: Sequence[str], log: Path) -> tuple[float, float, int]:
    """Run a process to its end: seconds, seconds of work, and its largest resident size, bytes."""
    path = str(Path(__file__).parents[1])
    began = time.perf_counter()
    with log.open("ab") as file:
        child = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET, "PYTHONPATH": path},
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    work = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - began, work, usage.ru_maxrss * 1024


# What came out -----------------------------------------------------------------------------------


def report(sides: list[Side], samples: int, *, losses: bool) -> bool:
    """Print the table of one case and return whether what is promised was kept."""
    ours = sides[-1]
    for side in sides:
        print(
            f"  {side.name:32} {samples / side.seconds:7.2f} samples/s  {side.seconds:7.1f} s  "
            f"(whole process {side.whole:6.1f} s, {side.work:6.1f} s of work)  "
            f"{side.memory / 2**20:5.0f} MiB"
        )
    kept = True
    for side in sides[:-1]:
        speed, memory = side.seconds / ours.seconds, ours.memory / side.memory
        if side is sides[0]:  # the recipe as it is written, unless it was left out
            kept = speed >= ALLOWED_SPEED and memory <= ALLOWED_MEMORY
        print(
            f"  ours against {side.name}: {speed:.2f} × as fast, {memory:.0%} of its memory, "
            f"{ours.work / side.work:.0%} of its work"
        )
    if losses:
        same = next(side for side in sides if "text model" in side.name)
        pairs = list(zip(same.losses, ours.losses, strict=True))
        apart = [abs(one - other) / one for one, other in pairs]
        for step, ((one, other), by) in enumerate(zip(pairs, apart, strict=True), 1):
            print(f"    step {step:3}  plain {one:8.4f}  ours {other:8.4f}  {by:7.3%} apart")
        print(f"  losses at most {max(apart):.2%} apart")
        kept &= max(apart) <= ALLOWED_LOSS
    return kept


def case(tiles: int, options: argparse.Namespace, work: Path) -> bool:
    """Run all sides for one size of pictures."""
    order: dict[str, Any] = {
        "model": str(build_model(work / "model", tiles)),
        "rows": draw_rows(work / "rows", options.rows, tiles),
        "epochs": options.epochs,
        "batch": options.batch,
        "threads": options.threads,
        "checkpointing": not options.no_checkpointing,
    }
    print(f"{tiles} tile{'s' if tiles > 1 else ''} a row, {options.rows} rows:", flush=True)
    sides: list[Side] = []
    if not options.quick:
        sides.append(run_plain(order, work / "recipe", "plain TRL", ["q_proj", "v_proj"]))
    sides.append(run_plain(order, work / "text", "plain TRL, text model only", TEXT_ONLY))
    sides.append(run_ours(order, work / "ours"))
    return report(sides, options.rows * options.epochs, losses=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiles", type=int, nargs="+", choices=(1, 5), default=(1, 5))
    parser.add_argument("--no-checkpointing", action="store_true", help="of the plain side")
    parser.add_argument(
        "--quick", action="store_true", help="8 rows at most, and the comparable side only"
    )
    parser.add_argument("--plain-side", help=argparse.SUPPRESS)
    parser.add_argument("--our-side", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.our_side:
        ours(options.our_side, options.threads)
        return
    if options.plain_side:
        plain(json.loads(Path(options.plain_side).read_text()))
        return
    os.environ.update(QUIET)
    if options.quick:
        options.rows = min(options.rows, 8)
    kept = True
    for tiles in options.tiles:
        with tempfile.TemporaryDirectory() as folder:
            kept &= case(tiles, options, Path(folder))
    print("kept" if kept else "not kept: 3 × as fast, 70 % of the memory, losses 2 % apart at most")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
