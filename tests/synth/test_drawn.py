"""Drawn sets: the same from the same seed, opened by fine-tuning, their answers right."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.finetune.logs import read
from vlmchat.demo.drawing.facts import Chart, Facts, Lettering, Placed, Scene, Thing
from vlmchat.demo.drawing.judging import right
from vlmchat.errors import UsageError
from vlmchat.synth.drawn import DRAWN, Drawn, Order, draw_set, pictures_folder
from vlmchat.synth.ledger import Ledger

FACTS: dict[str, type[Any]] = {"charts": Chart, "text": Lettering, "things": Thing}


def drawn(out: Path, order: Order) -> list[dict[str, Any]]:
    with Ledger(out, order.as_dict(), changeable=("count",)) as ledger:
        draw_set(order, pictures_folder(out), ledger)
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def facts_of(row: dict[str, Any]) -> Facts:
    """Return what was drawn, as it stands in a row."""
    told = row["made"]["facts"]
    if row["made"]["drawn"] == "shapes":
        return Scene(tuple(Placed(**one) for one in told["objects"]))
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    facts: Facts = FACTS[row["made"]["drawn"]](**values)
    return facts


@pytest.mark.parametrize("kind", DRAWN)
def test_drawn_set(kind: Drawn, tmp_path: Path) -> None:
    out = tmp_path / "a" / "data.jsonl"
    first = drawn(out, Order(kind, 2, per_image=2))
    rows = drawn(out, Order(kind, 3, per_image=2))  # goes on
    assert rows[: len(first)] == first and len(rows) > len(first)
    assert drawn(tmp_path / "b" / "data.jsonl", Order(kind, 3, per_image=2)) == rows
    assert (tmp_path / "b" / "data.jsonl").read_bytes() == out.read_bytes()
    for row in rows:
        picture = row["image"]
        ours = (out.parent / picture).read_bytes()
        assert (tmp_path / "b" / picture).read_bytes() == ours
        asked = row["question"], row["category"], row["answers"]
        assert asked[0] and all(
            right(asked[1], facts_of(row), asked[2][0], answer) for answer in asked[2]
        )
    examples, dropped = read(out)
    assert dropped == [] and len(examples) == len(rows)
    for example, row in zip(examples, rows, strict=True):
        assert [message.text for message in example.messages] == [
            row["question"], row["answers"][0]
        ]  # fmt: skip
        assert example.kind == "sft" and len(example.media) == 1
    assert len({example.group for example in examples}) == 3
    judged_by = drawn(tmp_path / "c" / "data.jsonl", Order(kind, 3, per_image=2, split="eval"))
    assert {row["image"] for row in judged_by}.isdisjoint(row["image"] for row in rows)


def test_pictures_of_others_are_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "data.jsonl"
    order = Order("shapes", 1)
    drawn(out, order)
    [picture] = pictures_folder(out).iterdir()
    picture.write_bytes(b"mine")
    out.rename(tmp_path / "old.jsonl")
    for path in tmp_path.glob("data.*.jsonl"):
        path.unlink()
    with pytest.raises(UsageError, match="another picture"):
        drawn(out, order)
    assert picture.read_bytes() == b"mine"
