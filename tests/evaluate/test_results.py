"""Intervals, tests, comparisons, and the files of answers."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pictures import saved
from vlmchat.chat.messages import Message
from vlmchat.errors import EngineError, UsageError, VlmchatError
from vlmchat.evaluate import running
from vlmchat.evaluate.intervals import bootstrap, mcnemar, permutation
from vlmchat.evaluate.items import Item, Wording
from vlmchat.evaluate.metrics.registry import METRICS
from vlmchat.evaluate.page import may_be_written, page
from vlmchat.evaluate.report import Report
from vlmchat.evaluate.results import compare, result
from vlmchat.evaluate.rows import Head, Journal, Row, read_rows
from vlmchat.evaluate.running import Run, Said

HEAD = Head("a.jsonl", "questions", "exact", "A", "model-a", asking={"temperature": 0.0})


def row(number: int, said: str, answer: str = "yes", group: str = "") -> Row:
    return Row(str(number), str(number), f"{number}?", (answer,), said, group=group or str(number))


def rows(right: str) -> list[Row]:
    """Return a row for each letter: ``+`` is answered rightly, anything else wrongly."""
    return [row(number, "yes" if letter == "+" else "no") for number, letter in enumerate(right)]


def test_the_interval_is_that_of_the_bootstrap() -> None:
    scores = [1.0] * 60 + [0.0] * 40
    low, high = bootstrap(scores, [str(n) for n in range(100)], seed=1)
    # Of the binomial with n = 100 and p = 0.6, the quantiles 2.5 % and 97.5 % are 50 and 69.
    assert low == pytest.approx(0.50, abs=0.011) and high == pytest.approx(0.69, abs=0.011)
    assert (low, high) == bootstrap(scores, [str(n) for n in range(100)], seed=1)
    # Ten questions about each of ten pictures, all right or all wrong: ten answers, not a hundred.
    low, high = bootstrap(scores, [str(n // 10) for n in range(100)], seed=1)
    assert low == pytest.approx(0.3) and high == pytest.approx(0.9)


def test_the_p_values_are_those_of_the_tests() -> None:
    # Worked by hand: two-sided binomial tails with p = 1/2.
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert mcnemar(9, 1) == mcnemar(1, 9)
    # All 2^5 signs of 1, 2, 3, 4, 5: only the two extremes are as large as 15.
    groups = [str(n) for n in range(6)]
    assert permutation([1, 2, 3, 4, 5, 0], groups) == pytest.approx(2 / 32)
    assert permutation([0.0] * 6, groups) == 1.0
    draw = random.Random(0)
    noise = [draw.gauss(0, 1) for _ in range(60)]
    names = [str(n) for n in range(60)]
    assert permutation(noise, names) > 0.05 > permutation([n + 1 for n in noise], names)


def test_a_difference_that_chance_does_not_make_and_one_that_it_does() -> None:
    one = result(HEAD, rows("++++----------------"), METRICS["exact"])
    other = result(replace(HEAD, label="B"), rows("+++++++++++-----++++"), METRICS["exact"])
    found = compare(one, other)
    assert (found.better, found.worse) == (11, 0)
    assert found.difference.mean == pytest.approx(0.55) and found.p == pytest.approx(2 / 2**11)
    assert found.significant and "B is better than A" in found.sentence()
    turned = compare(other, one)
    assert "B is better than A" in turned.sentence() and turned.difference.mean < 0
    same = compare(
        one, result(replace(HEAD, label="C"), rows("+++--+--------------"), METRICS["exact"])
    )
    assert not same.significant and "does not tell which of them is better" in same.sentence()
    with pytest.raises(UsageError, match="not asked one question in common"):
        compare(one, result(HEAD, [row(99, "yes")], METRICS["exact"]))


def test_only_what_both_were_asked_is_compared_and_errors_are_wrong() -> None:
    failed = replace(row(2, "yes"), error="The picture is broken.")
    one = result(HEAD, [row(1, "yes"), failed, row(3, "yes")], METRICS["exact"])
    assert one.score.mean == pytest.approx(2 / 3) and one.failed == 1
    other = result(replace(HEAD, label="B"), rows("---"), METRICS["exact"])  # 0, 1 and 2
    found = compare(one, other)
    assert found.difference.count == 2 and (found.better, found.worse) == (0, 1)


def test_kinds_of_questions_have_figures_of_their_own() -> None:
    asked = [replace(row(n, "yes" if n < 3 else "no"), category="ab"[n % 2]) for n in range(4)]
    found = result(HEAD, asked, METRICS["exact"])
    assert {name: share.mean for name, share in found.categories.items()} == {"a": 1.0, "b": 0.5}
    lines = "\n".join(Report("a.jsonl", "questions", (), (found,)).lines(5))
    assert "75.0" in lines and "3? “no”, right is “yes”" in lines


ITEMS = [Item(str(n), f"{n}?", (str(n),)) for n in range(6)]


async def test_a_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    path, asked = tmp_path / "rows.jsonl", []

    async def ask(messages: list[Message]) -> Said:
        asked.append(messages[-1].text)
        if len(asked) == 4:
            raise _PowerCutError
        return Said(messages[-1].text[0])

    journal = Journal(path, HEAD)
    with pytest.raises(_PowerCutError):
        await Run(ITEMS, Wording(), ask, 1, journal).run()
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"key": "torn')  # as a kill leaves it
    told: list[str] = []
    journal = Journal(path, HEAD)
    run = Run(ITEMS, Wording(), ask, 1, journal, lambda row: told.append(row.id))
    await run.run()
    found = result(HEAD, run.answered(), METRICS["exact"])
    journal.finish(found.rows)
    assert asked == ["0?", "1?", "2?", "3?", "3?", "4?", "5?"]
    assert told == ["0", "1", "2", "3", "4", "5"]
    head, kept = read_rows(path)
    assert head == HEAD
    assert [(row.id, row.said, row.score) for row in kept] == [
        (str(n), str(n), 1.0) for n in range(6)
    ]
    with pytest.raises(UsageError, match="another model"):
        Journal(path, replace(HEAD, model="model-b"))
    (tmp_path / "other.jsonl").write_text('{"question": "x"}\n', "utf-8")
    with pytest.raises(UsageError, match="holds no answers"):
        Journal(tmp_path / "other.jsonl", HEAD)


class _PowerCutError(Exception):
    pass


async def test_an_engine_that_fails_is_asked_again_and_a_bad_row_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_WAITS", (0.0, 0.0))
    failures = iter([True, True, False])

    async def ask(messages: list[Message]) -> Said:
        if next(failures, False):
            raise EngineError("It is busy.")
        return Said("0")

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    items = [ITEMS[0], Item("b", "b?", ("0",), (broken,)), Item("c", "c?", ("0",))]
    run = Run(items, Wording(), ask, 2)
    await run.run()
    assert [bool(row.error) for row in run.answered()] == [False, True, False]

    async def dead(messages: list[Message]) -> Said:
        await asyncio.sleep(0)
        raise UsageError("It takes no pictures.")

    with pytest.raises(UsageError, match="Not one question could be asked: It takes no pictures"):
        await Run(ITEMS, Wording(), dead, 2).run()
    with pytest.raises(VlmchatError, match="busy"):
        failures = iter([True] * 9)
        await Run(ITEMS, Wording(), ask, 1).run()


def test_the_page_shows_each_wrong_answer_and_obeys_none(tmp_path: Path) -> None:
    picture = saved(tmp_path / "a<b>.png", 900, 700)
    item = Item("x", "<i>What?</i>", ("<b>yes</b>",), (picture,), category="\x1b[31m")
    key = item.key(Wording())
    evil = "</p><script src='http://x.example'></script>\u202e"
    wrong = Row(key, "x", item.question, item.answers, evil, group="g", pictures=item.names)
    fine = [row(n, "yes") for n in range(3)]
    one = result(HEAD, [wrong, *fine], METRICS["exact"])
    report = Report("<set>", "questions", ("<note>",), (one,))
    text = b"".join(page(report, lambda row: item if row.key == key else None)).decode()
    assert "<script" not in text and "&lt;script" in text and "\u202e" not in text
    assert "<i>" not in text and "<set>" not in text and "<note>" not in text
    assert text.count("data:image/jpeg;base64,") == 1 and len(text) < 40_000
    assert "default-src 'none'" in text and text.count("<article>") == 1
    other = result(
        replace(HEAD, label="B"), [replace(wrong, said="<b>yes</b>"), *fine], METRICS["exact"]
    )
    both = Report("s", "q", (), (one, other), compare(one, other))
    text = b"".join(page(both, lambda row: None)).decode()
    assert "B did better: 1" in text and "B did worse: 0" in text and "a&lt;b&gt;.png" in text
    made = tmp_path / "report.html"
    assert may_be_written(made)
    made.write_text(text, "utf-8")
    assert may_be_written(made)
    made.write_text("<html>mine</html>", "utf-8")
    assert not may_be_written(made)
    assert json.loads(json.dumps(both.as_json()))["comparison"]["better"] == 1
