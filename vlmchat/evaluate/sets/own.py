"""Our own sets: rows of questions and answers, and whatever fine-tuning reads.

A row of a set of questions is a JSON object:

=================== =========================================================================
``question``        what is asked
``answer``          what is right: a text or a number
``answers``         or a list of them, where several are right or several people answered
``image``           a picture: a path relative to the file
``images``          or a list of them
``options``         to choose from, in order; ``answer`` is then a letter (A, B …) or the text
``id``              what the row is called in reports; its line without
``category``        of which kind it is; reports have a figure for each
=================== =========================================================================
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vlmchat.chat.formats.values import BadRow, short
from vlmchat.errors import UsageError
from vlmchat.evaluate.items import EvalSet, Item, unlike
from vlmchat.evaluate.sets.places import within

if TYPE_CHECKING:
    from vlmchat.finetune.examples import Dropped, Example

# As MMMU asks for a letter.
LETTER = "\nAnswer with the option's letter from the given choices directly."
_MAX_ROW = 200_000_000
_Row: TypeAlias = dict[str, Any]


def is_question(value: object) -> bool:
    """Return whether a row is a question with its answers, as the module's text says."""
    if not isinstance(value, dict) or "question" not in value:
        return False
    return bool({"answer", "answers"} & set(value)) and not {"chosen", "rejected"} & set(value)


def questions(path: Path, allowed: Callable[[Path], bool]) -> EvalSet:
    """Return the set in a file of rows with questions; blocking.

    Args:
        path: JSON lines, or a JSON list.
        allowed: whether a picture outside the file's folder may be read.

    Raises:
        UsageError: there is no question in it.
    """
    from vlmchat.finetune.rows import rows_of

    found: list[Item] = []
    problems: list[str] = []
    for row in rows_of(path, _MAX_ROW, _MAX_ROW):
        try:
            if row.error:
                raise BadRow(row.error)
            found.append(_item(row.value, f"{row.item or row.line}", path.parent, allowed))
        except UsageError as error:
            where = f"item {row.item}" if row.item else f"line {row.line}"
            problems.append(f"{where}: {error}")
    return _as_set(path.name, "questions", found, problems)


def _item(value: object, place: str, folder: Path, allowed: Callable[[Path], bool]) -> Item:
    if not is_question(value) or not isinstance(value, dict):
        raise BadRow("it has no “question” with an “answer”.")
    question = value["question"]
    if not isinstance(question, str) or not question.strip():
        raise BadRow("its “question” is no text.")
    answers = _texts(value, "answer", "answers")
    if not answers:
        raise BadRow("it has no answer that is right.")
    pictures: list[Path] = []
    for name in _texts(value, "image", "images"):
        picture = within(folder, name, allowed)
        if not picture.is_file():
            raise BadRow(f"“{short(name)}” does not exist.")
        pictures.append(picture)
    return Item(
        str(value.get("id", place)),
        question,
        answers,
        tuple(pictures),
        options=_texts(value, "", "options"),
        category=str(value.get("category", "")),
    )


def _texts(row: _Row, one: str, several: str) -> tuple[str, ...]:
    values = row.get(several, row.get(one))
    listed = values if isinstance(values, list) else [] if values is None else [values]
    if not all(isinstance(each, str | int | float) for each in listed):
        raise BadRow(f"“{several}” holds something that is no text.")
    return tuple(str(each) for each in listed)


def log(name: str, found: Iterable["Example | Dropped"]) -> EvalSet:
    """Return the set in what fine-tuning read; blocking.

    The question of a conversation is its last one; what was learned or chosen there, or rated
    good, is right. Equal questions with different good answers are one with several.

    Args:
        name: of the set.
        found: examples of an open `ExampleReader`.

    Raises:
        UsageError: there is no question with a good answer in it.
    """
    from vlmchat.finetune.compare import prompt_of
    from vlmchat.finetune.examples import Dropped

    by_key: dict[str, Item] = {}
    problems: list[str] = []
    for example in found:
        if isinstance(example, Dropped):
            problems.append(str(example))
            continue
        prompt = prompt_of(example)
        if not prompt.reference.strip():
            continue
        before = by_key.get(prompt.key)
        answers = (*(before.answers if before else ()), prompt.reference)
        where = before.id if before else _place(example)
        by_key[prompt.key] = Item(
            where, prompt.text, tuple(dict.fromkeys(answers)), messages=prompt.messages
        )
    return _as_set(name, "log", list(by_key.values()), problems)


def _place(example: "Example") -> str:
    source = example.source
    return f"{source.item or source.line}" if source.item or source.line else example.group[:12]


def _as_set(name: str, kind: str, items: Sequence[Item], problems: Sequence[str]) -> EvalSet:
    if not items:
        why = f": {problems[0]}" if problems else "."
        raise UsageError(f"There is no question with a right answer in {short(name)}{why}")
    notes: list[str] = []
    if problems:
        many = len(problems)
        rows = "1 row is" if many == 1 else f"{many:,} rows are"
        notes.append(f"{rows} left out; {problems[0]}")
    choosing = all(item.options for item in items)
    return EvalSet(
        name,
        kind,
        unlike(items),
        "choice" if choosing else "exact",
        LETTER if choosing else "",
        tuple(notes),
    )
