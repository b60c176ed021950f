"""The report accounts for each row, and the split never parts a conversation."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.finetune.logs import asked, write_log
from tests.pictures import saved
from vlmchat.chat.messages import Message, TextPart
from vlmchat.finetune.examples import Example, Source
from vlmchat.finetune.reading import ExampleReader
from vlmchat.finetune.rendering import Renderer
from vlmchat.finetune.report import DataReport, examine, preview
from vlmchat.finetune.split import split


def report(path: Path, model: Path, context: int | None = None) -> DataReport:
    renderer = Renderer(model)
    with ExampleReader() as reader:
        return examine(reader.read(path), renderer.count, context or renderer.context)


def test_every_row_is_accounted_for(tmp_path: Path, tiny_model: Path) -> None:
    saved(tmp_path / "a.png")
    rows = [
        asked("What?", "A circle.", "a.png"),
        *[asked("What?", "A circle.", "a.png")] * 3,
        asked("Where?", "Here.", "gone.png"),
        asked("Long?", "word " * 2000),
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "completion": "b", "label": False},
        {"nothing": 1},
    ]
    found = report(write_log(tmp_path / "log.jsonl", rows), tiny_model)
    assert found.rows == len(rows)
    assert found.kinds == {"sft": 1, "preference": 1, "kto": 1}
    assert [(d.source.line, d.first.line) for d in found.duplicates] == [(2, 1), (3, 1), (4, 1)]
    assert [d.line for d in found.dropped] == [5, 9]
    assert found.missing == (tmp_path.resolve() / "gone.png",)
    assert [o.source.line for o in found.oversize] == [6]
    assert found.context == 1024 < found.oversize[0].tokens
    assert found.media == 1
    assert 0 < found.trained_share < 0.5
    assert found.percentiles[100] >= found.percentiles[50] > 0
    text = " ".join(found.sentences())
    assert "3 of 9 rows" in text and "line 5" in text and "gone.png" in text


def test_ten_thousand_duplicates_are_one_example(tmp_path: Path, tiny_model: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", [asked("What?", "A circle.")] * 10_000)
    found = report(path, tiny_model)
    assert (len(found.usable), len(found.duplicates), found.rows) == (1, 9999, 10_000)


def test_a_row_too_long_is_left_out_whole(tmp_path: Path, tiny_model: Path) -> None:
    saved(tmp_path / "a.png", 500, 500)
    path = write_log(tmp_path / "log.jsonl", [asked("What?", "A circle.", "a.png")])
    size = report(path, tiny_model).usable[0].longest
    assert len(report(path, tiny_model, size).usable) == 1
    assert not report(path, tiny_model, size - 1).usable


def test_preview_marks_what_is_trained_on(tmp_path: Path, tiny_model: Path) -> None:
    rows = [{"prompt": "What?", "chosen": "Red.", "rejected": "Blue."}]
    found = report(write_log(tmp_path / "log.jsonl", rows), tiny_model)
    chosen, rejected = preview(found.examples[0], Renderer(tiny_model))
    assert [s.text for s in chosen if s.trained] == [" Red.<end_of_utterance>"]
    assert [s.text for s in rejected if s.trained] == [" Blue.<end_of_utterance>"]
    assert "".join(s.text for s in chosen).startswith("<|im_start|>User: What?")


def example(group: str, number: int) -> Example:
    said = (Message("user", (TextPart(f"{number}"),)), Message("assistant", (TextPart("x"),)))
    return Example("sft", said, Source("f", number), group, (1,))


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60),
    st.floats(0, 0.9),
    st.integers(0, 2**32),
)
def test_split(groups: list[str], share: float, seed: int) -> None:
    examples = [example(group, number) for number, group in enumerate(groups)]
    parts = split(examples, share, seed)
    assert parts == split(examples, share, seed)
    assert sorted((*parts.train, *parts.validation), key=lambda e: e.source.line or 0) == examples
    assert not {e.group for e in parts.train} & {e.group for e in parts.validation}
    assert parts.train
    if len(set(groups)) > 1 and share > 0:
        assert parts.validation
    if share == 0:
        assert not parts.validation


def test_split_takes_about_the_share_and_follows_the_seed() -> None:
    examples = [example(f"g{number // 3}", number) for number in range(300)]
    assert 25 <= len(split(examples, 0.1, 1).validation) <= 35
    assert split(examples, 0.1, 1) != split(examples, 0.1, 2)
