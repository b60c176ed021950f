"""Conversations on disk."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import encoded
from vlmchat.chat.conversation import Provenance
from vlmchat.chat.messages import ImagePart, Media, Message, TextPart, user_message
from vlmchat.media.images import media_from_bytes
from vlmchat.store.database import VERSION, StoreError
from vlmchat.store.store import Store


def said(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def ask(store: Store, thread: int, parent: int | None, question: str, answer: str) -> int:
    number = store.add(thread, parent, user_message(question), author="person")
    return store.add(thread, number, said(answer), author="model")


def test_what_is_written_is_read(store: Store, tmp_path: Path) -> None:
    thread = store.new_thread("Pictures", "Be brief.")
    red, blue = (media_from_bytes(encoded("PNG", colour=c), f"{c}.png") for c in ("red", "blue"))
    parts = (ImagePart(red, "low"), TextPart("What \x1b[31m[/red] is\u202e it?"), ImagePart(blue))
    store.add(thread, None, Message("user", parts), author="person")
    store.close()
    with Store(tmp_path) as again:
        (node,) = again.path(thread)
        assert node.message == Message("user", parts)
        assert [m.data for m in node.message.media] == [red.data, blue.data]
        assert again.thread(thread).title == "Pictures"


def test_a_medium_is_stored_once(store: Store, tmp_path: Path) -> None:
    thread = store.new_thread()
    media = media_from_bytes(encoded(), "a.png")
    first = store.add(thread, None, user_message("one", (media, media)), author="person")
    store.add(thread, first, user_message("two", (media,)), author="person")
    assert len([path for path in (tmp_path / "media").rglob("*") if path.is_file()]) == 1
    assert len(store.media_uses()) == 3


def test_siblings_and_tips(store: Store) -> None:
    thread = store.new_thread()
    first = store.add(thread, None, user_message("Hello"), author="person")
    one = store.add(thread, first, said("Hi."), author="model")
    more = ask(store, thread, one, "More?", "No.")
    two = store.add(thread, first, said("Good day."), author="model")
    assert [node.message.text for node in store.path(thread)] == ["Hello", "Good day."]
    assert store.path(thread)[1].siblings == (one, two)
    # Switching goes on to where that branch was left.
    assert [node.id for node in store.switch(thread, one)] == [
        first,
        one,
        store.path(thread, more)[2].id,
        more,
    ]
    assert store.thread(thread).tip == more
    assert store.path(thread, one)[-1].message.text == "Hi."


def test_a_parent_of_another_conversation_is_refused(store: Store) -> None:
    here, there = store.new_thread(), store.new_thread()
    number = store.add(here, None, user_message("x"), author="person")
    with pytest.raises(StoreError, match="not part of"):
        store.add(there, number, said("y"), author="model")
    assert store.path(there) == []


def test_a_reply_grows_and_ends_with_its_provenance(store: Store) -> None:
    thread = store.new_thread()
    question = store.add(thread, None, user_message("Tell."), author="person")
    reply = store.add(thread, question, said(""), author="model", state="streaming")
    store.grow(reply, "Once upon")
    assert store.path(thread)[-1].state == "streaming"
    assert store.path(thread)[-1].message.text == "Once upon"
    assert store.search("upon") == []
    made = Provenance({"model": "demo", "seed": 7}, {"temperature": 0.5}, "Be brief.", "stop", 9, 3)
    store.finish(reply, "Once upon a time.", "complete", made)
    assert store.provenance(reply) == made
    assert [hit.message for hit in store.search("upon")] == [reply]
    with pytest.raises(StoreError, match="not being written"):
        store.grow(reply, "Never.")
    assert store.path(thread)[-1].message.text == "Once upon a time."


def test_lists_pins_archive_and_undo(store: Store) -> None:
    one, two, three = (store.new_thread(title) for title in ("one", "two", "three"))
    ask(store, one, None, "a", "b")
    assert [thread.title for thread in store.threads()] == ["one", "three", "two"]
    store.change_thread(two, pinned=True, title="zwei")
    store.change_thread(three, archived=True)
    assert [thread.title for thread in store.threads()] == ["zwei", "one"]
    assert [thread.title for thread in store.threads(archived=True)] == ["three"]
    store.change_thread(one, deleted=time.time())
    assert [thread.title for thread in store.threads()] == ["zwei"]
    store.change_thread(one, deleted=None)
    assert [thread.title for thread in store.threads()] == ["zwei", "one"]
    with pytest.raises(ValueError, match="created"):
        store.change_thread(one, created=0)


def test_purging_takes_the_media_that_nobody_uses(store: Store, tmp_path: Path) -> None:
    keep, drop = store.new_thread(), store.new_thread()
    shared, own = (media_from_bytes(encoded("PNG", n, n), "p.png") for n in (20, 30))
    store.add(keep, None, user_message("x", (shared,)), author="person")
    store.add(drop, None, user_message("y", (shared, own)), author="person")
    store.change_thread(drop, deleted=time.time() - 10)
    assert store.purge(time.time()) == 1
    left = [path.name for path in (tmp_path / "media").rglob("*") if path.is_file()]
    assert left == [shared.sha256]
    assert store.path(keep)[0].message.media == (shared,)
    assert store.search("y") == []


def test_search_takes_anything_typed(store: Store) -> None:
    thread = store.new_thread("Zoo")
    number = ask(
        store, thread, None, "What about the élan?", 'An "elk" (NEAR the river) AND moose*'
    )
    assert [hit.message for hit in store.search("moo")] == [number]
    assert store.search("ELAN")[0].title == "Zoo"
    assert store.search("ELAN")[0].excerpt == (
        ("What about the ", False),
        ("élan", True),
        ("?", False),
    )
    for odd in (
        '"',
        "NEAR(",
        "a AND",
        "*",
        "",
        "  ",
        "-",
        "col:umn",
        "'; DROP TABLE messages",
        "\0",
    ):
        store.search(odd)
    assert len(store.search("the")) == 2
    assert store.search("the", thread=thread + 1) == []


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite3"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE later (x)")
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer vlmchat"):
        Store(tmp_path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "chats.sqlite3").write_bytes(b"not a database, but someone's notes" * 40)
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path)
    assert (tmp_path / "chats.sqlite3").read_bytes().startswith(b"not a database")


def test_damage_met_while_reading_is_a_sentence(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "chats.sqlite3") as raw:
        raw.execute("DROP TABLE provenance")
    raw.close()
    with pytest.raises(StoreError, match="could not be read"):
        store.provenance(1)


def test_a_damaged_medium_is_told(store: Store, tmp_path: Path) -> None:
    thread = store.new_thread()
    media = media_from_bytes(encoded(), "a.png")
    store.add(thread, None, user_message("x", (media,)), author="person")
    next(path for path in (tmp_path / "media").rglob("*") if path.is_file()).write_bytes(b"other")
    (node,) = store.path(thread)  # the conversation opens all the same
    with pytest.raises(StoreError, match="damaged"):
        _ = node.message.media[0].data


_WRITER = """
import sys
from pathlib import Path
from vlmchat.chat.messages import Message, TextPart, user_message
from vlmchat.store.store import Store
store = Store(Path(sys.argv[1]))
thread = store.new_thread("cut")
question = store.add(thread, None, user_message("Tell."), author="person")
empty = Message("assistant", (TextPart(""),))
reply = store.add(thread, question, empty, author="model", state="streaming")
text = ""
for number in range(1_000_000):
    text += f"word{number} "
    store.grow(reply, text)
    print(number, flush=True)
"""


def test_a_kill_in_mid_stream_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    last = 0
    for line in child.stdout:
        last = int(line)
        if last >= 50:
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    # The row was touched a moment ago, as a living process of another chat would: it is let be.
    with Store(tmp_path) as store:
        (thread,) = store.threads()
        assert store.path(thread.id)[-1].state == "streaming"
    monkeypatch.setattr("vlmchat.store.database._ABANDONED_SECONDS", -1.0)
    with Store(tmp_path) as store:
        node = store.path(thread.id)[-1]
        assert node.state == "stopped"
        assert f"word{last} " in node.message.text
        assert [hit.message for hit in store.search(f"word{last}")] == [node.id]
    raw = sqlite3.connect(tmp_path / "chats.sqlite3")
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


def _write_many(folder: str, name: str) -> None:
    with Store(Path(folder)) as store:
        thread = store.new_thread(name)
        tip = None
        for number in range(60):
            tip = store.add(thread, tip, user_message(f"{name} {number}"), author="person")


def test_two_chats_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = ["left", "right"]
    workers = [context.Process(target=_write_many, args=(str(tmp_path), name)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    with Store(tmp_path) as store:
        for thread in store.threads():
            texts = [node.message.text for node in store.path(thread.id)]
            assert texts == [f"{thread.title} {number}" for number in range(60)]
        assert len(store.threads()) == 2


def test_a_full_disk_is_a_sentence_and_loses_nothing(
    small_disk: Callable[[int], Path],
) -> None:
    folder = small_disk(1_000_000)
    with Store(folder) as store:
        thread = store.new_thread("small")
        written = [store.add(thread, None, user_message("first"), author="person")]
        with pytest.raises(StoreError, match=r"full|No space"):
            for _ in range(100):
                text = os.urandom(20_000).hex()
                written.append(store.add(thread, written[-1], user_message(text), author="person"))
        with pytest.raises(StoreError, match="could not be saved"):
            media = media_from_bytes(encoded("BMP", 900, 900), "big.bmp")
            huge = Media.held(os.urandom(2_000_000), "big", media.mime, 900, 900)
            store.add(thread, None, user_message("x", (huge,)), author="person")
        assert [node.id for node in store.path(thread)] == written
        assert not list((folder / "media").rglob(".new-*"))


def test_a_read_only_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "chats.sqlite3").mkdir()
    with pytest.raises(StoreError, match="cannot be"):
        Store(tmp_path)
