"""What TRL, PEFT and bitsandbytes do by default and is wrong here; each must not come back.

The traps are told in transformers', TRL's and bitsandbytes' issues: a loss on image tokens and
questions, ``max_length`` below one picture, adapters on the vision tower, wrong gradients after
inference, telemetry.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from trl import DPOConfig, SFTConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference

from tests.trainer.jobs import environment, job_of, sft_rows
from tests.trainer.test_methods import QUICK, carried_out, mixed
from vlmchat.engine.hardware import find_hardware
from vlmchat.finetune.events import Ended, Sample, read_events
from vlmchat.finetune.job import BaseModelRef
from vlmchat.finetune.settings import make
from vlmchat.trainer.base import Base, adapter_config, load_base
from vlmchat.trainer.batches import IGNORED, Collator, features_sight, pixels_sight
from vlmchat.trainer.features import FeatureStore
from vlmchat.trainer.methods import method_of
from vlmchat.trainer.rows import Row, Rows


def base_of(folder: Path, **settings: Any) -> Base:
    ref = BaseModelRef(str(folder), "", str(folder))
    return load_base(ref, make(settings), find_hardware("cpu"))


@pytest.fixture
def base(tiny_model: Path) -> Base:
    return base_of(tiny_model)


def rows_of(base: Base, folder: Path, method: str) -> tuple[list[Row], FeatureStore]:
    job = job_of(base.renderer._folder, folder, mixed(method, folder), method=method)
    maker = Rows(base.renderer, context=10_000)
    store = FeatureStore(folder / "features", base.model, base.tile_maker)
    rows = []
    for example in job.examples("train"):
        row, images = maker.make(example)
        store.encode(images)
        rows.append(row)
    return rows, store


# What the loss is taken on ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_the_loss_is_on_answers_only(method: Any, base: Base, tmp_path: Path) -> None:
    rows, store = rows_of(base, tmp_path, method)
    collator = Collator(rows, features_sight(store.read), base.pad_id, method)
    batch = collator([{"row": number} for number in range(len(rows))])
    ids = batch["input_ids"]
    learned = batch["labels"] != IGNORED if method == "sft" else batch["completion_mask"] == 1
    image = base.renderer.render(rows[0].example.messages).image_id
    assert not (learned & (ids == image)).any()
    assert not (learned & (batch["attention_mask"] == 0)).any()
    branches = [one for row in rows for one in row.branches]
    if method == "dpo":
        branches = [row.branches[side] for side in (0, 1) for row in rows]
    for row, mask, told in zip(ids, learned, branches, strict=True):
        said = base.tokenizer.decode(row[mask])
        assert said.strip().endswith("<end_of_utterance>")
        assert "What is it" not in said and "User" not in said
        assert mask.sum() == sum(told.trained) > 0


def test_preferences_are_laid_out_as_trl_does(base: Base, tmp_path: Path) -> None:
    rows, store = rows_of(base, tmp_path, "dpo")
    ours = Collator(rows[:3], features_sight(store.read), base.pad_id, "dpo")
    batch = ours([{"row": number} for number in range(3)])
    theirs = DataCollatorForPreference(pad_token_id=base.pad_id)
    told = []
    for row in rows[:3]:
        chosen, rejected = row.branches
        start = chosen.answer_start
        told.append(
            {
                "prompt_ids": list(chosen.ids[:start]),
                "chosen_ids": list(chosen.ids[start:]),
                "rejected_ids": list(rejected.ids[rejected.answer_start :]),
            }
        )
    expected = theirs(told)
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    # Theirs also trains on what the template puts after the end of the turn; ours does not.
    assert ((expected["completion_mask"] - batch["completion_mask"]) >= 0).all()


@pytest.mark.parametrize("method", ["sft", "dpo", "mpo", "kto"])
def test_nothing_is_ever_cut(method: Any, tmp_path: Path) -> None:
    _, arguments = method_of(make({"method": method}), {"output_dir": str(tmp_path), "bf16": False})
    assert arguments.max_length is None
    for config in (SFTConfig, DPOConfig):  # and that this is not what TRL does by itself
        assert config(output_dir=str(tmp_path), bf16=False).max_length == 1024


def test_a_row_that_does_not_fit_is_told(tiny_model: Path, tmp_path: Path) -> None:
    from vlmchat.trainer.run import run

    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 2), context=20)
    assert run(job, device="cpu", threads=1) == 1
    assert "tokens and 20 fit" in read_events(job.events_file)[-1].message  # type: ignore[union-attr]


# What is trained -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, {"text_model"}),
        ({"vision": True}, {"text_model", "vision_model"}),
        ({"connector": True, "text": False}, {"connector"}),
    ],
)
def test_adapters_name_what_was_asked_for(
    changes: dict[str, Any], parts: set[str], base: Base
) -> None:
    from peft import get_peft_model

    model = get_peft_model(base.model, adapter_config(make(changes), BaseModelRef("x", "", "")))
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    found = {part for name in trained for part in name.split(".") if part in _PARTS}
    assert found == parts


_PARTS = {"text_model", "vision_model", "connector", "lm_head"}


def test_the_base_stays_as_it_is(base: Base, tiny_model: Path, tmp_path: Path) -> None:
    kept: list[Base] = []

    def remembered(*arguments: Any) -> Base:
        kept.append(load_base(*arguments))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlmchat.trainer.run.load_base", remembered)
        before = {path: path.read_bytes() for path in tiny_model.iterdir()}
        carried_out(job_of(tiny_model, tmp_path, sft_rows(tmp_path, 6), held_out=2, **QUICK))
    assert {path: path.read_bytes() for path in tiny_model.iterdir()} == before
    now = kept[0].model.state_dict()
    for name, value in base.model.state_dict().items():
        if "vision_model" in name or "connector" in name:
            continue  # let go of once the pictures were encoded
        inside = name if name in now else name.replace("_proj.weight", "_proj.base_layer.weight")
        assert torch.equal(now[inside], value), name


def test_the_adapter_names_its_base_and_its_layers(tiny_model: Path, tmp_path: Path) -> None:
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 2), **(QUICK | {"epochs": 1}))
    text = (job.folder / "job.toml").read_text()
    named = f'id = "{tiny_model}"\nrevision = ""'
    assert named in text
    text = text.replace(named, 'id = "someone/tiny"\nrevision = "abc"')
    (job.folder / "job.toml").write_text(text)
    carried_out(job)
    config = json.loads((job.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "someone/tiny" and config["revision"] == "abc"
    with safe_open(job.adapter / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert names and all("text_model" in name for name in names)
    assert sorted(path.name for path in job.adapter.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


# Gradients -------------------------------------------------------------------------------------


def _gradients(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    model.train()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        model(**batch).loss.backward()
    found = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
    return torch.cat(found).float()


@pytest.mark.parametrize("quantization", ["none", "8bit"])
def test_gradients_are_the_same_after_answers(
    quantization: str, tiny_model: Path, tmp_path: Path
) -> None:
    """The base is asked, measured and asked again between two equal batches."""
    from peft import get_peft_model

    from vlmchat.trainer.answers import answer

    settings = make({"quantization": quantization, "dropout": 0.0})
    base = base_of(tiny_model, quantization=quantization)
    rows, store = rows_of(base, tmp_path, "sft")
    torch.manual_seed(0)
    model = get_peft_model(base.model, adapter_config(settings, BaseModelRef("x", "", "")))
    for name, value in model.named_parameters():
        if "lora_B" in name:  # begins at zero, where there is little to see
            torch.nn.init.normal_(value, std=0.1)
    collator = Collator(rows, features_sight(store.read), base.pad_id, "sft")
    batch = collator([{"row": number} for number in range(4)])
    fresh = _gradients(model, batch)
    for index in range(3):
        assert isinstance(answer(model, base, collator, index, 0), Sample)
    with torch.no_grad():
        model.eval()(**batch)
    after = _gradients(model, batch)
    assert torch.nn.functional.cosine_similarity(fresh, after, dim=0) > 0.999
    assert torch.allclose(fresh.norm(), after.norm(), rtol=1e-2)


def test_only_positions_with_a_loss_are_scored(tiny_model: Path, tmp_path: Path) -> None:
    """TRL scores every position on a CPU: most of a step's memory, and a quarter of its time."""
    import trl.trainer.utils as theirs

    scored: list[int] = []
    wanted: list[int] = []
    function = theirs._ChunkedLogProbFunction
    call = Collator.__call__

    class Counted:
        @staticmethod
        def apply(hidden: torch.Tensor, *rest: Any) -> Any:
            scored.append(len(hidden))
            return function.apply(hidden, *rest)

    def noted(self: Collator, items: Any) -> Any:
        batch = call(self, items)
        wanted.append(int((batch["labels"] != IGNORED).sum()))
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "_ChunkedLogProbFunction", Counted)
        patch.setattr(Collator, "__call__", noted)
        carried_out(job_of(tiny_model, tmp_path, sft_rows(tmp_path, 4), **QUICK))
    assert scored and set(scored) <= set(wanted)


# Pictures --------------------------------------------------------------------------------------


def test_features_stand_for_pixels(base: Base, tmp_path: Path) -> None:
    """The loss with what was encoded once is the loss with the pixels themselves."""
    rows, store = rows_of(base, tmp_path, "sft")
    maker = Rows(base.renderer, context=10_000)

    def tiles(row: Row) -> dict[str, torch.Tensor]:
        return {name: base.tile_maker.tiles(one) for name, one in maker.images(row).items()}

    items = [{"row": number} for number in range(len(rows))]
    with torch.no_grad():
        losses = [
            base.model(**Collator(rows, sight, base.pad_id, "sft")(items)).loss.item()
            for sight in (features_sight(store.read), pixels_sight(tiles))
        ]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


@pytest.mark.slow
def test_each_picture_is_encoded_once(tiny_model: Path, tmp_path: Path) -> None:
    encoded: list[str] = []
    write = FeatureStore.encode

    def counted(self: FeatureStore, images: Any) -> None:
        before = self.encoded
        write(self, images)
        encoded.extend("new" for _ in range(self.encoded - before))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureStore, "encode", counted)
        rows = sft_rows(tmp_path, 12)
        job = job_of(tiny_model, tmp_path, rows, held_out=2, **(QUICK | {"epochs": 5}))
        carried_out(job)
    pictures = {row["messages"][0]["content"][0]["path"] for row in rows}
    assert len(encoded) == len(pictures) < 12
    assert len(list((job.folder / "features").rglob("*.safetensors"))) == len(pictures)


def test_another_model_s_features_are_not_taken(base: Base, tmp_path: Path) -> None:
    from vlmchat.trainer.features import weights_digest

    before = weights_digest(base.model)
    with torch.no_grad():
        base.model.model.connector.modality_projection.proj.weight[0, 0] += 1
    assert weights_digest(base.model) != before


# The rest --------------------------------------------------------------------------------------


def test_nothing_is_told_to_anybody(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl.trainer import base_trainer

    def told(**_: Any) -> None:
        raise AssertionError("telemetry")

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(base_trainer, "send_telemetry", told)
    carried_out(job_of(tiny_model, tmp_path, sft_rows(tmp_path, 2), **(QUICK | {"epochs": 1})))


def test_no_pickle_is_left(tiny_model: Path, tmp_path: Path) -> None:
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 6), held_out=2, **QUICK)
    assert isinstance(carried_out(job)[-1], Ended)
    names = {path.name for path in job.checkpoints.rglob("*") if path.is_file()}
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
    }
    # PyTorch's own files are read as tensors and plain values only, never as objects.
    for path in job.checkpoints.rglob("optimizer.pt"):
        torch.load(path, weights_only=True)


@pytest.mark.slow
def test_two_processes_are_one_run(tiny_model: Path, tmp_path: Path) -> None:
    settings = QUICK | {"epochs": 3, "dropout": 0.0, "eval_steps": 2, "seed": 3}
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 12), held_out=4, **settings)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += ["--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", "29577"]
    done = subprocess.run(
        [*command, "-m", "vlmchat.trainer", str(job.folder), "--device", "cpu", "--threads", "1"],
        capture_output=True,
        text=True,
        env=environment() | {"ACCELERATE_USE_CPU": "true"},
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    events = read_events(job.events_file)
    assert events[0].processes == 2  # type: ignore[union-attr]
    assert isinstance(events[-1], Ended) and events[-1].reason == "finished"
    assert (job.adapter / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run(tiny_model: Path, tmp_path: Path) -> None:
    from vlmchat.trainer.run import run

    settings = QUICK | {"learning_rate": 1.0, "max_grad_norm": 1e30, "epochs": 40, "warmup": 0.0}
    job = job_of(tiny_model, tmp_path, sft_rows(tmp_path, 4), **settings)
    code = run(job, device="cpu", threads=1)
    last = read_events(job.events_file)[-1]
    if code:  # a model so small may survive even this
        assert "lower learning rate" in last.message  # type: ignore[union-attr]
