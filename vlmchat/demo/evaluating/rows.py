"""What an evaluation found: plain values, their file, and the table that a person reads."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vlmchat.errors import UsageError
from vlmchat.finetune.compare import wilson
from vlmchat.finetune.files import write_whole
from vlmchat.text import visible_line

# What the demo model is meant to reach, settled before it was trained.
GOALS = {
    "colour": 0.95,
    "shape": 0.95,
    "count": 0.9,
    "position": 0.9,
    "describe": 0.8,
    "chart-label": 0.9,
    "chart-value": 0.8,
    "text": 0.85,
    "object": 0.7,
    "pair": 0.8,
    "clip": 0.8,
    "premise": 0.8,
    "photo": 0.8,
}
_FORM = 1
_COLUMNS = f"{'task':14}{'goal':>6}{'exact':>8}{'95 % interval':>17}{'n':>6}{'s/answer':>10}"


@dataclass(frozen=True, slots=True)
class Wrong:
    """An answer that was not right.

    Attributes:
        index: which of the task's examples; with the seed it says what was drawn.
        question: as it was asked.
        answer: what is right.
        said: what the model said.
    """

    index: int
    question: str
    answer: str
    said: str


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one task.

    Attributes:
        task: its name.
        right: answers that were judged right.
        asked: how many were asked.
        seconds: for all answers, pictures looked at and prompts read included.
        prompt_tokens: of all prompts together, pictures and system prompt included.
        wrong: the first answers that were not right.
    """

    task: str
    right: int = 0
    asked: int = 0
    seconds: float = 0.0
    prompt_tokens: int = 0
    wrong: tuple[Wrong, ...] = ()

    @property
    def goal(self) -> float | None:
        """The share that is to be reached; ``None`` for a task without one."""
        return GOALS.get(self.task)

    @property
    def share(self) -> float:
        """The share of right answers; 0 where nothing was asked."""
        return self.right / self.asked if self.asked else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval of the share (see `wilson`)."""
        return wilson(self.right, self.asked)

    @property
    def verdict(self) -> str:
        """``reached``, ``missed``, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        return "reached" if self.share >= self.goal else "missed"

    def line(self) -> str:
        """Return the row as a line of the table."""
        low, high = self.interval
        goal = "-" if self.goal is None else f"{self.goal:.2f}"
        each = self.seconds / self.asked if self.asked else 0.0
        between = f"{low:.3f} to {high:.3f}"
        figures = f"{goal:>6}{self.share:>8.3f}{between:>17}{self.asked:>6}{each:>10.2f}"
        return f"{self.task:14}{figures}  {self.verdict}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        """Return the row for a JSON file, with what follows from it for those who read that."""
        low, high = self.interval
        follows = {"goal": self.goal, "match": self.share, "low": low, "high": high}
        return asdict(self) | {name: value and round(value, 4) for name, value in follows.items()}


@dataclass(frozen=True, slots=True)
class PictureCost:
    """What one picture takes.

    Attributes:
        side: of the square that the vision tower sees, pixels.
        tiles: that a picture of exactly that size is cut into.
        image_tokens: what the tower makes of it.
        prompt_tokens: the same with the marks around it.
    """

    side: int
    tiles: int
    image_tokens: int
    prompt_tokens: int

    def sentence(self) -> str:
        """Return it in words."""
        tiles = "1 tile" if self.tiles == 1 else f"{self.tiles} tiles"
        return (
            f"A picture of {self.side} × {self.side} pixels is {tiles}, {self.image_tokens} image "
            f"tokens, and takes {self.prompt_tokens} tokens of the prompt with its marks."
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, whole or as far as it came.

    Attributes:
        model: what answered, as `LoadedModel.provenance` has it, and its sizes.
        seed: of the examples.
        count: examples wanted of each task.
        level: of the examples, 0 to 1.
        picture: what one picture costs.
        threads: processors' threads that computed; 0 where they followed the load.
        together: how many are asked at a time; no answer depends on it, but what each takes does.
        data: the packages that fonts and pictured objects were taken from, see `packages`.
        rows: of the tasks, in the order they were asked.
        training: what the trainer's log says of the model; empty if no log was given.
    """

    model: dict[str, Any]
    seed: int
    count: int
    level: float
    picture: PictureCost
    threads: int = 0
    together: int = 1
    data: tuple[dict[str, str], ...] = ()
    rows: tuple[Row, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every task was asked to its end."""
        return bool(self.rows) and all(row.asked >= self.count for row in self.rows)

    def row(self, task: str) -> Row:
        """Return what is known of a task."""
        return next((row for row in self.rows if row.task == task), Row(task))

    def with_row(self, row: Row) -> "Evaluation":
        """Return the evaluation with a row instead of the one of the same task."""
        known = {each.task: each for each in self.rows} | {row.task: row}
        return replace(self, rows=tuple(known.values()))

    def like(self, other: "Evaluation") -> bool:
        """Return whether both asked the same of the same model, so that one can go on."""
        mine, theirs = (
            (one.model, one.seed, one.count, one.level, one.picture, one.data)
            for one in (self, other)
        )
        return mine == theirs

    def sentence(self) -> str:
        """Return how many goals were reached."""
        verdicts = [row.verdict for row in self.rows if row.verdict]
        if not verdicts:
            return "No task with a goal was asked."
        return f"{verdicts.count('reached')} of {len(verdicts)} goals are reached."

    def write(self, path: Path) -> None:
        """Write the evaluation to a JSON file; another one there gives way at once or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        values = {
            "form": _FORM,
            "model": self.model,
            "seed": self.seed,
            "count": self.count,
            "level": self.level,
            "picture": asdict(self.picture),
            "threads": self.threads,
            "together": self.together,
            "data": self.data,
            "whole": self.whole,
            "rows": [row.as_dict() for row in self.rows],
            "training": self.training,
        }
        write_whole(path, (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode())


def table(rows: Iterable[Row]) -> list[str]:
    """Return the table's lines, its head first."""
    return [_COLUMNS, *(row.line() for row in rows)]


def read_evaluation(path: Path) -> Evaluation:
    """Return what `Evaluation.write` wrote.

    Raises:
        UsageError: the file is missing, or is none.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["form"] != _FORM:
            raise ValueError(f"its form is {values['form']}")
        return Evaluation(
            model=dict(values["model"]),
            seed=int(values["seed"]),
            count=int(values["count"]),
            level=float(values["level"]),
            picture=PictureCost(**values["picture"]),
            threads=int(values["threads"]),
            together=int(values.get("together", 1)),
            data=tuple(dict(each) for each in values["data"]),
            rows=tuple(_row(each) for each in values["rows"]),
            training=dict(values["training"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"“{visible_line(str(path))}” is no evaluation of the demo model "
            f"({visible_line(str(error))})."
        ) from error


def _row(values: dict[str, Any]) -> Row:
    wrong = tuple(Wrong(**each) for each in values["wrong"])
    names = ("task", "right", "asked", "seconds", "prompt_tokens")
    return Row(**{name: values[name] for name in names}, wrong=wrong)


def wanted_tasks(names: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the tasks that a list with commas names; all for an empty one.

    Raises:
        UsageError: one of them is none.
    """
    chosen = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"There is no task “{visible_line(name)}”: there are {', '.join(known)}."
            )
    return tuple(dict.fromkeys(chosen)) or tuple(known)
