"""Other programs' files as their documentation has them, and files that are broken."""

import base64
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.chat.conversations import example
from tests.pictures import encoded, saved
from vlmchat.chat.conversation import Conversation
from vlmchat.chat.formats.reading import read_conversations
from vlmchat.chat.formats.values import ImportReport, Limits
from vlmchat.chat.formats.writing import export_to, format_named
from vlmchat.media.images import media_from_bytes

PNG = encoded()
URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def read(path: Path, **limits: int) -> ImportReport:
    return read_conversations(path, media_from_bytes, Limits(**limits))


def given(tmp_path: Path, value: object, name: str = "in.txt") -> Path:
    """Write a value as JSON; a list of rows in a tuple as JSONL."""
    rows = value if isinstance(value, tuple) else (value,)
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def good(tmp_path: Path, value: object) -> Conversation:
    report = read(given(tmp_path, value))
    assert report.problems == ()
    (conversation,) = report.conversations
    return conversation


def shape(conversation: Conversation) -> list[tuple[str, list[str]]]:
    """Return the path as roles and parts; a picture is its name and size."""
    return [
        (
            entry.message.role,
            [
                part.text
                if hasattr(part, "text")
                else f"<{part.media.name} {part.media.width}×{part.media.height}>"
                for part in entry.message.parts
            ],
        )
        for entry in conversation.path()
    ]


def bad(tmp_path: Path, value: object) -> str:
    report = read(given(tmp_path, value))
    assert report.conversations == ()
    (problem,) = report.problems
    assert str(problem).startswith(str(tmp_path)) and str(problem).endswith(".")
    return str(problem)


def message(role: str, content: object) -> dict[str, Any]:
    return {"role": role, "content": content}


# Formats ---------------------------------------------------------------------------------------


def test_openai_messages(tmp_path: Path) -> None:
    saved(tmp_path / "a b.png", 20, 10)
    parts = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": (tmp_path / "a b.png").as_uri()}},
        {"type": "image_url", "image_url": {"url": "a b.png"}},
    ]
    rows = [message("developer", "Brief."), message("user", parts), message("assistant", "It.")]
    found = good(tmp_path, {"messages": rows, "created": 1_700_000_000})
    assert found.system == "Brief." and found.created == 1_700_000_000 and found.title == "What?"
    question = [
        *("What?", "<picture.png 64×48>", "<a b.png 20×10>", "<a b.png 20×10>"),
    ]
    assert shape(found) == [("user", question), ("assistant", ["It."])]
    assert [getattr(part, "detail", "") for part in found.entries[0].message.parts] == [
        *("", "low", "auto", "auto"),
    ]
    assert [entry.author for entry in found.entries] == ["person", "model"]
    assert shape(good(tmp_path, rows)) == shape(found)  # the bare list of messages


def test_course_and_trl_messages(tmp_path: Path) -> None:
    saved(tmp_path / "p.png")
    typed = [{"type": "image"}, {"type": "text", "text": "What?"}, {"type": "image"}]
    rows = [message("user", typed), message("assistant", [{"type": "text", "text": "It."}])]
    found = good(tmp_path, {"messages": rows, "images": ["p.png", {"path": "p.png"}]})
    assert shape(found)[0] == ("user", ["<p.png 64×48>", "What?", "<p.png 64×48>"])
    bare = [message("user", "What?"), message("assistant", "It.")]
    found = good(tmp_path, {"messages": bare, "images": ["p.png"]})
    assert shape(found)[0] == ("user", ["<p.png 64×48>", "What?"])
    assert "has 2 pictures" in bad(
        tmp_path, {"messages": [message("user", typed[:1])], "images": ["p.png"] * 2}
    )
    course = [message("user", [{"type": "image", "path": "p.png"}, {"type": "text", "text": "?"}])]
    assert shape(good(tmp_path, {"messages": course})) == [("user", ["<p.png 64×48>", "?"])]


def test_trl_preferences_and_ratings(tmp_path: Path) -> None:
    saved(tmp_path / "p.png")
    prompt = [message("user", [{"type": "image"}, {"type": "text", "text": "What?"}])]
    row = {"prompt": prompt, "images": ["p.png"]}
    sides = {"chosen": [message("assistant", "A.")], "rejected": [message("assistant", "B.")]}
    found = good(tmp_path, row | sides)
    assert shape(found) == [("user", ["<p.png 64×48>", "What?"]), ("assistant", ["A."])]
    first, second = found.entries[1:]
    assert first.parent == second.parent == found.entries[0].uid
    assert [(x.kind, x.other) for x in first.labels] == [("better", second.uid)]
    found = good(tmp_path, {"prompt": "What?", "completion": "It.", "label": False})
    assert shape(found) == [("user", ["What?"]), ("assistant", ["It."])]
    assert [label.kind for label in found.entries[1].labels] == ["bad"]


def test_our_training_rows_are_read(tmp_path: Path) -> None:
    for form, count in (("sft", 2), ("kto", 3), ("preference", 2)):
        export_to(tmp_path / form, format_named(form), [example()])
        report = read(tmp_path / form)
        assert len(report.conversations) == count and not report.problems
        assert all(item.system == "Be brief." for item in report.conversations)


def test_sharegpt(tmp_path: Path) -> None:
    turns = [("system", "Brief."), ("human", "Hi"), ("gpt", "Hello"), ("user", "?"), ("bot", "!")]
    row = {"id": "x1", "conversations": [{"from": who, "value": what} for who, what in turns]}
    found = good(tmp_path, [row])
    assert found.system == "Brief."
    assert shape(found) == [
        *(("user", ["Hi"]), ("assistant", ["Hello"]), ("user", ["?"]), ("assistant", ["!"])),
    ]
    assert good(tmp_path, row).uid == found.uid  # known when it comes again
    tool = {"conversations": [{"from": "function_call", "value": "x"}]}
    assert "function_call" in bad(tmp_path, tool)


def test_llava(tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    saved(tmp_path / "coco" / "1.jpg")
    turns = [
        {"from": "human", "value": "<image>\nWhat is it?\nSay."},
        {"from": "gpt", "value": "A bus."},
    ]
    rows = [{"id": "1", "image": "coco/1.jpg", "conversations": turns}]
    found = good(tmp_path, rows)
    assert shape(found)[0] == ("user", ["<1.jpg 64×48>", "What is it?\nSay."])
    two = [{"from": "human", "value": "Compare <image> and <image>."}]
    found = good(tmp_path, {"image": ["coco/1.jpg"] * 2, "conversations": two})
    assert shape(found)[0][1] == ["Compare ", "<1.jpg 64×48>", " and ", "<1.jpg 64×48>", "."]
    assert "stands 2 times" in bad(tmp_path, {"image": "coco/1.jpg", "conversations": two})
    assert shape(good(tmp_path, {"conversations": two})) == [("user", [two[0]["value"]])]
    assert "only pictures are read" in bad(tmp_path, {"video": "a.mp4", "conversations": turns})


def node(
    key: str, parent: str | None, role: str = "", content: object = None, **more: Any
) -> dict[str, Any]:
    if isinstance(content, str):
        content = {"content_type": "text", "parts": [content]}
    said = {
        "id": key,
        "author": {"role": role},
        "content": content,
        "status": more.pop("status", ""),
    }
    said = said | {"recipient": "all", "metadata": {}} | more
    return {"id": key, "parent": parent, "children": [], "message": said if role else None}


def chatgpt() -> dict[str, Any]:
    ok = "finished_successfully"
    picture = {
        "content_type": "image_asset_pointer",
        "asset_pointer": "file-service://file-AbC123",
        "width": 64,
    }
    lost = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_999"}
    question = {"content_type": "multimodal_text", "parts": [picture, lost, "What?"]}
    code = {"content_type": "code", "language": "python", "text": "1+1"}
    nodes = [
        node("root", None),
        node("s", "root", "system", ""),
        node("q", "s", "user", question, status=ok, create_time=1_700_000_001.5),
        node("call", "q", "assistant", code, status=ok, recipient="python"),
        node("out", "call", "tool", {"content_type": "execution_output", "text": "2"}, status=ok),
        node("a1", "out", "assistant", "It is 2.", status=ok, metadata={"model_slug": "gpt-4o"}),
        node("a2", "q", "assistant", "Two", status="in_progress"),
        node("h", "a1", "user", "h", metadata={"is_visually_hidden_from_conversation": True}),
        node("end", "h", "assistant", code, status=ok),
    ]
    mapping = {item["id"]: item for item in nodes}
    for item in nodes:
        if item["parent"]:
            mapping[item["parent"]]["children"].append(item["id"])
    return {
        **{"title": "Sums [x]", "create_time": 1_700_000_000.25, "update_time": 1_700_000_009.0},
        **{"mapping": mapping, "current_node": "end", "conversation_id": "cg-1"},
        "is_archived": True,
    }


def check_chatgpt(report: ImportReport) -> None:
    assert report.problems == ()
    (found,) = report.conversations
    assert (found.uid, found.title, found.archived) == ("cg-1", "Sums [x]", True)
    assert (found.created, found.updated, found.tip) == (1_700_000_000.25, 1_700_000_009.0, "end")
    lost = "[a picture that is not in the export: file_999]"
    assert shape(found) == [
        ("user", ["<photo.png 64×48>", lost, "What?"]),
        ("assistant", ["It is 2."]),
        ("assistant", ["```python\n1+1\n```"]),
    ]
    by_uid = {entry.uid: entry for entry in found.entries}
    assert by_uid["a1"].parent == by_uid["a2"].parent == "q" and by_uid["end"].parent == "a1"
    assert by_uid["a2"].state == "stopped" and by_uid["q"].created == 1_700_000_001.5
    made = by_uid["a1"].provenance
    assert made is not None and made.engine == {"model": "gpt-4o"}
    assert len(report.notes) == 2
    assert "3 messages of tools" in report.notes[0] and "1 picture is not" in report.notes[1]


def test_chatgpt_export(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "file-AbC123-photo.png").write_bytes(PNG)
    path = given(tmp_path / "export", [chatgpt()], "conversations.json")
    check_chatgpt(read(path))
    check_chatgpt(read(tmp_path / "export"))
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in (tmp_path / "export").iterdir():
            archive.write(item, f"inner/{item.name}")
    check_chatgpt(read(packed))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mapping": []}, "not an object"),
        ({"conversation_id": None}, "conversation_id"),
        ({"mapping": {"a": node("a", "b", "user", "x"), "b": node("b", "a")}}, "nothing leads to"),
        ({"mapping": {"a": node("a", None) | {"children": ["z"]}}}, "children"),
        ({"mapping": {"a": node("a", None) | {"children": [{}]}}}, "children"),
        ({"mapping": {"a": 5}}, "not an object"),
    ],
)
def test_chatgpt_exports_that_are_broken(tmp_path: Path, change: Any, reason: str) -> None:
    assert reason in bad(tmp_path, [chatgpt() | change])


# Recognising -----------------------------------------------------------------------------------

ROW = {"messages": [message("user", "Hi"), message("assistant", "Hello")]}


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    for name in ("x.json", "x.jsonl", "x", "x.png"):
        for value in (ROW, [ROW], (ROW, ROW)):
            assert not read(given(tmp_path, value, name)).problems


@pytest.mark.parametrize(
    "text", [json.dumps(ROW, indent=2), f"\ufeff\r\n{json.dumps(ROW)}\r\n\r\n"]
)
def test_layout_does_not_matter(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text, "utf-8", newline="")
    report = read(tmp_path / "x")
    assert len(report.conversations) == 1 and not report.problems


def test_problems_have_line_and_reason(tmp_path: Path) -> None:
    lines = [
        json.dumps(ROW),
        '{"messages": [',
        "",
        '{"messages": "no"}',
        '{"other": 1}',
        json.dumps(ROW),
        "5",
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines), "utf-8")
    report = read(tmp_path / "x.jsonl")
    assert len(report.conversations) == 2
    assert [(problem.line, problem.reason.split(":")[0]) for problem in report.problems] == [
        (2, "it is not JSON"),
        (4, "“messages” is not a list."),
        (5, "The row has other; what is read is JSON or JSONL of vlmchat, chat messages "
            "(OpenAI, TRL, SmolVLM course), ShareGPT, LLaVA, or ChatGPT's export."),
        (7, "The row is not an object."),
    ]  # fmt: skip
    first_bad = '{"broken\n' + json.dumps(ROW)
    (tmp_path / "x.jsonl").write_text(first_bad, "utf-8")
    report = read(tmp_path / "x.jsonl")
    assert len(report.conversations) == 1 and report.problems[0].line == 1


def test_problems_in_lists_have_item_and_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps([ROW, {"messages": []}, ROW], indent=1), "utf-8")
    report = read(tmp_path / "x")
    (problem,) = report.problems
    assert (problem.line, problem.reason) == (14, "item 2: There is no message in it.")
    (tmp_path / "x").write_text(f"[{json.dumps(ROW)},\n {json.dumps(ROW)[:-3]}", "utf-8")
    report = read(tmp_path / "x")
    assert len(report.conversations) == 1 and report.problems[0].line == 2
    (tmp_path / "x").write_text(f"[{json.dumps(ROW)}\n", "utf-8")
    assert "cut off" in read(tmp_path / "x").problems[0].reason
    (tmp_path / "x").write_text(f"[{json.dumps(ROW)}] x", "utf-8")
    assert "follows" in read(tmp_path / "x").problems[0].reason


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([{"type": "image", "url": "https://e.org/x.png"}], "nothing is fetched"),
        ([{"type": "image", "path": "none.png"}], "does not exist"),
        ([{"type": "image", "path": "."}], "not a regular file"),
        ([{"type": "image", "path": "in.txt"}], "not a picture"),
        ([{"type": "image", "path": "a\0b"}], "impossible path"),
        ([{"type": "image"}], "neither a path"),
        ([{"type": "image", "image": 5}], "neither by a path"),
        ([{"type": "image", "image": "data:image/png;base64,@@@"}], "base64"),
        ([{"type": "image", "image": "data:oops"}], "malformed"),
        ([{"type": "image", "image": "data:image/png;base64,aGVsbG8="}], "not a picture"),
        ([{"type": "video", "path": "x.mp4"}], "only pictures are read"),
        ([{"type": "audio"}], "audio"),
        ([{"type": "text"}], "no “text”"),
        ([5], "not an object"),
        (None, "“content” is missing"),
    ],
)
def test_parts_that_cannot_be_read(tmp_path: Path, parts: object, reason: str) -> None:
    assert reason in bad(tmp_path, {"messages": [message("user", parts)]})


def test_roles_and_tools_that_are_not_supported(tmp_path: Path) -> None:
    assert "“tool”" in bad(tmp_path, {"messages": [message("tool", "x")]})
    call = message("assistant", None) | {"tool_calls": [{}]}
    assert "calls a tool" in bad(tmp_path, {"messages": [call]})


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    part = {"type": "image", "path": "pipe.png"}
    assert "not a regular file" in bad(tmp_path, {"messages": [message("user", [part])]})


def ours(**change: Any) -> dict[str, Any]:
    entry = {
        **{"uid": "e", "parent": None, "author": "person", "state": "complete", "created": 1},
        **{"role": "user", "parts": [{"type": "text", "text": "x"}]},
    }
    entry |= {key[2:]: value for key, value in change.items() if key.startswith("e_")}
    row = {"uid": "u", "tip": "e", "entries": [entry]}
    row |= {key: value for key, value in change.items() if not key.startswith("e_")}
    return {"format": "vlmchat", "version": 1, "conversations": [row]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uid": ""}, "“uid” is empty"),
        ({"uid": 5}, "“uid” is missing"),
        ({"tip": "none"}, "“tip”"),
        ({"pinned": 3}, "neither true nor false"),
        ({"created": "yesterday"}, "not a number"),
        ({"created": 1e300}, "no time"),
        ({"entries": 5}, "not a list"),
        ({"e_parent": "nobody"}, "before its parent"),
        ({"e_role": "tool"}, "“role”"),
        ({"e_state": "x"}, "“state”"),
        ({"e_parts": [{"type": "image", "media": "0", "name": "", "detail": "auto"}]}, "media"),
        ({"e_labels": [{"kind": "better"}]}, "compares"),
        ({"e_labels": [{"kind": "good", "other": "e"}]}, "compares"),
        ({"e_provenance": {"prompt_tokens": -1}}, "not a count"),
        ({"e_provenance": {"engine": json.loads("[" * 60 + "]" * 60)}}, "not an object"),
        ({"e_provenance": {"engine": {"a": json.loads("[" * 60 + "]" * 60)}}}, "nested"),
    ],
)
def test_our_own_format_is_checked(tmp_path: Path, change: Any, reason: str) -> None:
    assert reason in bad(tmp_path, ours(**change))
    good(tmp_path, ours())


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    assert "newer vlmchat" in bad(tmp_path, ours() | {"version": 2})
    assert "newer vlmchat" in bad(tmp_path, {"messages": [], "vlmchat": {"version": 2}})


def test_a_picture_that_was_exchanged_is_noticed(tmp_path: Path) -> None:
    export_to(tmp_path / "x.json", "json", [example()], media="beside")
    (picture,) = (tmp_path / "x_media").iterdir()
    picture.write_bytes(encoded("PNG", 8, 8))
    assert "was changed" in read(tmp_path / "x.json").problems[0].reason


def test_messages_that_were_edited_by_hand(tmp_path: Path) -> None:
    export_to(tmp_path / "x.jsonl", "jsonl", [example()])
    row = json.loads((tmp_path / "x.jsonl").read_text("utf-8"))
    row["messages"][2]["content"][0]["text"] = "Edited."
    assert shape(good(tmp_path, row))[1] == ("assistant", ["Edited."])
    del row["messages"][3:]
    assert "Message number 3" in bad(tmp_path, row)


# Bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty."),
        (b" \n", "it is empty."),
        (b"hello", "it is not JSON"),
        (b"[]", "no conversation"),
        (b"\x89PNG\r\n\x1a\n\0\0", "it is not UTF-8"),
        (json.dumps(ROW).encode("utf-16"), "it is not"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "it is not UTF-8 text."),
        (b'[{"messages": [{"role": "user", "content": "\xff"}]}]', "it is not UTF-8 text."),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'[{"a":' + b"[" * 900 + b"]" * 900 + b"}]", "The row has a"),
        (b"PK\x03\x04 no archive", "damaged archive"),
    ],
)
def test_bytes_that_are_nothing(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x").write_bytes(data)
    report = read(tmp_path / "x")
    assert report.conversations == () and reason in str(report.problems[0])


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "does not exist" in str(read(tmp_path / "none").problems[0])
    assert "without conversations.json" in str(read(tmp_path).problems[0])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("other.json", "{}")
    assert "without conversations.json" in str(read(tmp_path / "x.zip").problems[0])
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in str(read(tmp_path / "pipe").problems[0])


def test_limits(tmp_path: Path) -> None:
    path = given(tmp_path, ROW)
    assert "the most that is read" in str(read(path, max_bytes=10).problems[0])
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([ROW]) + " " * 1_000_000)
        archive.writestr("b", "")
    assert "unpacked" in str(read(tmp_path / "x.zip", max_bytes=100_000).problems[0])
    assert "more than 1 files" in str(read(tmp_path / "x.zip", max_files=1).problems[0])
    row = {"messages": [message("user", [{"type": "image", "image": URL}])]}
    path = given(tmp_path, row)
    assert "in all" in str(read(path, max_held_bytes=10).problems[0])
    saved(tmp_path / "p.png")
    row = {"messages": [message("user", [{"type": "image", "path": "p.png"}])]}
    assert "the most" in str(read(given(tmp_path, row), max_picture_bytes=10).problems[0])


def test_half_a_surrogate_pair_becomes_the_replacement_character(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(
        '{"messages":[{"role":"user","content":"a\\ud83d b\\ud83d\\ude00"}]}'
    )
    (found,) = read(tmp_path / "x").conversations
    assert found.entries[0].message.text == "a\ufffd b😀"


def test_pictures_on_the_disk_are_read_when_wanted(tmp_path: Path) -> None:
    saved(tmp_path / "p.png")
    row = {"messages": [message("user", [{"type": "image", "path": "p.png"}])]}
    (found,) = read(given(tmp_path, row)).conversations
    (media,) = found.entries[0].message.media
    assert media.data == (tmp_path / "p.png").read_bytes()
    saved(tmp_path / "p.png", 9, 9)
    with pytest.raises(Exception, match=r"was changed|the most that is read"):
        media.read()
