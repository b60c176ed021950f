"""What is made opens in fine-tuning as it is, and is learned from."""

from pathlib import Path
from typing import Any

import pytest

from tests.finetune.logs import read
from tests.pictures import saved
from tests.synth.speaking import Speaker
from tests.trainer.jobs import job_of
from vlmchat.chat.messages import Media
from vlmchat.finetune.events import Error, Step, read_events
from vlmchat.synth import texts
from vlmchat.synth.ledger import Ledger, dropped_file
from vlmchat.synth.making import Maker
from vlmchat.synth.recipe import KINDS, Recipe
from vlmchat.synth.running import Progress, Run, pictures_in

COLOURS = ("red", "green", "blue")


async def made(folder: Path, out: Path, in_flight: int = 3) -> Progress:
    """Make rows of every kind about three pictures, one of them twice, and a broken one."""

    def says(picture: Media | None, text: str, temperature: float, _: int) -> str:
        name = Path(picture.name).stem if picture else "none"
        if "several steps" in text:
            return "Which part is the darkest?\nWhy is its edge so smooth?"
        if text.startswith("Write"):
            return "What is in the middle?\nIs it larger than half of the picture?"
        if text.startswith(("Rewrite", "Here is")):
            return "1" if f"Answer 1: A {name} one" in text else "2"
        end = " Answer: red" if "step by step" in text else ""
        return f"A {name} one, asked {text[:20]}.{end}" if temperature < 1 else f"No {name}.{end}"

    recipe = Recipe(per_image=2, samples=1, evolve=1)
    with Ledger(out, recipe.as_dict()) as ledger:
        maker = Maker(Speaker(says), recipe, texts.load())
        return await Run(pictures_in(folder), KINDS, maker, ledger, {"seed": 0}).run(in_flight)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    below = tmp_path / "pics" / "below"
    below.mkdir(parents=True)
    for colour in COLOURS:
        saved(below / f"{colour}.png", colour=colour)
    (below / "broken.jpg").write_bytes(b"no picture")
    saved(tmp_path / "pics" / "again.png", colour="blue")
    return tmp_path / "pics"


async def test_rows_open_in_fine_tuning(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.jsonl"
    progress = await made(folder, out)
    assert (progress.gone, progress.total) == (20, 20) and len(progress.unreadable) == 1
    assert progress.same == [str(folder / "below" / "blue.png")]
    examples, dropped = read(out)
    assert dropped == [] and len(examples) == progress.kept == 3 * 2 * len(KINDS)
    kinds = [example.kind for example in examples]
    assert (kinds.count("sft"), kinds.count("preference")) == (18, 6)
    assert len({example.group for example in examples}) == 3
    for example in examples:
        [media, *_] = example.media
        assert media.name in ("again.png", "red.png", "green.png")
        if example.kind == "preference":
            assert example.chosen[0].text.startswith("A ")
            assert example.rejected[0].text.startswith("No ")
    # Again, and with other numbers at once: nothing is made twice, and all is the same.
    before = out.read_bytes(), dropped_file(out).read_bytes()
    assert (await made(folder, out)).worked == 0
    assert (out.read_bytes(), dropped_file(out).read_bytes()) == before
    await made(folder, tmp_path / "alone.jsonl", in_flight=1)
    assert (tmp_path / "alone.jsonl").read_bytes() == before[0]


async def test_pictures_elsewhere_are_asked_about(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows" / "data.jsonl"
    await made(folder, out)
    examples, dropped = read(out)
    assert examples == [] and {one.why for one in dropped} == {"outside"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "dpo"])
async def test_trainer_learns_from_the_rows(
    method: str, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    import json

    from vlmchat.trainer.run import run

    out = tmp_path / "data.jsonl"
    await made(folder, out)
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.read_text().splitlines()]
    wanted = [row for row in rows if ("chosen" in row) is (method == "dpo")][:2]
    job = job_of(tiny_model, tmp_path, wanted, method=method, epochs=1, accumulation=2, rank=4)
    assert run(job, device="cpu", threads=1) == 0
    events = read_events(job.events_file)
    assert [one for one in events if isinstance(one, Error)] == []
    assert sum(isinstance(one, Step) for one in events) == 1
