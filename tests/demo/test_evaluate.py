"""The evaluation: it asks through the engine, counts, breaks off, goes on, and writes it down."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import vlmchat
from vlmchat.chat.messages import ImagePart, Message, TextPart
from vlmchat.demo.drawing.examples import TASKS, example
from vlmchat.demo.evaluate import main
from vlmchat.demo.evaluating.card import card, training_of
from vlmchat.demo.evaluating.messages import message
from vlmchat.demo.evaluating.rows import (
    GOALS,
    Evaluation,
    PictureCost,
    Row,
    Wrong,
    read_evaluation,
    table,
    wanted_tasks,
)
from vlmchat.demo.evaluating.running import Watcher, asked, drawn, run
from vlmchat.errors import UsageError
from vlmchat.models import demo_model

MODEL = {
    "model": "demo",
    "title": "Demo",
    "revision": "abc",
    "adapter": "",
    "device": "cpu",
    "dtype": "bfloat16",
    "quantization": "none",
    "parameters": 140_400_000,
    "vision_parameters": 5_800_000,
}
COST = PictureCost(240, 1, 25, 28)
EMPTY = Evaluation(MODEL, seed=0, count=6, level=1.0, picture=COST)


@dataclass
class Pupil:
    """Answers rightly but for every third question, and may leave in the middle."""

    evaluation: Evaluation
    task: str
    leave_after: int = 10_000
    at: int = 0
    videos: bool = False

    @property
    def text(self) -> str:
        right = drawn(self.evaluation, self.task, self.at - 1).answer
        return "I do not know." if self.at % 3 == 0 else right

    seconds = 0.5
    prompt_tokens = 70

    def ask_all(self, messages: Sequence[Message]) -> list["Pupil"]:
        answers = []
        for one in messages:
            if self.at >= self.leave_after:
                raise KeyboardInterrupt
            assert one.text
            self.at += 1
            answers.append(replace(self))
        return answers


def quiet(saved: list[Evaluation]) -> Watcher:
    return Watcher(lambda _: None, lambda _: None, saved.append)


def test_every_task_has_a_goal_and_intervals_are_wilsons() -> None:
    assert set(GOALS) == set(TASKS)
    row = Row("colour", right=8, asked=10, seconds=2.5)
    low, high = row.interval
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)  # by hand, from Wilson's formula
    head, line = table([row])
    assert line.split() == [
        *("colour", "0.95", "0.800", "0.490", "to", "0.943", "10", "0.25", "missed")
    ]
    assert len(head.split("n")[0]) and head.index("goal") + 4 == line.index("0.95") + 4
    assert replace(row, right=10).verdict == "reached"
    assert Row("strange").line().split() == ["strange", "-", "0.000", "0.000", "to", "1.000",
                                             "0", "0.00"]  # fmt: skip


def test_tasks_are_named_with_commas() -> None:
    assert wanted_tasks("", TASKS) == TASKS
    assert wanted_tasks("clip, colour,clip", TASKS) == ("clip", "colour")
    with pytest.raises(UsageError, match="no task “smell”: there are colour"):
        wanted_tasks("smell", TASKS)


def test_what_broke_off_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    saved: list[Evaluation] = []
    *_, whole = run(EMPTY, ("colour",), Pupil(EMPTY, "colour"), 1, quiet(saved))
    row = whole.row("colour")
    assert (row.right, row.asked, row.seconds, row.prompt_tokens) == (4, 6, 3.0, 420)
    assert [wrong.index for wrong in row.wrong] == [2]
    assert row.wrong[0].said == "I do not know."
    assert saved == [whole] and whole.whole and not EMPTY.whole

    steps = run(EMPTY, ("colour",), Pupil(EMPTY, "colour", 4), 1, quiet(saved))
    for _ in range(4):
        broken = next(steps)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert broken.row("colour").asked == 4
    broken.write(tmp_path / "figures.json")
    read = read_evaluation(tmp_path / "figures.json")
    assert read == broken and read.like(EMPTY) and not read.like(replace(EMPTY, seed=1))
    *_, again = run(read, ("colour",), Pupil(EMPTY, "colour", at=4), 1, quiet(saved))
    assert again == whole
    assert not list(run(whole, ("colour",), Pupil(EMPTY, "colour", 0), 1, quiet(saved)))

    several = replace(EMPTY, together=4)
    *counts, last = run(several, ("colour",), Pupil(EMPTY, "colour"), 1, quiet(saved))
    assert [one.row("colour").asked for one in counts] == [4]
    assert last.rows == whole.rows and last.like(EMPTY)


def test_no_answer_is_right_but_the_right_one() -> None:
    one = drawn(EMPTY, "count", 0)
    pupil = Pupil(EMPTY, "count", at=2)  # the next is a third one
    assert asked(Row("count"), [one], pupil, 0) == Row("count", 0, 1, 0.5, 70)


def test_pictures_come_before_the_question_and_frames_have_their_times() -> None:
    pair, clip = drawn(EMPTY, "pair", 0), drawn(EMPTY, "clip", 0)
    parts = message(pair.images, pair.question, frames=False).parts
    assert [type(part) for part in parts] == [ImagePart, ImagePart, TextPart]
    assert parts[0] != parts[1]
    told = message(clip.images, clip.question, frames=True)
    times = [f"At 0:0{second}:" for second in range(len(clip.images))]
    assert len(told.media) == len(clip.images) >= 4
    assert [time for time in times if time in told.text] == times
    assert told.text.endswith(clip.question)
    known = message(clip.images, clip.question, frames=True, videos=True).text
    assert known.startswith("You are provided the following series of")


def test_the_tiny_model_is_asked_by_the_engine_and_its_answers_are_shown(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["--model", str(tiny_model), "--tasks", "colour,pair", "--count", "2"]
    arguments += ["--native", "off", "--json", str(figures), "--card", str(tmp_path / "card.md")]
    arguments += ["--together", "2", "--show-wrong", "1"]
    assert main(arguments) == 0
    out, errors = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["task", "colour", "pair"]
    assert "image tokens" in out and "0 of 2 goals are reached" in out
    assert "\r" not in errors  # progress is for terminals
    found = read_evaluation(figures)
    assert [(row.task, row.asked, len(row.wrong)) for row in found.rows] == [
        *(("colour", 2, 1), ("pair", 2, 1))
    ]
    assert found.row("pair").prompt_tokens > found.row("colour").prompt_tokens > 0
    assert found.model["model"] == tiny_model.name and str(tmp_path) not in figures.read_text()
    page = (tmp_path / "figures-wrong.html").read_text()
    assert page.count("<img ") == 3 and page.count("<article") == 2
    assert found.row("pair").wrong[0].answer in page
    before = (tmp_path / "card.md").read_text()

    # One after the other, the same is said.
    alone = tmp_path / "alone.json"
    assert main([*arguments, "--together", "1", "--json", str(alone)]) == 0
    timeless = [
        [replace(row, seconds=0.0) for row in read_evaluation(path).rows]
        for path in (figures, alone)
    ]
    assert timeless[0] == timeless[1]
    capsys.readouterr()

    # Nothing is left to ask: the same figures, and the same card from them alone.
    assert main([*arguments, "--go-on"]) == 0
    assert read_evaluation(figures) == found
    again = tmp_path / "again.md"
    assert main(["--from", str(figures), "--card", str(again)]) == 0
    assert again.read_text() == before
    assert main([*arguments, "--go-on", "--seed", "1"]) == 2
    assert "is of another model or of other examples" in capsys.readouterr().err


@pytest.mark.slow
def test_whoever_is_told_to_end_tells_what_there_is(tiny_model: Path, tmp_path: Path) -> None:
    figures, count = tmp_path / "figures.json", 20
    command = [sys.executable, "-m", "vlmchat.demo.evaluate", "--model", str(tiny_model)]
    command += ["--tasks", "colour,clip", "--count", str(count), "--native", "off"]
    command += ["--json", str(figures), "--card", str(tmp_path / "card.md")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("colour"):
                break
        child.send_signal(signal.SIGTERM)
        rest = child.stdout.read()
    assert child.returncode == 130
    found = read_evaluation(figures)
    assert found.row("colour").asked == count > found.row("clip").asked
    assert "image tokens" in rest and not (tmp_path / "card.md").exists()


def test_what_is_no_evaluation_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"form": 7}')
    for path in (tmp_path / "none.json", other):
        assert main(["--from", str(path)]) == 2
        assert "is no evaluation of the demo model" in capsys.readouterr().err
    assert main(["--show-wrong", "2"]) == 2
    assert "need --json FILE" in capsys.readouterr().err


def log_line(**values: Any) -> str:
    return json.dumps({"event": "step", **values}) + "\n"


def test_the_card_has_every_figure_and_what_the_log_says(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    kinds = {"scene": {"count": 1000}}  # pictures in the first phase, then answers by kind
    tasks = kinds | {"task/colour": {"count": 600}, "task/count": {"count": 400}}
    log.write_text(
        log_line(phase=1, step=50, images=3200, seconds=100.0, kinds=kinds)
        + log_line(phase=1, step=100, images=6400, seconds=7200.0, kinds=kinds)
        + json.dumps({"event": "measured", "phase": 1, "step": 100})
        + "\n"
        + log_line(phase=2, step=10, images=1200, seconds=1800.0, kinds=tasks)
        + log_line(phase=2, step=20, images=2400, seconds=3600.0, kinds=tasks)
    )
    row = Row("object", right=450, asked=500, seconds=100.0, wrong=(Wrong(1, "?", "a", "b"),))
    noto = {
        "package": "noto",
        "version": "2.042",
        "registry": "debian",
        "taken": "pictures",
        "licence": "OFL-1.1",
    }
    found = replace(
        EMPTY, rows=(row,), count=500, data=(noto,), training=training_of(log, "2 CPU cores")
    )
    text = card(found)
    low, high = row.interval
    assert f"| object | {'What is in the picture?'}" in text
    assert f"| 0.70 | **0.900** | {low:.3f} to {high:.3f} | 500 | 0.20 |" in text
    assert "| 1 | 100 | 6,400 |  | 2.0 |" in text and "| 2 | 20 | 2,400 | 2,000 | 1.0 |" in text
    assert "Hardware: 2 CPU cores." in text
    assert "| noto | 2.042 | debian | pictures | OFL-1.1 |" in text
    assert "5.8 million of them vision" in text and "takes 28 tokens" in text
    assert "not brought to its end" not in text
    assert "not brought to its end" in card(replace(found, count=600))
    with pytest.raises(UsageError, match="is no log of the demo model's trainer"):
        training_of(tmp_path / "none.jsonl")


def test_evaluation_never_draws_what_training_draws() -> None:
    for task in ("colour", "clip"):
        mine, theirs = example(task, "eval", 0, 3), example(task, "train", 0, 3)
        assert mine.images[0].tobytes() != theirs.images[0].tobytes()


def test_the_card_of_the_package_is_what_its_figures_say() -> None:
    folder = Path(vlmchat.__file__).parent / "demo"
    found = read_evaluation(folder / "card.json")
    assert (folder / "card.md").read_text("utf-8") == card(found)
    # Other weights need another evaluation.
    assert found.model["revision"] == demo_model.revision()
    assert [row.task for row in found.rows] == list(TASKS) and found.whole
