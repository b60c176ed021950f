"""What is exported as JSON or JSONL comes back as it was, pictures inside the file or beside it."""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.chat.conversations import conversations, example
from vlmchat.chat.conversation import Conversation
from vlmchat.chat.formats.reading import read_conversations
from vlmchat.chat.formats.values import ImportReport, sound
from vlmchat.chat.formats.writing import FORMATS, Format, Placing, export_to
from vlmchat.chat.messages import ImagePart, VideoPart
from vlmchat.errors import UsageError
from vlmchat.media.for_formats import videos
from vlmchat.media.images import media_from_bytes
from vlmchat.store.store import Store

WAYS: list[tuple[Format, Placing]] = [
    *(("json", "embed"), ("json", "beside"), ("jsonl", "embed"), ("jsonl", "beside")),
]


def read(path: Path) -> ImportReport:
    """Read a file; videos that are written in it are unpacked beside it."""
    scratch = Path(tempfile.mkdtemp(dir=path.parent))
    return read_conversations(path, media_from_bytes, videos=videos(scratch))


def as_plain(value: Any) -> Any:
    """Return a conversation as plain values, lone surrogates as they are promised to come back."""
    if isinstance(value, ImagePart | VideoPart):
        media = value.media
        shape = (media.mime, media.width, media.height, media.size)
        about = (media.sha256, sound(media.name), *shape)
        if isinstance(value, VideoPart):
            return ("video", *about, value.clip)
        return ("image", *about, value.detail, value.region)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, Mapping):
        return {as_plain(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return value


@pytest.mark.parametrize(("form", "media"), WAYS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(one=conversations(), two=conversations())
def test_nothing_is_lost(
    form: Format, media: Placing, one: Conversation, two: Conversation
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        export_to(path, form, [one, two], media=media)
        report = read(path)
        assert report.problems == () and report.notes == ()
        assert as_plain(list(report.conversations)) == as_plain([one, two])
        for entry in [e for c in report.conversations for e in c.entries]:
            for item in entry.message.media:
                assert hashlib.sha256(item.data).hexdigest() == item.sha256
                if item.mime.startswith("video/"):
                    assert item.file is not None and item.file.read_bytes() == item.data


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(one=conversations())
def test_every_format_takes_every_conversation(one: Conversation) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMATS:
            path = Path(folder) / f"out.{form}"
            try:
                export_to(path, form, [one])
            except UsageError as error:
                assert "nothing to write" in str(error)
            else:
                path.read_text("utf-8")


@pytest.mark.parametrize(("form", "media"), WAYS)
def test_through_the_store_and_back(tmp_path: Path, form: Format, media: Placing) -> None:
    export_to(tmp_path / "out", form, [example()], media=media)
    (tmp_path / "one").mkdir()
    with Store(tmp_path / "one") as store:
        (number,) = store.restore(*read(tmp_path / "out").conversations)
        again = store.conversation(number)
    first = as_plain(example())
    second = as_plain(again)
    for entry in (*first["entries"], *second["entries"]):
        entry["created"] = entry["created"] or 0
    for old, new in zip(first["entries"], second["entries"], strict=True):
        new["created"] = old["created"] or new["created"] * 0
    second["updated"] = first["updated"]
    assert second == first


def test_our_jsonl_is_the_chat_format_of_the_course(tmp_path: Path) -> None:
    export_to(tmp_path / "x.jsonl", "jsonl", [example()])
    (row,) = map(json.loads, (tmp_path / "x.jsonl").read_text("utf-8").splitlines())
    assert [message["role"] for message in row["messages"]] == [
        *("system", "user", "assistant", "user", "assistant"),
    ]
    image, text = row["messages"][1]["content"]
    assert image["type"] == "image" and (tmp_path / image["path"]).is_file()
    assert image["path"].startswith("x_media/") and image["path"].endswith(".png")
    assert text == {"type": "text", "text": "What is <b>it</b>?"}
    # Without what is ours it is a conversation of the course, and is read as one.
    del row["vlmchat"]
    (tmp_path / "course.jsonl").write_text(json.dumps(row), "utf-8")
    (course,) = read(tmp_path / "course.jsonl").conversations
    assert course.system == "Be brief."
    assert [e.message for e in course.entries] == [e.message for e in example().path()]


def test_lines_stay_lines_for_every_program(tmp_path: Path) -> None:
    export_to(tmp_path / "x.jsonl", "jsonl", [example(title="a\u2028b\u2029c\x85d\ne")])
    text = (tmp_path / "x.jsonl").read_text("utf-8")
    assert len(text.splitlines()) == 1
    assert read(tmp_path / "x.jsonl").conversations[0].title == "a\u2028b\u2029c\x85d\ne"


def test_the_file_and_its_pictures_may_be_moved(tmp_path: Path) -> None:
    export_to(tmp_path / "x.jsonl", "jsonl", [example()])
    (tmp_path / "elsewhere").mkdir()
    for name in ("x.jsonl", "x_media"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    report = read(tmp_path / "elsewhere" / "x.jsonl")
    assert not report.problems and report.conversations[0].entries[0].message.media[0].data
