"""The adapter shelf: what a job leaves, kept with what it was made of."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.finetune.logs import asked, read, write_log
from vlmchat.errors import ModelError, UsageError
from vlmchat.finetune import shelf
from vlmchat.finetune.events import Ended, EventWriter, Started, Step, Validation
from vlmchat.finetune.files import JobError
from vlmchat.finetune.job import BaseModelRef, Job, JobSpec, create
from vlmchat.finetune.settings import make
from vlmchat.models.adapter import check_adapter


def write_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": "org/model", "revision": "r1"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"a": np.ones((2, 2), np.float32)}, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "home"))
    examples, _ = read(write_log(tmp_path / "log.jsonl", [asked("What?", "A circle.")]))
    base = BaseModelRef("smolvlm-256m", "abc", "/models/256m")
    job = create(JobSpec("stars", base, make({"rank": 4, "patience": None})), examples)
    with EventWriter(job.events_file) as writer:
        writer.write(Started(steps=2, rows=1))
        writer.write(Step(step=1, epoch=0.5, loss=2.0, learning_rate=1e-4))
        writer.write(Validation(step=1, loss=1.25, best=True))
        writer.write(Step(step=2, epoch=1, loss=1.0, learning_rate=1e-4))
        writer.write(Validation(step=2, loss=1.5))
        writer.write(Ended(reason="early", step=2, best_step=1))
    write_adapter(job.adapter)
    return job


def test_a_jobs_adapter_comes_onto_the_shelf_with_its_card(job: Job) -> None:
    made = shelf.adopt(job)
    job.delete()
    (found,) = shelf.list_adapters()
    assert found == made == shelf.open_adapter("stars")
    card = found.card
    assert (card.base.id, card.base.revision, card.rows, card.job) == (
        "smolvlm-256m",
        "abc",
        1,
        "stars",
    )
    assert (card.reason, card.step, card.loss, card.validation_loss) == ("early", 1, 1.0, 1.25)
    assert card.settings == make({"rank": 4, "patience": None})
    assert len(card.sha256) == len(card.data_hash) == 64
    assert found.size > 0
    check_adapter(found.folder)


def test_names_are_never_taken_from_another(job: Job) -> None:
    assert [shelf.adopt(job).name for _ in range(2)] == ["stars", "stars-2"]
    assert shelf.rename("stars-2", "better stars").name == "better-stars"
    with pytest.raises(UsageError, match="already"):
        shelf.rename("better-stars", "stars")
    with pytest.raises(UsageError, match="no name"):
        shelf.rename("stars", "…/")
    shelf.delete("stars")
    assert [one.name for one in shelf.list_adapters()] == ["better-stars"]


@pytest.mark.parametrize("name", ["none", "", "..", "../stars", "/etc"])
def test_there_is_no_such_adapter(job: Job, name: str) -> None:
    shelf.adopt(job)
    for act in (shelf.open_adapter, shelf.delete):
        with pytest.raises(UsageError, match="There is no adapter"):
            act(name)
    assert len(shelf.list_adapters()) == 1


def test_measurements_are_added(job: Job) -> None:
    shelf.adopt(job)
    shelf.note_evaluation("stars", {"exact match": 0.8})
    shelf.note_evaluation("stars", {"wins": "12 of 20"})
    found = shelf.open_adapter("stars").card
    assert found.evaluation == {"exact match": 0.8, "wins": "12 of 20"}


def test_an_adapter_made_elsewhere_is_listed(job: Job) -> None:
    write_adapter(shelf.adapters_dir() / "hand-made")
    (shelf.adapters_dir() / "stray").mkdir()
    (found,) = shelf.list_adapters()
    assert (found.name, found.card.base.id, found.card.settings) == ("hand-made", "org/model", None)
    assert shelf.note_evaluation("hand-made", {"x": 1.0}).card.evaluation == {"x": 1.0}
    assert shelf.open_adapter("hand-made").card.base.revision == "r1"


def test_an_export_is_a_folder_of_peft(job: Job, tmp_path: Path) -> None:
    shelf.adopt(job)
    target = shelf.export("stars", tmp_path / "out" / "stars")
    check_adapter(target)
    with pytest.raises(UsageError, match="exists already"):
        shelf.export("stars", target)


def test_what_cannot_be_adopted(job: Job) -> None:
    with job.hold(), pytest.raises(UsageError, match="still running"):
        shelf.adopt(job)
    (job.adapter / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError, match="corrupted"):
        shelf.adopt(job)
    assert not list(shelf.adapters_dir().iterdir())


def test_a_damaged_card_is_told(job: Job) -> None:
    adapter = shelf.adopt(job)
    (adapter.folder / "vlmchat.toml").write_text("version = 1")
    with pytest.raises(JobError, match="damaged"):
        shelf.open_adapter("stars")
    assert shelf.list_adapters() == []
