"""What a person said of answers with and without an adapter: counted, and kept to learn from."""

import json
from pathlib import Path

import pytest

from tests.finetune.judged import QUESTIONS, on_the_shelf
from tests.finetune.logs import asked, read, write_log
from tests.finetune.test_shelf import write_adapter
from vlmchat.errors import UsageError
from vlmchat.finetune import shelf
from vlmchat.finetune.compare import (
    Contest,
    Tally,
    held_out,
    in_files,
    prompts_of,
    sign_test,
    wilson,
)
from vlmchat.finetune.job import open_job
from vlmchat.finetune.methods import for_method
from vlmchat.finetune.reading import ExampleReader


def test_what_is_asked(tmp_path: Path) -> None:
    adapter = on_the_shelf(tmp_path)
    prompts = held_out(adapter)
    assert [prompt.text for prompt in prompts] == list(QUESTIONS)
    assert {prompt.reference for prompt in prompts} == {"It is that."}
    assert [len(prompt.attachments) for prompt in prompts] == [1, 0, 0]
    rows = [
        {"messages": asked("Who?", "They.")["messages"] + asked("Why?", "So.")["messages"]},
        {"prompt": "Which?", "chosen": "This.", "rejected": "That."},
        {"prompt": "Which?", "chosen": "This!", "rejected": "That."},
        {"prompt": "How?", "completion": "Not so.", "label": False},
    ]
    found = prompts_of(read(write_log(tmp_path / "x.jsonl", rows))[0])
    assert [(p.text, p.reference, len(p.messages)) for p in found] == [
        ("Why?", "So.", 3),
        ("Which?", "This.", 1),
        ("How?", "", 1),
    ]


def test_no_questions_say_what_to_do(tmp_path: Path) -> None:
    adapter = on_the_shelf(tmp_path)
    open_job("birds").delete()
    with pytest.raises(UsageError, match=r"is gone: name a file of questions: /judge birds"):
        held_out(adapter)
    write_adapter(shelf.adapters_dir() / "foreign")
    with pytest.raises(UsageError, match="made elsewhere"):
        held_out(shelf.open_adapter("foreign"))
    with ExampleReader() as reader, pytest.raises(UsageError, match="There is no question in"):
        in_files(reader, [write_log(tmp_path / "bad.jsonl", [{"messages": []}])])


def test_judgements_are_kept_and_gone_on_with(tmp_path: Path) -> None:
    adapter = on_the_shelf(tmp_path)
    contest = Contest(adapter, held_out(adapter))
    first, second, third = contest.prompts
    contest.judge(first, "A dog.", "A [bird].", "adapter")
    contest.judge(second, "Two.", "Two.", "tie", blind=False)
    # Another program, after a cut in the middle of a line, and a new name.
    with contest.preferences.with_name("picks.jsonl").open("ab") as file:
        file.write(b'{"key": "x", "verd')
    renamed = shelf.rename("birds", "finches")
    again = Contest(renamed, held_out(renamed))
    assert [prompt.text for prompt in again.waiting] == [third.text]
    again.judge(third, "Three.", "Four.", "base")
    assert again.tally == Tally(adapter=1, base=1, tie=1)
    assert Contest(renamed, again.prompts).tally == again.tally
    again.note()
    card = shelf.open_adapter("finches").card
    assert card.evaluation["wins"] == card.evaluation["losses"] == card.evaluation["ties"] == 1
    assert card.evaluation["win_share"] == 0.5 and card.evaluation["sign_test_p"] == 1.0


def test_what_was_better_can_be_learned_from(tmp_path: Path) -> None:
    adapter = on_the_shelf(tmp_path)
    contest = Contest(adapter, held_out(adapter))
    first, second, third = contest.prompts
    contest.judge(first, "A dog.", "A [bird].\x1b[0m", "adapter")
    contest.judge(second, "Yes.", "No.", "base")
    contest.judge(third, "Same.", "Same.", "adapter")  # nothing to learn from
    examples, dropped = read(contest.preferences)
    assert dropped == [] and len(for_method(examples, "dpo")) == 2
    one, two = examples
    assert one.kind == "preference" and one.messages[-1].text == QUESTIONS[0]
    assert one.chosen[0].text == "A [bird].\x1b[0m" and one.rejected[0].text == "A dog."
    assert [medium.sha256 for medium in one.media] == [first.attachments[0].media.sha256]
    assert two.chosen[0].text == "Yes." and two.rejected[0].text == "No."
    row = json.loads(contest.preferences.read_text("utf-8").splitlines()[0])
    assert set(row) == {"prompt", "chosen", "rejected", "images", "source"}
    assert (contest.preferences.parent / row["images"][0]).is_file()


def test_sides_are_drawn_and_stay(tmp_path: Path) -> None:
    adapter = on_the_shelf(tmp_path)
    rows = [asked(f"What is {n}?", "That.") for n in range(200)]
    prompts = prompts_of(read(write_log(tmp_path / "x.jsonl", rows))[0])
    sides = [Contest(adapter, prompts).left(prompt) for prompt in prompts]
    assert sides == [Contest(adapter, prompts).left(prompt) for prompt in prompts]
    assert sides != [Contest(adapter, prompts, seed=1).left(prompt) for prompt in prompts]
    assert 70 < sides.count("adapter") < 130


@pytest.mark.parametrize(
    ("wins", "count", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson(wins: int, count: int, low: float, high: float) -> None:
    found = wilson(wins, count)
    assert found == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(count - wins, count)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_nothing_decided() -> None:
    assert wilson(0, 0) == (0.0, 1.0) and sign_test(0, 0) == 1.0
    assert Tally().sentence() == "Nothing was judged yet."
    assert "0 times" in Tally(tie=2).sentence() and "interval" not in Tally(tie=2).sentence()


def test_sign_test() -> None:
    assert sign_test(5, 0) == pytest.approx(2 / 32)
    assert sign_test(9, 1) == pytest.approx(22 / 1024) == sign_test(1, 9)
    assert sign_test(3, 3) == 1.0
    sentence = Tally(9, 1, 2, 1).sentence()
    assert sentence == (
        "The adapter was better 9 times, the model without it 1, 2 as good, 1 both bad: 90% for "
        "the adapter (95 % interval 60% to 98%, p = 0.021)."
    )
