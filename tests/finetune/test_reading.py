"""Any log file becomes examples, and every row of it is accounted for."""

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.finetune.logs import asked, read, write_log
from tests.fresh_process import modules_after_importing
from tests.media.video.making import film, needs_encoder
from tests.pictures import encoded, saved
from vlmchat.chat.conversation import Conversation, Entry, Label, LabelKind, Provenance
from vlmchat.chat.formats.writing import Format, export_to
from vlmchat.chat.messages import ImagePart, Message, TextPart, VideoPart, user_message
from vlmchat.finetune.examples import Example
from vlmchat.finetune.job import BaseModelRef, JobSpec, create
from vlmchat.finetune.reading import ExampleReader, ReadOptions
from vlmchat.finetune.settings import RunSettings
from vlmchat.media.frames import frames_of
from vlmchat.media.images import media_from_bytes
from vlmchat.store.store import Store

USER = {"role": "user", "content": "What is 2 + 2?"}
FOUR = {"role": "assistant", "content": "4"}
FIVE = {"role": "assistant", "content": "5"}


def one(path: Path) -> Example:
    examples, dropped = read(path)
    assert not dropped, dropped
    (example,) = examples
    return example


@pytest.mark.parametrize(
    ("row", "form"),
    [
        (asked("What?", "A circle.", "a.png"), "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image"}, "What?"]},
                    {"role": "assistant", "content": "A circle."},
                ],
                "images": ["a.png"],
            },
            "messages",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "a.png"}},
                            {"type": "text", "text": "What?"},
                        ],
                    },
                    {"role": "assistant", "content": "A circle."},
                ]
            },
            "messages",
        ),
        (
            {
                "id": "1",
                "image": "a.png",
                "conversations": [
                    {"from": "human", "value": "<image>\nWhat?"},
                    {"from": "gpt", "value": "A circle."},
                ],
            },
            "sharegpt",
        ),
        ({"prompt": "What?", "completion": "A circle.", "images": ["a.png"]}, "prompt-completion"),
    ],
)
def test_each_format_of_answers_is_known_by_its_content(
    tmp_path: Path, row: dict[str, Any], form: str
) -> None:
    saved(tmp_path / "a.png")
    example = one(write_log(tmp_path / "log.jsonl", [row]))
    assert (example.kind, example.source.form, example.source.line) == ("sft", form, 1)
    picture, text = example.messages[0].parts
    assert isinstance(picture, ImagePart) and text == TextPart("What?")
    assert example.messages[1].text == "A circle."
    assert example.trained == (1,)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [FOUR], "rejected": [FIVE]},
        {"prompt": "What is 2 + 2?", "chosen": "4", "rejected": "5"},
        {"chosen": [USER, FOUR], "rejected": [USER, FIVE]},
        {"messages": [USER], "chosen": FOUR, "rejected": FIVE},
        {
            "conversations": [{"from": "human", "value": "What is 2 + 2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
    ],
)
def test_preferences(tmp_path: Path, row: dict[str, Any]) -> None:
    example = one(write_log(tmp_path / "log.jsonl", [row]))
    assert example.kind == "preference"
    assert [m.text for m in example.messages] == ["What is 2 + 2?"]
    assert [m.text for m in example.chosen] == ["4"]
    assert [m.text for m in example.rejected] == ["5"]
    assert [trained for _, trained in example.branches()] == [(1,), (1,)]


@pytest.mark.parametrize("label", [True, False, 1, 0])
def test_kto_rows(tmp_path: Path, label: Any) -> None:
    rows = [
        {"prompt": [USER], "completion": [FOUR], "label": label},
        {"messages": [USER, FOUR], "label": label},
    ]
    examples, dropped = read(write_log(tmp_path / "log.jsonl", rows))
    assert not dropped
    assert [(e.kind, e.label, e.completion[0].text) for e in examples] == [
        ("kto", bool(label), "4")
    ] * 2
    assert examples[0].digest == examples[1].digest


def test_turns_marked_by_openai_as_weightless_are_not_trained_on(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be short."},
        USER,
        {**FIVE, "weight": 0},
        {"role": "user", "content": "Sure?"},
        {**FOUR, "weight": 1},
    ]
    example = one(write_log(tmp_path / "log.jsonl", [{"messages": turns}]))
    assert example.messages[0].role == "system"
    assert example.trained == (4,)


def rated() -> Conversation:
    """A picture, a bad answer, a good one that is better, and a correction of the bad one."""
    picture = media_from_bytes(encoded(), "p.png")
    made = Provenance(system="Be exact.")

    def answer(uid: str, text: str, *labels: Label, author: str = "model") -> Entry:
        provenance = made if author == "model" else None
        message = Message("assistant", (TextPart(text),))
        return Entry(uid, "q", message, author, "complete", 1.0, provenance, labels)  # type: ignore[arg-type]

    return Conversation(
        "conversation-1",
        "Stars",
        tip="fix",
        entries=(
            Entry("q", None, user_message("How many?", [picture]), "person"),
            answer("bad", "Two.", Label("bad")),
            answer("good", "Three.", Label("good"), Label("better", "bad")),
            answer("fix", "Three stars.", Label("correction", "bad"), author="person"),
        ),
    )


def summary(examples: list[Example]) -> list[tuple[object, ...]]:
    return sorted(
        (
            e.kind,
            tuple(m.text for m in e.all_messages[2:]),
            e.label,
        )
        for e in examples
    )


RATED = [
    ("kto", ("Three stars.",), True),
    ("kto", ("Three.",), True),
    ("kto", ("Two.",), False),
    ("preference", ("Three stars.", "Two."), None),
    ("preference", ("Three.", "Two."), None),
    ("sft", ("Three stars.",), None),
    ("sft", ("Three.",), None),
]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_what_was_thought_of_replies_teaches(tmp_path: Path, form: Format) -> None:
    path = tmp_path / f"export.{form}"
    export_to(path, form, [rated()])
    examples, dropped = read(path)
    assert not dropped
    assert summary(examples) == RATED
    assert {e.group for e in examples} == {"conversation-1"}
    assert all(e.messages[0].text == "Be exact." for e in examples)
    assert all(len(e.media) == 1 for e in examples)


def test_training_exports_teach_the_same(tmp_path: Path) -> None:
    found: list[Example] = []
    for form in ("sft", "kto", "preference"):
        export_to(tmp_path / f"{form}.jsonl", form, [rated()])
        examples, dropped = read(tmp_path / f"{form}.jsonl")
        assert not dropped
        found += examples
    assert summary(found) == RATED
    assert {e.group for e in found} == {"conversation-1"}


def test_only_the_rated_reply_of_a_training_export_is_learned(tmp_path: Path) -> None:
    def answer(uid: str, parent: str, text: str, kind: LabelKind) -> Entry:
        said = Message("assistant", (TextPart(text),))
        return Entry(uid, parent, said, "model", labels=(Label(kind),))

    entries = (
        Entry("q", None, user_message("Hi"), "person"),
        answer("a", "q", "Go away.", "bad"),
        Entry("r", "a", user_message("Sorry?"), "person"),
        answer("b", "r", "Hello.", "good"),
    )
    export_to(tmp_path / "x.jsonl", "sft", [Conversation("c", entries=entries, tip="b")])
    example = one(tmp_path / "x.jsonl")
    assert len(example.messages) == 4 and example.trained == (3,)


def test_the_database_is_read(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.restore(rated())
    examples, dropped = read(tmp_path / "chats.sqlite3")
    assert not dropped
    assert summary(examples) == RATED


def test_unrated_replies_teach_only_when_asked(tmp_path: Path) -> None:
    entries = (
        Entry("q", None, user_message("Hi"), "person"),
        Entry("a", "q", Message("assistant", (TextPart("Hello."),)), "model"),
    )
    plain = Conversation("c", entries=entries, tip="a")
    with ExampleReader() as reader:
        (dropped,) = reader.conversations([plain])
    assert "rated" in str(dropped)
    with ExampleReader(ReadOptions(unrated=True)) as reader:
        (example,) = reader.conversations([plain])
    assert isinstance(example, Example) and example.kind == "sft"


BAD_ROWS: list[tuple[Any, str]] = [
    ({"messages": [USER]}, "no assistant turn"),
    ({"messages": [USER, FOUR, USER]}, "nobody answers"),
    ({"messages": [FOUR, USER, FOUR]}, "before anything is asked"),
    ({"messages": [USER, USER, FOUR]}, "Message 2 is out of order"),
    ({"messages": [USER, FOUR, {"role": "system", "content": "x"}, FOUR]}, "system message"),
    ({"messages": [USER, {"role": "assistant", "content": " "}]}, "empty"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}, FOUR]}, "neither a path"),
    ({"messages": [{"role": "user", "content": "<image> What?"}, FOUR]}, "names no picture"),
    ({"messages": [{"role": "narrator", "content": "x"}]}, "role"),
    ({"messages": []}, "no message"),
    ({"prompt": "a", "chosen": "b", "rejected": "b"}, "same"),
    ({"prompt": "a", "chosen": "b"}, "rejected"),
    ({"prompt": "a", "completion": "b", "label": "maybe"}, "true or false"),
    ({"text": "only"}, "what is read is"),
    ([1], "not an object"),
    (asked("What?", "x", "gone.png"), "does not exist"),
    (asked("What?", "x", "text.png"), "not a picture"),
    (asked("What?", "x", "cut.png"), "damaged or cut off"),
]


@pytest.mark.parametrize(("row", "why"), BAD_ROWS)
def test_a_bad_row_is_told_with_its_line_and_reason(tmp_path: Path, row: Any, why: str) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(encoded(width=640, height=480)[:400])
    path = write_log(tmp_path / "log.jsonl", [{"messages": [USER, FOUR]}, row])
    examples, (dropped,) = read(path)
    assert len(examples) == 1
    assert (dropped.line, dropped.file) == (2, str(path))
    assert why in dropped.reason


def test_files_that_are_no_logs(tmp_path: Path) -> None:
    cases = {
        "empty.jsonl": (b"", "empty"),
        "blank.jsonl": (b"\xef\xbb\xbf \r\n\r\n", "empty"),
        "prose.txt": (b"Dear diary,\n", "not JSON"),
        "picture.jsonl": (encoded(), "UTF-8"),
        "zip.jsonl": (b"PK\x03\x04....", "archive"),
        "other.sqlite3": (b"SQLite format 3\0" + bytes(100), "database"),
    }
    for name, (data, why) in cases.items():
        (tmp_path / name).write_bytes(data)
        examples, dropped = read(tmp_path / name)
        assert not examples and why in dropped[0].reason, name
    assert "does not exist" in read(tmp_path / "none.jsonl")[1][0].reason
    assert "folder" in read(tmp_path)[1][0].reason


def test_a_windows_file_with_bom_and_crlf(tmp_path: Path) -> None:
    text = "\r\n".join(json.dumps({"messages": [USER, FOUR]}) for _ in range(3)) + "\r\n"
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    examples, dropped = read(path)
    assert [e.source.line for e in examples] == [1, 2, 3] and not dropped


def test_lists_are_read_item_by_item(tmp_path: Path) -> None:
    rows = [{"messages": [USER, {"role": "assistant", "content": "4" * 1000}]}] * 2500
    path = tmp_path / "log.json"
    path.write_text(json.dumps(rows, indent=1))
    examples, dropped = read(path)
    assert len(examples) == 2500 and not dropped
    assert [e.source.item for e in examples[:3]] == [1, 2, 3]
    path.write_text(json.dumps(rows[:3])[:-1])
    examples, (dropped_one,) = read(path)
    assert len(examples) == 3 and "cut off" in dropped_one.reason
    path.write_text(json.dumps([rows[0], {"a": 1}]).replace('{"a": 1}', '{"a": }'))
    examples, (dropped_one,) = read(path)
    assert len(examples) == 1 and "not JSON" in dropped_one.reason


def test_a_list_of_messages_and_one_object_over_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps([USER, FOUR]))
    assert one(path).trained == (1,)
    path.write_text(json.dumps({"messages": [USER, FOUR]}, indent=2))
    assert one(path).trained == (1,)


def test_a_damaged_object_over_many_lines_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"messages": [USER, FOUR]}, indent=2)[:-20])
    examples, (dropped,) = read(path)
    assert not examples and "not JSON" in dropped.reason


def test_one_bad_line_at_the_beginning_or_the_end(tmp_path: Path) -> None:
    good = json.dumps({"messages": [USER, FOUR]})
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"messages": [\n{good}\n{good}\n{{"messages": [{{"ro')
    examples, dropped = read(path)
    assert [e.source.line for e in examples] == [2, 3]
    assert [d.line for d in dropped] == [1, 4]


def test_files_outside_the_logs_folder_are_asked_about_before_they_are_read(
    tmp_path: Path,
) -> None:
    outside = saved(tmp_path / "secret.png")
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "link.png").symlink_to(outside)
    references = [str(outside), "../secret.png", outside.as_uri(), "link.png"]
    path = write_log(folder / "log.jsonl", [asked("What?", "x", one) for one in references])
    examples, dropped = read(path)
    assert not examples
    assert [(d.why, d.path) for d in dropped] == [("outside", outside.resolve())] * 4
    seen: list[Path] = []

    def allow(path: Path) -> bool:
        seen.append(path)
        return True

    examples, dropped = read(path, ReadOptions(outside=allow))
    assert len(examples) == 4 and not dropped
    assert seen == [outside.resolve()]


def test_groups_keep_copies_of_one_conversation_together(tmp_path: Path) -> None:
    longer = [USER, FOUR, {"role": "user", "content": "Sure?"}, FOUR]
    rows = [{"messages": [USER, FOUR]}, {"messages": longer}, {"messages": [USER, FIVE]}]
    examples, _ = read(write_log(tmp_path / "log.jsonl", [*rows, asked("Other?", "Yes.")]))
    assert len({e.group for e in examples}) == 2


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video", "path": "v.mp4"},
        {"type": "video", "path": "v.mp4", "times": [0.5, 1.0], "duration": 3.0},
        {"type": "video_url", "video_url": {"url": "v.mp4"}},
    ],
)
def test_videos_are_read_and_prepared(tmp_path: Path, part: dict[str, Any]) -> None:
    needs_encoder("libx264")
    row = {"messages": [{"role": "user", "content": [part, "What moves?"]}, FOUR]}
    path = write_log(tmp_path / "log.jsonl", [row, row])
    dropped = read(path)[1]
    assert [(d.why, d.path) for d in dropped] == [("missing", tmp_path.resolve() / "v.mp4")] * 2
    film(tmp_path / "v.mp4")
    examples, none = read(path)
    assert not none
    video = examples[0].messages[0].parts[0]
    assert isinstance(video, VideoPart)
    assert video.clip.times == (0.5, 1.0) or "times" not in part
    base = BaseModelRef("m", "r", "")
    job = create(JobSpec("films", base, RunSettings()), examples[:1], folder=tmp_path)
    (again,) = job.examples("train")
    assert again == examples[0]
    held = again.messages[0].parts[0]
    assert isinstance(held, VideoPart)
    assert len(frames_of(held)) == len(video.clip.times)


def test_a_video_outside_the_logs_folder_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x")
    (tmp_path / "log").mkdir()
    part = {"type": "video", "path": "../v.mp4"}
    row = {"messages": [{"role": "user", "content": [part]}, FOUR]}
    (dropped,) = read(write_log(tmp_path / "log" / "log.jsonl", [row]))[1]
    assert (dropped.why, dropped.path) == ("outside", (tmp_path / "v.mp4").resolve())


def test_a_large_file_is_read_row_by_row(tmp_path: Path) -> None:
    good = json.dumps({"messages": [USER, {"role": "assistant", "content": "4" * 20_000}]}) + "\n"
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        file.writelines(good for _ in range(2000))
        file.write('{"messages": ')
    with ExampleReader() as reader:
        tracemalloc.start()
        kinds = Counter(type(item).__name__ for item in reader.read(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kinds == {"Example": 2000, "Dropped": 1}
    assert path.stat().st_size > 40_000_000 > 10 * peak


def test_the_room_is_light() -> None:
    heavy = {"torch", "transformers", "textual", "rich", "peft", "bitsandbytes"}
    assert not heavy & modules_after_importing("vlmchat.finetune")
