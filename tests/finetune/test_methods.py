"""Each method gets what it learns from, and says what it needs."""

from pathlib import Path

import pytest

from tests.finetune.logs import asked, read, write_log
from vlmchat.errors import UsageError
from vlmchat.finetune.examples import Example, check
from vlmchat.finetune.methods import for_method


@pytest.fixture
def found(tmp_path: Path) -> list[Example]:
    rows = [
        asked("What?", "A circle."),
        {"prompt": "Colour?", "chosen": "Red.", "rejected": "Blue."},
        {"prompt": "Size?", "completion": "Huge.", "label": False},
        {"prompt": "Size?", "completion": "Small.", "label": True},
    ]
    examples, dropped = read(write_log(tmp_path / "log.jsonl", rows))
    assert not dropped
    return examples


def test_each_method_takes_its_own_kind(found: list[Example]) -> None:
    assert for_method(found, "sft") == found[:1]
    assert for_method(found, "dpo") == for_method(found, "mpo") == found[1:2]
    assert for_method(found, "kto") == found[2:]


def test_others_are_turned_only_where_there_is_none(found: list[Example]) -> None:
    learned = for_method(found[1:], "sft")
    assert [check(e).messages[-1].text for e in learned] == ["Red.", "Small."]
    assert [e.trained for e in learned] == [(1,), (1,)]
    judged = for_method(found[:2], "kto")
    assert [(check(e).completion[0].text, e.label) for e in judged] == [
        ("Red.", True),
        ("Blue.", False),
    ]


def test_a_method_without_data_says_what_it_needs(found: list[Example]) -> None:
    with pytest.raises(UsageError, match="DPO needs pairs"):
        for_method(found[:1], "dpo")
    with pytest.raises(UsageError, match="KTO needs answers"):
        for_method(found[:1], "kto")
    with pytest.raises(UsageError, match="SFT needs answers"):
        for_method(found[2:3], "sft")
