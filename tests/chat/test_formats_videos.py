"""Videos in files of conversations: read from where they lie, written beside, shown to people."""

import base64
import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chat.conversations import RED, said
from tests.films import SECONDS, film_file, video
from vlmchat.chat.conversation import Conversation, Entry, Label
from vlmchat.chat.formats import writing
from vlmchat.chat.formats.plain import plain_lines
from vlmchat.chat.formats.reading import read_conversations
from vlmchat.chat.formats.values import ImportReport, Limits
from vlmchat.chat.formats.writing import Format, export_to
from vlmchat.chat.messages import (
    Clip,
    ImagePart,
    Media,
    Message,
    Region,
    TextPart,
    VideoPart,
)
from vlmchat.errors import MediaError, UsageError
from vlmchat.media.for_formats import videos, views
from vlmchat.media.frames import frames_of
from vlmchat.media.images import media_from_bytes
from vlmchat.store.imports import import_from
from vlmchat.store.store import Store

FILM = film_file().read_bytes()
URL = f"data:video/mp4;base64,{base64.b64encode(FILM).decode()}"
CUT = ImagePart(RED, region=Region(1, 2, 31, 22))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a film in it."""
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a b.mp4").write_bytes(FILM)
    return tmp_path


def read(path: Path, most: int = 256, **limits: int) -> ImportReport:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    reading = replace(videos(scratch), max_frames=most)
    return read_conversations(path, media_from_bytes, Limits(**limits), reading)


def asked(folder: Path, *parts: object, **more: object) -> ImportReport:
    """Read a row in which a person says `parts`."""
    row = {"messages": [{"role": "user", "content": [*parts, "What?"]}]} | more
    (folder / "in.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    return read(folder / "in.jsonl")


def one(report: ImportReport) -> VideoPart:
    assert report.problems == ()
    (conversation,) = report.conversations
    (part,) = conversation.entries[0].message.attachments
    assert isinstance(part, VideoPart)
    return part


@pytest.mark.parametrize(
    "row",
    [
        {"type": "video", "path": "films/a b.mp4"},
        {"type": "video", "video": "films/a b.mp4"},
        {"type": "video", "video": {"path": "films/a b.mp4"}},
        {"type": "video_url", "video_url": {"url": "films/a b.mp4"}},
        {"type": "video_url", "video_url": "films/a b.mp4"},
    ],
)
def test_a_video_is_opened_where_it_lies(folder: Path, row: dict[str, Any]) -> None:
    part = one(asked(folder, row))
    assert part == replace(video(), media=replace(video().media, name="a b.mp4"))
    assert part.media.file == folder / "films" / "a b.mp4"
    assert list((folder / "scratch").rglob("*.*")) == []
    named = one(asked(folder, row | {"name": "x\n.mp4", "times": [0, 1.5], "duration": 2}))
    assert named.media.name == "x\n.mp4" and named.clip == Clip((0.0, 1.5), 2.0)
    assert one(asked(folder, row | {"times": [0.2]})).clip == Clip((0.2,), SECONDS)


def test_a_file_url_and_a_list_beside_the_messages(folder: Path) -> None:
    place = (folder / "films" / "a b.mp4").as_uri()
    assert one(asked(folder, {"type": "video", "url": place})).media.sha256 == video().media.sha256
    assert one(asked(folder, {"type": "video"}, videos=["films/a b.mp4"])).clip == video().clip
    assert one(asked(folder, videos=["films/a b.mp4"])).clip == video().clip
    report = asked(folder, {"type": "video"}, videos=["films/a b.mp4"] * 2)
    assert "“videos” has 2 videos, and the messages have a place for 1" in str(report.problems[0])


def test_marks_of_pictures_and_videos(folder: Path) -> None:
    (folder / "red.png").write_bytes(RED.data)
    turns = [{"from": "human", "value": "<video>\nIs <image> in it? <video>"}]
    row = {"conversations": turns, "image": "red.png", "videos": ["films/a b.mp4"] * 2}
    (folder / "x.json").write_text(json.dumps(row), "utf-8")
    (found,) = read(folder / "x.json").conversations
    kinds = [type(part).__name__ for part in found.entries[0].message.parts]
    assert kinds == ["VideoPart", "TextPart", "ImagePart", "TextPart", "VideoPart"]
    (folder / "x.json").write_text(json.dumps(row | {"videos": ["films/a b.mp4"]}), "utf-8")
    assert "1 videos, and <video> stands 2 times" in str(read(folder / "x.json").problems[0])


def test_a_video_written_as_text_is_unpacked(folder: Path) -> None:
    part = one(asked(folder, {"type": "video", "video": URL}, {"type": "text", "text": "x"}))
    assert part.media.file is not None and part.media.file.is_relative_to(folder / "scratch")
    assert part.media.file.read_bytes() == FILM and part.clip == video().clip


def test_a_video_in_an_archive_is_unpacked_and_stored(folder: Path) -> None:
    part = {"type": "video", "path": "in/a.mp4"}
    row = {"messages": [{"role": "user", "content": [part, "What?"]}]}
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([row, row]))
        archive.writestr("in/a.mp4", FILM)
    (folder / "data").mkdir()
    with Store(folder / "data") as store:
        done = import_from([folder / "x.zip"], store, again=True)
        (found,) = store.path(done.threads[0])[0].message.attachments
        assert isinstance(found, VideoPart) and found.clip == video().clip
        assert found.media.file == store.media_path(video().media.sha256)
        assert found.media.name == "a.mp4" and found.media.data == FILM
        assert len(frames_of(found)) == len(found.clip.times)
    report = read(folder / "x.zip", max_unpacked_bytes=len(FILM) - 1)
    assert "unpacked" in str(report.problems[0]) and len(report.problems) == 2
    assert not any(path.is_file() for path in (folder / "scratch").rglob("*"))


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"video": "https://example.org/a.mp4"}, "nothing is fetched"),
        ({"path": "none.mp4"}, "does not exist"),
        ({"path": "films"}, "not a regular file"),
        ({"path": "in.jsonl"}, "in.jsonl"),
        ({"path": "red.png"}, "is a picture and no video"),
        ({"path": "cut.mp4"}, "cut.mp4"),
        ({"path": "a\0b"}, "A video has an empty or impossible path"),
        ({}, "“videos” has none for it"),
        ({"video": ["1.jpg", "2.jpg"]}, "a list of pictures"),
        ({"video": 5}, "neither by a path nor by a URL"),
        ({"video": "data:video/mp4;base64,@@@"}, "A video's base64 text is damaged"),
        ({"video": "data:oops"}, "A video's data: URL is malformed"),
        ({"path": "films/a b.mp4", "times": []}, "named by their times"),
        ({"path": "films/a b.mp4", "times": [2, 1]}, "named by their times"),
        ({"path": "films/a b.mp4", "times": [-1]}, "named by their times"),
        ({"path": "films/a b.mp4", "times": ["0"]}, "“times” is not a number"),
        ({"path": "films/a b.mp4", "times": 3}, "“times” is not a list"),
        ({"path": "films/a b.mp4", "times": [0], "duration": -1}, "length of a video"),
        ({"path": "films/a b.mp4", "times": [0], "duration": "1"}, "“duration” is not a number"),
        (
            {"path": "films/a b.mp4", "times": list(range(257))},
            "names 257 frames; the most are 256",
        ),
    ],
)
def test_bad_videos_are_told_with_file_and_line(
    folder: Path, part: dict[str, Any], reason: str
) -> None:
    (folder / "red.png").write_bytes(RED.data)
    (folder / "cut.mp4").write_bytes(FILM[:200])
    report = asked(folder, {"type": "video"} | part)
    (problem,) = report.problems
    assert reason in problem.reason and report.conversations == ()
    assert str(problem).startswith(f"{folder / 'in.jsonl'}, line 1: ")
    assert "\n" not in problem.reason


def test_a_large_video_is_refused_and_a_pipe_is_not_waited_for(folder: Path) -> None:
    asked(folder, {"type": "video", "path": "films/a b.mp4"})
    (problem,) = read(folder / "in.jsonl", max_video_bytes=100).problems
    assert "the most that is read is" in problem.reason
    # What lies on the disk already is not unpacked, and does not count as that.
    assert read(folder / "in.jsonl", max_unpacked_bytes=0).problems == ()
    os.mkfifo(folder / "pipe.mp4")
    (problem,) = asked(folder, {"type": "video", "path": "pipe.mp4"}).problems
    assert "not a regular file" in problem.reason


def test_our_json_knows_a_video_that_was_changed(folder: Path) -> None:
    export_to(folder / "x.json", "json", [talk()], media="beside")
    (path,) = (folder / "x_media").glob("*.mp4")
    path.write_bytes(film_file("other.mp4", "mjpeg").read_bytes())
    (problem,) = read(folder / "x.json").problems
    assert "is not what it was: it was changed" in problem.reason


def talk(**values: Any) -> Conversation:
    """Return a conversation about a video and a part of a picture."""
    question = Message("user", (video(), CUT, TextPart("Is it in there?")))
    good, better = Label("good"), Label("better", "b")
    entries = (
        Entry("q", None, question, "person"),
        Entry("a", "q", said("Yes."), "model", labels=(good, better)),
        Entry("b", "q", said("No."), "model"),
    )
    given: dict[str, Any] = {"title": "A film", "tip": "a", "entries": entries}
    return Conversation("c", **(given | values))


def about(media: Media) -> Conversation:
    message = Message("user", (VideoPart(media, video().clip), TextPart("x")))
    return Conversation("c", tip="q", entries=(Entry("q", None, message, "person"),))


@pytest.mark.parametrize("form", ["jsonl", "sft", "kto", "preference"])
def test_rows_name_a_video_and_its_frames(tmp_path: Path, form: Format) -> None:
    written = export_to(tmp_path / "x.jsonl", form, [talk()])
    assert "1 picture and 1 video in" in str(written)
    row = json.loads((tmp_path / "x.jsonl").read_text("utf-8").splitlines()[0])
    content = (row["messages"] if "messages" in row else row["prompt"])[0]["content"]
    place = f"x_media/{video().media.sha256}.mp4"
    clip = {"times": list(video().clip.times), "duration": video().clip.duration}
    assert content[0] == {"type": "video", "path": place, "name": "clip.mp4"} | clip
    assert content[1]["type"] == "image" and content[1]["region"] == [1, 2, 31, 22]
    assert (tmp_path / place).read_bytes() == FILM
    row.pop("vlmchat", None)  # as another program's row, it is the same question
    (tmp_path / "again.jsonl").write_text(json.dumps(row), "utf-8")
    (found,) = read(tmp_path / "again.jsonl").conversations
    film, picture, text = found.entries[0].message.parts
    assert (film, text) == (video(), TextPart("Is it in there?"))
    assert isinstance(picture, ImagePart)  # TRL's list of pictures has no place for their names
    assert replace(picture, media=replace(picture.media, name="red.png")) == CUT


def test_a_video_is_copied_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> bytes:
        raise AssertionError("read whole")

    media = replace(video().media, read=never)
    monkeypatch.setattr(writing, "_PIECE", 1000)
    export_to(tmp_path / "x.jsonl", "jsonl", [about(media)])
    (copy,) = (tmp_path / "x_media").iterdir()
    assert copy.read_bytes() == FILM
    copy.write_bytes(FILM[:-1] + b"x")  # damaged since: it is mended
    export_to(tmp_path / "x.jsonl", "jsonl", [about(media)], force=True)
    assert copy.read_bytes() == FILM


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.unlink(), "cannot be read any more"),
        (lambda path: path.write_bytes(FILM + b"x"), "has changed since it was attached"),
    ],
)
def test_a_video_that_is_not_what_it_was_leaves_nothing(
    folder: Path, harm: Callable[[Path], object], reason: str
) -> None:
    path = folder / "films" / "a b.mp4"
    media = replace(video().media, file=path, read=path.read_bytes)
    harm(path)
    with pytest.raises(MediaError, match=reason):
        export_to(folder / "x.jsonl", "jsonl", [about(media)])
    assert sorted(item.name for item in folder.iterdir()) == ["films"]


def test_a_video_too_large_for_a_file_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_EMBEDDED", len(FILM) - 1)
    export_to(tmp_path / "x.json", "json", [talk()])
    assert len(list((tmp_path / "x_media").iterdir())) == 2
    with pytest.raises(UsageError, match="with the media beside it"):
        export_to(tmp_path / "y.json", "json", [talk()], media="embed")
    assert not (tmp_path / "y.json").exists()


def test_markdown_names_frames_and_regions(tmp_path: Path) -> None:
    export_to(tmp_path / "x.md", "markdown", [talk()])
    text = (tmp_path / "x.md").read_text("utf-8")
    place = f"x_media/{video().media.sha256}.mp4"
    assert f"[Video: clip.mp4]({place})" in text and (tmp_path / place).is_file()
    assert "*(0:03 long, 3 frames at 0:00, 0:01.4, 0:02.9)*" in text
    assert "*(the part of 30 × 20 pixels at 1, 2)*" in text


def test_html_shows_the_storyboard_and_the_cut_out(tmp_path: Path) -> None:
    export_to(tmp_path / "x.html", "html", [talk()], views=views())
    text = (tmp_path / "x.html").read_text("utf-8")
    pictures = re.findall(r'<img src="data:(image/\w+);base64,([^"]*)" alt="([^"]*)"', text)
    assert [(mime, alt) for mime, _, alt in pictures] == [
        ("image/jpeg", "clip.mp4 at 0:00"),
        ("image/jpeg", "clip.mp4 at 0:01.4"),
        ("image/jpeg", "clip.mp4 at 0:02.9"),
        ("image/png", "red.png"),
    ]
    assert media_from_bytes(base64.b64decode(pictures[0][1]), "x").width == 64
    shown = media_from_bytes(base64.b64decode(pictures[3][1]), "x")
    assert (shown.width, shown.height) == (30, 20)
    assert "red.png: the part of 30 × 20 pixels at 1, 2" in text and "data:video" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]


def test_html_says_what_it_cannot_show(tmp_path: Path) -> None:
    gone = replace(video().media, sha256="0" * 64, name="<b>.mp4", file=tmp_path / "gone.mp4")
    export_to(tmp_path / "x.html", "html", [about(gone)], views=views())
    text = (tmp_path / "x.html").read_text("utf-8")
    assert "&lt;b&gt;.mp4: 0:03 long, 3 frames at" in text and "<img" not in text
    export_to(tmp_path / "y.html", "html", [talk()])  # without anybody who can decode
    text = (tmp_path / "y.html").read_text("utf-8")
    assert "clip.mp4: 0:03 long, 3 frames" in text and "the part of 30 × 20" in text


def test_a_terminal_is_told_of_videos_and_regions() -> None:
    lines = list(plain_lines(talk(), str))
    assert "(video: clip.mp4, 64 × 48, 0:03 long, 3 frames at 0:00, 0:01.4, 0:02.9)" in lines
    assert "(picture: red.png, 64 × 48, the part of 30 × 20 pixels at 1, 2)" in lines
