"""``vlmchat chats`` as a shell runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.chat.conversations import RED, example
from tests.cli.test_ask import COMMAND, refused, run
from tests.films import film_file, video
from vlmchat import paths
from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.messages import ImagePart, Message, Region, TextPart, VideoPart, user_message
from vlmchat.store.store import Store


def plain(uid: str, text: str, **values: Any) -> Conversation:
    entry = Entry(f"{uid}-q", None, user_message(text), "person", created=10.0)
    return Conversation(uid, text.title(), tip=entry.uid, entries=(entry,), **values)


@pytest.fixture
def store() -> Store:
    """Return a store with two conversations and an archived one."""
    store = Store(paths.data_dir())
    store.restore(
        example(),
        plain("abcdef01", "where is the harbour\x1b[31m?", updated=2e9, pinned=True),
        plain("old-one", "an old thing", archived=True),
    )
    return store


def done(*arguments: object) -> tuple[str, str]:
    """Run what must succeed; return standard output and standard error."""
    ended = run("chats", *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, ended.stderr


def test_list(store: Store) -> None:
    out, err = done("list")
    first, second = out.splitlines()
    assert first.split()[0] == "2" and "Where Is The Harbour␛[31M? (pinned)" in first
    assert second.split()[0] == "1" and second.split()[-4:] == ["8", "1", "A", "picture"]
    assert err == ""
    assert "An Old Thing" in done("list", "--archived")[0]
    rows = json.loads(done("list", "--json", "--limit", 1)[0])
    assert [(row["id"], row["uid"], row["messages"], row["pictures"]) for row in rows] == [
        (2, "abcdef01", 1, 0)
    ]
    assert "one list" not in refused(2, "chats", "list", "--archived", "--deleted")


def test_nothing_there() -> None:
    out, err = done("list")
    assert out == "" and err == "There is no conversation.\n"
    assert done("list", "--json")[0] == "[]\n"
    assert "nothing" not in refused(2, "chats", "export", "--all")
    assert done("search", "x") == ("", "Nothing was found.\n")


def test_an_import_keeps_to_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"type": "video", "path": str(film_file())}
    row = {"messages": [{"role": "user", "content": [part, "What?"]}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(row), "utf-8")
    for name, value, reason in (
        ("VIDEO_MAX_BYTES", "100", "; the most that is read is 100 B."),
        ("VIDEO_MAX_SECONDS", "1", "clip.mp4"),
    ):
        with monkeypatch.context() as inside:
            inside.setenv(f"VLMCHAT_MEDIA__{name}", value)
            ended = run("chats", "import", tmp_path / "x.jsonl")
        assert ended.returncode == 2 and "Nothing was imported" in ended.stderr
        assert f"{tmp_path / 'x.jsonl'}, line 1: " in ended.stderr and reason in ended.stderr
    monkeypatch.setenv("VLMCHAT_MEDIA__VIDEO_FRAMES", "2")
    done("import", tmp_path / "x.jsonl")
    with Store(paths.data_dir()) as store:
        (found,) = store.path(1)[0].message.attachments
        assert isinstance(found, VideoPart) and len(found.clip.times) == 2


def test_videos_are_named_and_shown(store: Store, tmp_path: Path) -> None:
    red = ImagePart(RED, region=Region(0, 0, 20, 10))
    question = Message("user", (video(), red, TextPart("Is it in there?")))
    (number,) = store.restore(
        Conversation("film", "F", tip="q", entries=(Entry("q", None, question, "person"),))
    )
    out, _ = done("show", number)
    assert "(video: clip.mp4, 64 × 48, 0:03 long, 3 frames at 0:00, 0:01.4, 0:02.9)" in out
    assert "(picture: red.png, 64 × 48, the part of 20 × 10 pixels at 0, 0)" in out
    assert "(clip.mp4) (red.png) Is it" in done("show", number, "--tree")[0]
    done("export", number, "-o", tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text("utf-8").count('src="data:image/jpeg;base64,') == 3
    assert done("export", number, "-f", "html")[0].count('src="data:image/jpeg;base64,') == 3
    _, said = done("export", number, "-o", tmp_path / "x.jsonl")
    assert "1 picture and 1 video in" in said
    out, said = done("import", tmp_path / "x.jsonl", "--again")
    assert said == "1 conversation imported.\n"
    copy = store.conversation(int(out.split()[0]))
    assert copy.uid != "film" and copy.entries[0].message == question


def test_show(store: Store) -> None:
    out, _ = done("show", 1)
    assert out.startswith("A picture\n") and out.endswith("[smolvlm] (1/2, rated good)\nYes.\n")
    assert done("show", "conv")[0] == out  # the beginning of the uid
    assert "  - smolvlm: A *square*. (rated bad)" in done("show", "1", "--tree")[0]
    row = json.loads(done("show", 1, "--json")[0])
    assert row["uid"] == "conv-1" and len(row["entries"]) == 8
    assert row["media"][RED.sha256]["width"] == 64 and "data" not in row["media"][RED.sha256]
    for wrong in ("9", "c", "zzzzz", "", "1" * 40):
        assert "There is no conversation" in refused(2, "chats", "show", wrong)


def test_a_terminal_is_shown_signs_instead_of_escapes(store: Store) -> None:
    out, _ = done("show", "abcdef")
    assert "\x1b[31m?" in out  # a pipe gets what was said
    child = pexpect.spawn(sys.executable, [*COMMAND[1:], "chats", "show", "abcdef"], timeout=60)
    child.expect(pexpect.EOF)
    shown = child.before or b""
    assert b"\x1b[31m?" not in shown and "harbour␛[31m?" in shown.decode()


def test_search(store: Store) -> None:
    out, _ = done("search", "harb")
    assert out.splitlines()[0].split()[0] == "2" and "where is the harbour" in out.splitlines()[1]
    (row,) = json.loads(done("search", "--json", "where", "harbour")[0])
    assert (row["id"], row["uid"], row["role"]) == (2, "abcdef01", "user")
    assert row["matches"] == ["where", "harbour"]


def test_export_to_a_file(store: Store, tmp_path: Path) -> None:
    out, err = done("export", 1, "--out", tmp_path / "x.html")
    assert out == "" and err.startswith("1 conversation written to ")
    assert (tmp_path / "x.html").read_text("utf-8").startswith("<!doctype html>")
    assert "--force" in refused(2, "chats", "export", 1, "-o", tmp_path / "x.html")
    done("export", 1, "-o", tmp_path / "x.html", "--force", "-f", "md")
    assert (tmp_path / "x.html").read_text("utf-8").startswith("---\n")
    assert [path.name for path in (tmp_path / "x_media").iterdir()] == [f"{RED.sha256}.png"]
    missing = tmp_path / "none" / "x.md"
    assert "could not be written" in refused(3, "chats", "export", 1, "-o", missing)


@pytest.mark.slow
def test_export_to_standard_output(store: Store) -> None:
    out, err = done("export", "--all", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["vlmchat"]["uid"] for row in rows} == {"abcdef01", "conv-1", "old-one"}
    assert '"data:image/png;base64,' in out and err == ""
    assert "A picture" in done("export", 1)[0]  # Markdown, by default
    (row,) = done("export", "1", "1", "-f", "sft", "--every-reply")[0].splitlines()[:1]
    assert json.loads(row)["source"]["conversation"] == "conv-1"
    for arguments in (
        ["export"],
        ["export", 1, "--all"],
        ["export", 1, "-f", "pdf"],
        ["export", 1, "--media", "beside"],
        ["export", 2, "-f", "kto"],
        ["export", 1, "-f", "kto", "--every-reply"],
    ):
        refused(2, "chats", *arguments)


def test_what_was_exported_is_imported_again(store: Store, tmp_path: Path) -> None:
    before = [store.conversation(number) for number in (1, 2, 3)]
    done("export", "--all", "-o", tmp_path / "all.jsonl")
    assert done("import", tmp_path / "all.jsonl") == (
        "",
        "0 conversations imported; 3 skipped, already here.\n",
    )
    done("rm", 1, 2, 3, "--purge", "--yes")
    out, err = done("import", tmp_path / "all.jsonl")
    assert err == "3 conversations imported.\n" and len(out.splitlines()) == 3
    again = {item.uid: store.conversation(item.id) for item, _, _ in store.overview()}
    again |= {item.uid: store.conversation(item.id) for item, _, _ in store.overview("archived")}
    assert [again[item.uid] for item in before] == before
    assert "3 conversations imported" in done("import", "--again", tmp_path / "all.jsonl")[1]
    assert len(store.threads()) == 4


def test_a_bad_row_stops_everything_unless_told(store: Store, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    row = json.dumps({"messages": [{"role": "user", "content": "[b]Hi"}]})
    good.write_text(row, "utf-8")
    bad.write_text(f"{row.replace('Hi', 'Ho')}\n{{\n", "utf-8")
    ended = run("chats", "import", good, bad)
    assert ended.returncode == 2 and ended.stdout == ""
    problem, last = ended.stderr.splitlines()
    assert problem.startswith(f"{bad}, line 2: it is not JSON")
    assert last.startswith("vlmchat: Nothing was imported: 1 row") and "--skip-bad" in last
    assert len(store.threads()) == 2
    out, err = done("import", "--skip-bad", "--dry-run", good, bad)
    assert out == "" and err.splitlines()[-1] == (
        "2 conversations would be imported; 1 bad row skipped."
    )
    assert len(store.threads()) == 2
    out, err = done("import", "--skip-bad", good, bad)
    assert [line.split()[1] for line in out.splitlines()] == ["[b]Hi", "[b]Ho"]
    assert len(store.threads()) == 4
    assert done("import", good)[1] == "0 conversations imported; 1 skipped, already here.\n"
    ended = run("chats", "import", tmp_path / "none")
    assert ended.returncode == 2 and "does not exist" in ended.stderr


def test_rm_and_restore(store: Store) -> None:
    _, err = done("rm", 1, "abcdef01")
    assert "`vlmchat chats restore 1 2` undoes it" in err
    assert done("list")[0] == "" and "A picture" in done("list", "--deleted")[0]
    refused(2, "chats", "rm", 1)
    done("restore", 1, "abcd")
    assert len(store.threads()) == 2
    assert "not deleted" in refused(2, "chats", "restore", 1)
    assert "nobody to ask" in refused(2, "chats", "rm", 1, "--purge")
    done("rm", 2)
    done("rm", 1, "--purge", "--yes")
    refused(2, "chats", "restore", 1)
    assert len(done("list", "--deleted")[0].splitlines()) == 1  # only what was named is gone
    assert not list((paths.data_dir() / "media").glob("??/*"))


def test_rm_asks_on_a_terminal(store: Store) -> None:
    for answer, left in (("n", 2), ("y", 1)):
        child = pexpect.spawn(sys.executable, [*COMMAND[1:], "chats", "rm", "1"], timeout=60)
        child.expect("A picture")
        child.expect("Delete")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == (2 if answer == "n" else 0)
        assert len(store.threads()) == left


def test_a_reader_that_goes_away_is_no_error(store: Store) -> None:
    long = plain("long", "word " * 200_000)
    (number,) = store.restore(long)
    command = [*COMMAND, "chats", "show", str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        os.read(process.stdout.fileno(), 100)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_chats_commands_are_light() -> None:
    code = (
        "import sys; from vlmchat.cli.parser import build; build(); "
        "print([m for m in ('sqlite3', 'PIL', 'pydantic', 'textual') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "[]\n"
