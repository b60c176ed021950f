"""The drawn tasks: seeded, balanced, read as a log without a remark, held-out rows new."""

from collections import Counter
from pathlib import Path

import pytest

from tests.finetune.logs import read
from vlmchat.demo.pictures import SIDE
from vlmchat.demo.tasks import TASKS, rows, write_log


@pytest.mark.parametrize("name", TASKS)
def test_rows_are_seeded_and_every_answer_comes_about_equally_often(name: str) -> None:
    task = TASKS[name]
    training, again = list(rows(task, 60, 1)), list(rows(task, 60, 1))
    held_out = list(rows(task, 40, 2))
    assert training == again
    counts = Counter(row.answer for row in training)
    assert set(counts) == set(task.answers)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {row.question for row in training} == set(task.questions)
    assert not {row.png for row in training} & {row.png for row in held_out}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_log_like_any(name: str, tmp_path: Path) -> None:
    found = list(rows(TASKS[name], 12, 0))
    examples, dropped = read(write_log(tmp_path, name, iter(found)))
    assert not dropped
    assert [example.messages[-1].text for example in examples] == [row.answer for row in found]
    for example, row in zip(examples, found, strict=True):
        (picture,) = example.media
        assert (picture.width, picture.height, picture.data) == (SIDE, SIDE, row.png)
        assert example.trained == (1,)
