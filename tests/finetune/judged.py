"""An adapter on the shelf whose job held some rows back, for tests of judging."""

from pathlib import Path

from tests.finetune.logs import asked, read, write_log
from tests.finetune.test_shelf import write_adapter
from tests.pictures import saved
from vlmchat.finetune import shelf
from vlmchat.finetune.job import BaseModelRef, JobSpec, create
from vlmchat.finetune.settings import make
from vlmchat.finetune.shelf import Adapter

QUESTIONS = ("What is [b]one[/b]?", "What is two?", "What is three?")


def on_the_shelf(
    folder: Path, name: str = "birds", base: BaseModelRef | None = None, adapter: Path | None = None
) -> Adapter:
    """Make it; the first question has a picture."""
    saved(folder / "a.png")
    rows = [asked(text, "It is that.", *["a.png"] * (not n)) for n, text in enumerate(QUESTIONS)]
    examples, _ = read(write_log(folder / f"{name}.jsonl", rows))
    spec = JobSpec(name, base or BaseModelRef("auto", "", "/models/auto"), make({}))
    train, _ = read(write_log(folder / f"{name}-train.jsonl", [asked("Who?", "They.")]))
    job = create(spec, train, examples)
    if adapter is None:
        write_adapter(job.adapter)
    else:
        adapter.rename(job.adapter)
    return shelf.adopt(job)
