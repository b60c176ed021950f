"""Fine-tuning in plain mode: the same steps as questions and answers."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.fake_engine import Reply, Script
from tests.finetune.logs import asked, write_log
from tests.finetuning import trainer
from tests.pictures import saved
from tests.plain.talking import talking
from tests.tui.driving import scripted
from vlmchat.finetune.job import list_jobs
from vlmchat.finetune.shelf import list_adapters


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of ten rows, one of them outside its folder, and one that cannot be used."""
    folder = tmp_path / "logs"
    folder.mkdir()
    saved(folder / "a.png", 64, 64)
    saved(tmp_path / "b.png", 32, 32)
    rows = [asked(f"What is {n}?", f"A circle {n}.", "a.png") for n in range(9)]
    rows += [asked("And b?", "A dot.", "../b.png"), {"x": 1}]
    return write_log(folder / "receipts.jsonl", rows)


async def test_from_a_log_to_an_adapter(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(monkeypatch, "--hold-at", "20")
    make = scripted(Script([Reply(["Yes."])]), tmp_path)
    async with talking(make, {"engine": {"model": str(tiny_model)}}) as talk:
        await talk.say(
            f"/finetune {log}",
            *("y", "2", "", "0.3", ""),  # read b.png, an example, go on, share, seed
            *("2", "rank 0", "rank 4", "nothing 3", ""),  # preset, settings
            *("", "y"),  # name, start
        )
        text = talk.text()
        assert "outside the log's folder. Read it?" in text
        assert "Rows: 10 of 11 usable" in text
        assert "line 11: The row has x" in text
        assert "⟦ A circle 1.<end_of_utterance>" in text
        assert "The rank cannot be '0'" in text
        assert "There is no setting “nothing”" in text
        assert "Settings: sft, lora, rank 4, 1 epochs" in text
        assert "Step 3 of 3: the job “receipts” runs" in text
        (job,) = list_jobs()
        assert job.spec().validation_rows == 3
        await talk.until("The job is at 50 %")
        await talk.say("/jobs receipts", "pause")
        await talk.until("asked to pause")
        deadline = time.monotonic() + 20
        while job.state() != "paused":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        (job.folder / "go").touch()
        await talk.say("/finetune", "resume")
        await talk.until("The job “receipts” is done (step 40")
        await talk.say("/jobs", "1", "")
        assert "It is done (step 40" in talk.text() and "/adapter receipts" in talk.text()
        await talk.say("/jobs", "1", "delete", "y")
        await talk.until("It is deleted")
        assert not list_jobs() and len(list_adapters()) == 1


async def test_rated_replies_and_what_does_not_work(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(monkeypatch, "--fail-at", "3")
    make = scripted(Script([Reply(["Yes."])]), tmp_path)
    async with talking(make, {"engine": {"model": str(tiny_model)}}) as talk:
        await talk.say("/finetune")
        await talk.say("")
        await talk.say("One?")
        await talk.until("Fake VLM: Yes.")
        await talk.say("/finetune", "1", "n")
        assert "no reply in this conversation is rated" in talk.text()
        assert "No row can be used" in talk.text()
        await talk.say("/finetune", "1", "y", "", "", "", "", "method dpo", "", "/jobs")
        assert "DPO needs pairs" in talk.text() and "Nothing was started." in talk.text()
        assert "There is no job yet" in talk.text()
        await talk.say("/finetune", "1", "y", "", "", "", "", "", "my job", "y")
        await talk.until("The job “my-job” has ended with an error: The memory did not")
        await talk.say("/jobs my-job", "log")
        assert "fake trainer [red]log" in talk.text()
        await talk.say("/jobs nosuch")
        assert "There is no job “nosuch”" in talk.text()
