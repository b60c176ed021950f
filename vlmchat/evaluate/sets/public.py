"""The public benchmarks, read from their own files as they are downloaded.

========== ============================================== =======================================
ChartQA    ``test_human.json``, ``test_augmented.json``   ``png/`` beside it
DocVQA     ``val_v1.0.json``, ``val_v1.0_withQT.json``    ``documents/`` or ``spdocvqa_images/``
TextVQA    ``TextVQA_0.5.1_val.json``                     ``train_images/``
VQAv2      ``…_questions.json`` and ``…_annotations.json``  ``val2014/`` (``COCO_val2014_….jpg``)
COCO       ``captions_val2017.json``                      ``val2017/``
========== ============================================== =======================================
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vlmchat.chat.formats.values import short
from vlmchat.errors import UsageError
from vlmchat.evaluate.items import EvalSet, Item, unlike
from vlmchat.evaluate.metrics.registry import MetricName
from vlmchat.evaluate.sets.places import folder_of, placed

# As LLaVA-1.5 put the questions of these sets (Liu et al. 2023, table 8).
BRIEFLY = "\nAnswer the question using a single word or phrase."
# As lmms-eval has COCO's pictures described.
DESCRIBE = "Provide a one-sentence caption for the provided image."
_Json: TypeAlias = dict[str, Any]
_Items: TypeAlias = list[tuple[Item, str]]


def recognised(value: object) -> str:
    """Return which benchmark a file's JSON is of; empty for none."""
    if isinstance(value, list):
        first = value[0] if value else None
        return "ChartQA" if isinstance(first, dict) and {"imgname", "query"} <= set(first) else ""
    if not isinstance(value, dict):
        return ""
    rows = value.get("data")
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    if {"questionId", "question", "image"} <= set(first):
        return "DocVQA"
    if {"image_id", "question", "question_id"} <= set(first):
        return "TextVQA"
    if isinstance(value.get("questions"), list):
        return "VQAv2"
    notes = value.get("annotations")
    first = notes[0] if isinstance(notes, list) and notes and isinstance(notes[0], dict) else {}
    if "caption" in first and isinstance(value.get("images"), list):
        return "COCO captions"
    return "VQAv2" if {"question_id", "answers"} <= set(first) else ""


def benchmark(path: Path, value: Any, pictures: Path | None) -> EvalSet:  # noqa: ANN401 - JSON
    """Return the set in a benchmark's file; blocking.

    Args:
        path: of the file; of VQAv2 either of its two.
        value: the JSON in it, as `recognised` knows it.
        pictures: the folder of the pictures; ``None`` looks where the download has them.

    Raises:
        UsageError: something is missing, or is not as in the download.
    """
    kind = recognised(value)
    read, metric, suffix, usual = _KINDS[kind]
    try:
        items = read(path, value)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UsageError(
            f"“{short(path)}” looks like {kind} and is not as in the download "
            f"({type(error).__name__}: {short(error)})."
        ) from error
    if not items:
        raise UsageError(f"“{short(path)}” has no question with answers: take the validation set.")
    folder = folder_of(pictures, path, usual, [name for _, name in items])
    found, notes = placed(items, folder)
    return EvalSet(path.name, kind, unlike(found), metric, suffix, tuple(notes))


def _chartqa(path: Path, rows: list[_Json]) -> _Items:
    category = path.stem.rpartition("_")[2]
    return [
        (
            Item(str(number), str(row["query"]), (str(row["label"]),), category=category),
            str(row["imgname"]),
        )
        for number, row in enumerate(rows, 1)
    ]


def _docvqa(path: Path, value: _Json) -> _Items:
    return [
        (
            Item(
                str(row["questionId"]),
                str(row["question"]),
                _texts(row["answers"]),
                category=", ".join(row.get("question_types") or ()),
            ),
            str(row["image"]),
        )
        for row in value["data"]
        if row.get("answers")
    ]


def _textvqa(path: Path, value: _Json) -> _Items:
    return [
        (
            Item(str(row["question_id"]), str(row["question"]), _texts(row["answers"])),
            f"{row['image_id']}.jpg",
        )
        for row in value["data"]
        if row.get("answers")
    ]


def _vqav2(path: Path, value: _Json) -> _Items:
    if "questions" in value:
        questions, annotations = value, _partner(path, "questions", "annotations")
    else:
        questions, annotations = _partner(path, "annotations", "questions"), value
    subtype = str(questions.get("data_subtype") or "val2014")
    by_id = {row["question_id"]: row for row in annotations["annotations"]}
    found: _Items = []
    for row in questions["questions"]:
        if (note := by_id.get(row["question_id"])) is None:
            continue
        item = Item(
            str(row["question_id"]),
            str(row["question"]),
            _texts(each["answer"] for each in note["answers"]),
            category=str(note.get("answer_type", "")),
        )
        found.append((item, f"COCO_{subtype}_{int(row['image_id']):012d}.jpg"))
    return found


def _partner(path: Path, one: str, other: str) -> _Json:
    """Return the JSON of the other file of VQAv2, which lies beside the one that was named."""
    near = [
        each
        for each in sorted(path.parent.glob(f"*{other}*.json"))
        if _core(each.name) == _core(path.name)
    ]
    if not near:
        raise UsageError(
            f"“{short(path.name)}” has the {one} of VQAv2 only: put the file with its {other} "
            "beside it, as it is called in the download."
        )
    value = read_json(near[0])
    if not isinstance(value, dict):
        raise UsageError(f"“{short(near[0])}” is not the {other} of VQAv2.")
    return value


def _core(name: str) -> str:
    for word in ("questions", "annotations", "OpenEnded", "MultipleChoice"):
        name = name.replace(f"{word}_", "").replace(f"_{word}", "")
    return name


def _coco(path: Path, value: _Json) -> _Items:
    captions: dict[Any, list[str]] = defaultdict(list)
    for row in value["annotations"]:
        captions[row["image_id"]].append(str(row["caption"]))
    return [
        (Item(str(row["id"]), DESCRIBE, tuple(captions[row["id"]])), str(row["file_name"]))
        for row in value["images"]
        if captions.get(row["id"])
    ]


def _texts(values: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    return tuple(str(value) for value in values)


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return the JSON in a file.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"“{short(path)}” cannot be read as JSON ({short(why)}).") from error


_KINDS: Mapping[str, tuple[Callable[[Path, Any], _Items], MetricName, str, tuple[str, ...]]] = {
    "ChartQA": (_chartqa, "relaxed", BRIEFLY, ("png", "test/png", "val/png", ".")),
    "DocVQA": (
        _docvqa,
        "anls",
        BRIEFLY,
        (".", "documents", "spdocvqa_images", "val", "val/documents", "images"),
    ),
    "TextVQA": (_textvqa, "vqa", BRIEFLY, ("train_images", "train_val_images", "images", ".")),
    "VQAv2": (_vqav2, "vqa", BRIEFLY, ("val2014", "images/val2014", "images", "train2014", ".")),
    "COCO captions": (_coco, "cider", "", ("val2017", "images/val2017", "val2014", "images", ".")),
}
