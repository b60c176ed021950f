"""Rows as they stand in the file: what fine-tuning opens, with how each was made."""

import os
from pathlib import Path
from typing import Any

from vlmchat.synth.recipe import MADE_BY, Candidate

_GROUP = 16  # digits of a picture's hash that hold its rows together


def row_of(candidate: Candidate, picture: str, sha256: str, made: dict[str, Any]) -> dict[str, Any]:
    """Return a candidate as a row, with ``why`` and ``reason`` where it was left out.

    Fine-tuning reads ``messages`` (``sft``) or ``prompt``, ``chosen`` and ``rejected``
    (``preference``), takes the picture from its path, and keeps the rows of one
    ``conversation_id``, here of one picture, on one side of training and validation.

    Args:
        candidate: what was made.
        picture: its path, as the row names it.
        sha256: of the picture.
        made: what all rows of a run have in common.
    """
    asked: list[dict[str, str]] = [{"type": "image", "path": picture}]
    asked += [{"type": "text", "text": candidate.question}] if candidate.question else []
    user = {"role": "user", "content": asked}
    row: dict[str, Any]
    if candidate.kind == "preference":
        row = {"prompt": [user], "chosen": [_says(candidate.answer)]}
        row["rejected"] = [_says(candidate.rejected)]
    else:
        row = {"messages": [user, _says(candidate.answer)]}
    row["conversation_id"] = sha256[:_GROUP]
    about = {"by": MADE_BY, **made, "kind": candidate.kind, "picture": sha256, **candidate.made}
    if candidate.bare and candidate.bare != candidate.question:
        about["question"] = candidate.bare
    if scores := candidate.scores.as_dict():
        about["scores"] = scores
    row["made"] = about
    if candidate.why:
        row |= {"why": candidate.why, "reason": candidate.reason}
    return row


def _says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def path_in_row(picture: Path, out: Path) -> str:
    """Return how a row of the file `out` names a picture: below the file's folder, else whole."""
    picture, folder = (Path(os.path.abspath(one)) for one in (picture, out.parent))  # noqa: PTH100
    if picture.is_relative_to(folder):
        return picture.relative_to(folder).as_posix()
    return str(picture)


def asked_and_said(row: dict[str, Any]) -> tuple[str, str]:
    """Return question and answer of a row of ours, the question without what surrounds it."""
    turns = row.get("messages") or [*row["prompt"], *row["chosen"]]
    question = next(part["text"] for part in turns[0]["content"] if part["type"] == "text")
    return row["made"].get("question", question), turns[1]["content"][0]["text"]
