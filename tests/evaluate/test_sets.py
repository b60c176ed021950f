"""Sets of questions: the public files as they are downloaded, our own rows, logs, rated chats."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import saved
from vlmchat import paths
from vlmchat.chat.conversation import Conversation, Entry, Label, LabelKind
from vlmchat.chat.messages import ImagePart, Media, Message, TextPart, user_message
from vlmchat.errors import UsageError
from vlmchat.evaluate.items import Wording
from vlmchat.evaluate.sets.opening import Opening, opened, rated_chats
from vlmchat.evaluate.sets.public import BRIEFLY
from vlmchat.store.store import Store

TEN = [{"answer": text, "answer_id": n} for n, text in enumerate(["net"] * 9 + ["a net"], 1)]


def written(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return saved(path)


def chartqa(folder: Path) -> Path:
    picture(folder / "png" / "41.png")
    rows = [{"imgname": "41.png", "query": "Which year?", "label": "2014"}]
    return written(folder / "test_human.json", rows)


def docvqa(folder: Path) -> Path:
    picture(folder / "documents" / "xn_1.png")
    row = {
        "questionId": 49153,
        "question": "Which year?",
        "image": "documents/xn_1.png",
        "docId": 1,
        "answers": ["2014", "in 2014"],
        "data_split": "val",
    }
    gone = row | {"questionId": 49154, "image": "documents/gone.png"}
    value = {"dataset_name": "docvqa", "dataset_version": "1.0", "data": [row, gone]}
    return written(folder / "val_v1.0.json", value)


def textvqa(folder: Path) -> Path:
    picture(folder / "train_images" / "003a.jpg")
    row = {
        "question": "Which year?",
        "image_id": "003a",
        "question_id": 34602,
        "answers": ["2014"] * 10,
        "set_name": "val",
    }
    value = {"dataset_type": "val", "dataset_version": "0.5.1", "data": [row]}
    return written(folder / "TextVQA_0.5.1_val.json", value)


def vqav2(folder: Path) -> Path:
    picture(folder / "val2014" / "COCO_val2014_000000262148.jpg")
    asked = {"image_id": 262148, "question": "Which year?", "question_id": 262148000}
    questions = {"data_subtype": "val2014", "questions": [asked]}
    answered = {"question_id": 262148000, "answer_type": "other", "answers": TEN}
    written(folder / "v2_mscoco_val2014_annotations.json", {"annotations": [answered]})
    return written(folder / "v2_OpenEnded_mscoco_val2014_questions.json", questions)


def coco(folder: Path) -> Path:
    picture(folder / "val2017" / "000000397133.jpg")
    captions = [{"image_id": 397133, "id": n, "caption": text} for n, text in ((1, "A"), (2, "B"))]
    images = [{"file_name": "000000397133.jpg", "id": 397133}]
    value = {"images": images, "annotations": captions}
    return written(folder / "annotations" / "captions_val2017.json", value)


@pytest.mark.parametrize(
    ("make", "kind", "metric", "answers"),
    [
        (chartqa, "ChartQA", "relaxed", ("2014",)),
        (docvqa, "DocVQA", "anls", ("2014", "in 2014")),
        (textvqa, "TextVQA", "vqa", ("2014",) * 10),
        (vqav2, "VQAv2", "vqa", ("net",) * 9 + ("a net",)),
        (coco, "COCO captions", "cider", ("A", "B")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_public_files_as_downloaded(
    make: Any, kind: str, metric: str, answers: tuple[str, ...], tmp_path: Path
) -> None:
    path = make(tmp_path)
    with opened(path) as found:
        assert (found.kind, found.metric) == (kind, metric)
        [item] = found.items
        assert item.answers == answers
        [message] = item.asked(Wording(found.suffix))
        [part] = message.attachments
        assert isinstance(part, ImagePart) and part.size == (64, 48)
        if kind != "COCO captions":
            assert message.text == f"Which year?{BRIEFLY}"
        assert len(found.notes) == (kind == "DocVQA")  # one picture is missing
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="--pictures"):
        _items(path, Opening(tmp_path / "empty"))


def _items(path: Path, how: Opening | None = None) -> list[Any]:
    with opened(path, how) as found:
        return list(found.items)


def test_the_annotations_of_vqav2_alone_and_a_file_like_it(tmp_path: Path) -> None:
    questions = vqav2(tmp_path)
    annotations = tmp_path / "v2_mscoco_val2014_annotations.json"
    assert [item.id for item in _items(annotations)] == ["262148000"]
    annotations.unlink()
    with pytest.raises(UsageError, match="beside it"):
        _items(questions)
    written(tmp_path / "test_human.json", [{"imgname": "x.png", "query": "No label?"}])
    with pytest.raises(UsageError, match="looks like ChartQA"):
        _items(tmp_path / "test_human.json")


def rows(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), "utf-8")
    return path


def test_rows_of_our_own(tmp_path: Path) -> None:
    saved(tmp_path / "a.png")
    (tmp_path / "sets").mkdir()
    path = rows(
        tmp_path / "sets" / "own.jsonl",
        {"question": "How many?", "answer": 3, "id": "x", "category": "count"},
        {"question": "Which?", "answers": ["a", "b"], "images": ["../a.png"]},
        {"question": "Which?", "answer": "a", "image": "gone.png"},
        {"question": "", "answer": "a"},
        {"question": "No answer?", "answers": []},
        {"question": "Again?", "answer": "y", "id": "x"},
    )
    with opened(path) as found:
        assert [(item.id, item.answers) for item in found.items] == [
            ("x", ("3",)),
            ("x (2)", ("y",)),
        ]
        assert (found.metric, found.suffix) == ("exact", "")
        assert "4 rows are left out; line 2" in found.notes[0]
        assert "outside the set's folder" in found.notes[0]
    with opened(path, Opening(allowed=lambda _: True)) as found:
        assert [item.id for item in found.items] == ["x", "2", "x (2)"]
        assert found.items[1].names == ("a.png",)
    with pytest.raises(UsageError, match="--pictures is for the public benchmarks"):
        _items(path, Opening(pictures=tmp_path))


def test_options_are_listed_and_a_letter_is_asked_for(tmp_path: Path) -> None:
    row = {"question": "Which?", "answer": "B", "options": ["red", "blue"]}
    with opened(rows(tmp_path / "own.jsonl", row)) as found:
        [item] = found.items
        assert found.metric == "choice"
        assert item.text(Wording(found.suffix)) == (
            "Which?\n(A) red\n(B) blue\n"
            "Answer with the option's letter from the given choices directly."
        )


def log(path: Path) -> Path:
    """Write a log in two formats, with one question answered in two ways."""
    saved(path.parent / "a.png")
    content = [{"type": "image", "path": "a.png"}, {"type": "text", "text": "What is it?"}]

    def turns(answer: str) -> dict[str, Any]:
        said = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        return {"messages": said}

    chosen = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    bad = {"prompt": "When?", "completion": "Never.", "label": False}
    return rows(path, turns("A dog."), turns("A hound."), chosen, bad)


def test_logs_that_fine_tuning_reads(tmp_path: Path) -> None:
    with opened(log(tmp_path / "log.jsonl")) as found:
        dog, why = found.items
        assert (dog.question, dog.answers) == ("What is it?", ("A dog.", "A hound."))
        assert (why.question, why.answers) == ("Why?", ("Because.",))
        wording = Wording("\nBriefly.", "Be kind.", "low")
        system, question = dog.asked(wording)
        assert system.text == "Be kind." and question.text == "What is it?\nBriefly."
        [part] = question.attachments
        assert isinstance(part, ImagePart) and part.detail == "low"


def test_what_the_person_rated_good(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no question with a right answer"), rated_chats():
        pass
    picture = Media.held(saved(tmp_path / "a.png").read_bytes(), "a.png", "image/png", 64, 48)
    asked = user_message("What is it?", [picture])
    entries = [Entry("q", None, asked, "person")]
    rated: tuple[tuple[LabelKind, str], ...] = (("good", "A dog."), ("bad", "A cat."))
    for kind, text in rated:
        said = Message("assistant", (TextPart(text),))
        entries.append(Entry(kind, "q", said, "model", labels=(Label(kind),)))
    with Store(paths.data_dir()) as store:
        list(store.restore(Conversation("c", entries=tuple(entries))))
    with rated_chats() as found:
        [item] = found.items
        assert (item.question, item.answers) == ("What is it?", ("A dog.",))
        assert item.group == picture.sha256


def test_questions_are_drawn_by_a_seed(tmp_path: Path) -> None:
    many = [{"question": f"{n}?", "answer": str(n)} for n in range(100)]
    with opened(rows(tmp_path / "own.jsonl", *many)) as found:
        first, again, other = (found.drawn(10, seed) for seed in (1, 1, 2))
    assert first.items == again.items != other.items
    places = [int(item.answers[0]) for item in first.items]
    assert len(places) == 10 and places == sorted(places)
    assert "seed 1" in first.notes[0]
