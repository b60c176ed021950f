"""What was answered: rows, and the file of them that a run goes on with."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vlmchat.chat.formats.values import short
from vlmchat.errors import UsageError
from vlmchat.evaluate.metrics.judged import Judged

_FORM = 1
_MARK = "vlmchat_eval"


@dataclass(frozen=True, slots=True)
class Row:
    """One question with what was said to it.

    Attributes:
        key: tells how it was put (see `Item.key`).
        id: of the question in its set.
        question: as it was put.
        answers: what is right.
        said: the answer; empty where there is none.
        options: to choose from.
        category: of which kind the question is.
        group: what it shares with others about the same pictures.
        pictures: their names.
        finish: why the answer ended: ``stop``, ``length`` …
        error: why there is no answer, one sentence; empty where there is one.
        seconds: that the answer took, without waiting for others where the engine tells.
        prompt_tokens: of the prompt, where the engine tells.
        completion_tokens: of the answer, where the engine tells.
        score: by the metric of the last report; ``None`` before there was one.
    """

    key: str
    id: str
    question: str
    answers: tuple[str, ...]
    said: str = ""
    options: tuple[str, ...] = ()
    category: str = ""
    group: str = ""
    pictures: tuple[str, ...] = ()
    finish: str = ""
    error: str = ""
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    score: float | None = None

    @property
    def judged(self) -> Judged:
        """What a metric looks at."""
        return Judged(self.said, self.answers, self.options)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Row":
        """Return the row in a JSON object.

        Raises:
            TypeError: it is none.
            KeyError: something is missing.
        """
        lists = ("answers", "options", "pictures")
        values = dict(value) | {name: tuple(map(str, value.get(name, ()))) for name in lists}
        row = cls(**values)
        texts = (row.key, row.id, row.question, row.said, row.group, row.error)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a text is none")
        return row


@dataclass(frozen=True, slots=True)
class Head:
    """What all rows of a run have in common.

    Attributes:
        set: the set's name.
        kind: what was recognised, as ``ChartQA``.
        metric: that it was scored by.
        label: who answered, for a person.
        model: as the engine calls it.
        revision: of the model.
        quantization: of the model.
        adapter: laid over it; empty for none.
        asking: the wording and the sampling parameters, as plain values.
    """

    set: str
    kind: str
    metric: str
    label: str
    model: str
    revision: str = ""
    quantization: str = ""
    adapter: str = ""
    asking: dict[str, Any] = field(default_factory=dict)

    def same(self, other: "Head") -> bool:
        """Return whether the same model was asked in the same way, of whatever set."""
        return self._identity == other._identity

    @property
    def _identity(self) -> tuple[Any, ...]:
        who = (self.model, self.revision, self.quantization, self.adapter)
        return (*who, json.dumps(self.asking, sort_keys=True))


def read_rows(path: Path) -> tuple[Head, list[Row]]:
    """Return what a file of rows holds; blocking. A last line that was cut off is passed over.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        lines = path.read_bytes().split(b"\n")
        head = json.loads(lines[0])
        if head.pop(_MARK) != _FORM:
            raise ValueError("another version wrote it")
        found: dict[str, Row] = {}
        for place, line in enumerate(lines[1:], 1):
            if line.strip():
                try:
                    row = Row.from_json(json.loads(line))
                except ValueError:
                    if place == len(lines) - 1:
                        break
                    raise
                found[row.key] = row
        return Head(**head), list(found.values())
    except OSError as error:
        raise UsageError(f"“{short(path)}” cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"“{short(path)}” holds no answers of `vlmchat eval` ({short(error)})."
        ) from error


class Journal:
    """A file that each answer is written to when it is there.

    Args:
        path: of the file; one that is there goes on, if the same model was asked in the same way.
        head: of this run.

    Attributes:
        rows: what is in it, by key.

    Raises:
        UsageError: it has other answers, or cannot be written.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self.head = head
        self.rows: dict[str, Row] = {}
        fresh = not path.exists() or not path.stat().st_size
        if not fresh:
            before, rows = read_rows(path)
            if not before.same(head):
                raise UsageError(
                    f"“{short(path)}” has the answers of {short(before.label)}, which was asked "
                    "otherwise or is another model: name another file with --out."
                )
            self.rows = {row.key: row for row in rows}
        try:
            self._file = path.open("ab" if fresh else "r+b")
            if fresh:
                self._write({_MARK: _FORM, **asdict(head)})
            else:
                self._cut_torn_line()
        except OSError as error:
            raise _unwritable(path, error) from error

    def add(self, row: Row) -> None:
        """Write a row; it is on the disk when this returns; blocking.

        Raises:
            UsageError: it cannot be written.
        """
        self.rows[row.key] = row
        try:
            self._write(asdict(row))
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the file anew, in the order of `rows`, whose scores are known now; blocking.

        What else is in it stays behind them.

        Raises:
            UsageError: it cannot be written; it is as it was.
        """
        from vlmchat.finetune.files import write_whole

        self._file.close()
        known = {row.key for row in rows}
        others = [row for key, row in self.rows.items() if key not in known]
        head = {_MARK: _FORM, **asdict(self.head)}
        try:
            write_whole(self.path, _lines([head, *(asdict(row) for row in (*rows, *others))]))
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(next(iter(_lines([value]))))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _cut_torn_line(self) -> None:
        """Go to the end; a line that a kill cut off goes."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        self._file.truncate(whole)
        self._file.seek(whole)


def _lines(values: Iterable[Mapping[str, Any]]) -> Iterable[bytes]:
    return ((json.dumps(value, ensure_ascii=False) + "\n").encode() for value in values)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"“{short(path)}” cannot be written ({error.strerror}).")


def scored(rows: Sequence[Row], scores: Sequence[float]) -> list[Row]:
    """Return the rows with their scores."""
    return [replace(row, score=score) for row, score in zip(rows, scores, strict=True)]
