"""Whole conversations, labels, what is remembered, and databases of older versions."""

import sqlite3
import uuid
from pathlib import Path

import pytest

from tests.films import video
from tests.pictures import encoded
from vlmchat.chat.conversation import Conversation, Entry, Label, Provenance
from vlmchat.chat.messages import ImagePart, Message, TextPart, user_message
from vlmchat.media.images import media_from_bytes
from vlmchat.store import database
from vlmchat.store.database import StoreError, connect
from vlmchat.store.store import Store

OLD = {n: Path(__file__).parent / f"schema_v{n}.sql" for n in (1, 2)}


def said(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


def example() -> Conversation:
    media = media_from_bytes(encoded(), "a.png")
    made = Provenance({"model": "m", "seed": 3}, {"temperature": 0.5}, "Be brief.", "stop", 9, 2, 0)
    mended = Label("correction", "a", 6.0)
    entries = (
        Entry("q", None, user_message("What?", (media,)), "person", created=1.0),
        Entry("a", "q", said("One."), "model", "complete", 2.0, made, (Label("bad", "", 5.0),)),
        Entry("b", "q", said("Two."), "person", "complete", 3.0, None, (mended,)),
        Entry("r", None, user_message("Another beginning"), "person", created=4.0),
    )
    return Conversation("c", "Title", "System.", 1.0, 4.0, True, False, "b", entries)


def test_what_is_restored_comes_out_again(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (number,) = store.restore(example())
        again = store.conversation(number)
    assert again == example()
    assert again.entries[0].message.media[0].data == encoded()
    assert [entry.uid for entry in again.path()] == ["q", "b"]


def test_uids_that_are_taken_are_replaced(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        one, two = store.restore(example(), example())
        assert store.find("c") == one
        copy = store.conversation(two)
        assert copy.uid != "c" and not {e.uid for e in copy.entries} & {"q", "a", "b", "r"}
        assert [e.message for e in copy.path()] == [e.message for e in example().path()]
        assert copy.entries[2].labels[0].other == copy.entries[1].uid
        assert store.conversation(one) == example()


def test_restoring_is_all_or_nothing(tmp_path: Path) -> None:
    broken = Conversation("d", entries=(Entry("x", "nobody", said("?"), "model"),))
    with Store(tmp_path) as store:
        with pytest.raises(KeyError):
            store.restore(example(), broken)
        assert store.threads() == []


def test_labels(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (number,) = store.restore(example())
        ids = store.message_ids(number)
        store.label(ids["a"], "good")

        def labels(uid: str) -> set[tuple[str, str]]:
            entries = store.conversation(number).entries
            return {(x.kind, x.other) for e in entries if e.uid == uid for x in e.labels}

        assert labels("a") == {("good", "")}  # no longer bad
        store.label(ids["a"], "better", ids["b"])
        store.label(ids["b"], "better", ids["a"])
        assert labels("a") == {("good", "")}
        assert labels("b") == {("correction", "a"), ("better", "a")}
        store.unlabel(ids["a"], "good")
        assert labels("a") == set()


def test_what_was_asked_comes_newest_first(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.restore(example())
        other = store.new_thread()
        store.add(other, None, user_message("Now"), author="person")
        assert store.asked() == ["Now", "Another beginning", "What?"]
        assert store.asked(other) == ["Now"]


def test_small_things_are_remembered(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert store.remembered("draft") is None
        store.remember("draft", {"text": "[x]\x00é"})
    with Store(tmp_path) as store:
        assert store.remembered("draft") == {"text": "[x]\x00é"}


def _shape(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {(name, " ".join(sql.split("--")[0].split())) for name, sql in rows}


@pytest.mark.parametrize("version", range(1, database.VERSION))
def test_databases_of_older_versions_are_brought_up_to_date(tmp_path: Path, version: int) -> None:
    path = tmp_path / "chats.sqlite3"
    old = sqlite3.connect(path)
    old.executescript(OLD[version].read_text("utf-8"))
    old.execute(f"PRAGMA user_version = {version}")
    old.execute(
        "INSERT INTO threads (id, uid, title, created, updated) VALUES (1, ?, 'Old', 1, 1)",
        (uuid.uuid4().hex,),
    )
    old.execute(
        "INSERT INTO messages (id, uid, thread, role, author, state, created, updated, text) "
        "VALUES (7, 'm', 1, 'user', 'person', 'complete', 1, 1, 'an old question')"
    )
    old.execute("INSERT INTO parts VALUES (7, 0, 'text', 'an old question', NULL, NULL, NULL)")
    old.execute("INSERT INTO media VALUES (?, 'image/png', 4, 3, 99, 1)", ("0" * 64,))
    old.execute("INSERT INTO parts VALUES (7, 1, 'image', NULL, ?, 'a.png', 'low')", ("0" * 64,))
    old.execute("UPDATE threads SET tip = 7")
    old.commit()
    old.close()
    with Store(tmp_path) as store:
        assert [thread.title for thread in store.threads()] == ["Old"]
        assert store.path(1)[0].message.text == "an old question"
        assert store.search("question")[0].message == 7
        store.label(7, "good")
        part = store.path(1)[0].message.parts[1]
        assert isinstance(part, ImagePart)
        assert (part.detail, part.region, part.media.size) == ("low", None, 99)
        # What the old version could not hold can be written now.
        added = store.add(1, 7, user_message("And this?", (video(),)), author="person")
        assert store.path(1)[-1].id == added
        assert store.path(1)[-1].message.attachments == (video(),)
        assert [use.kind for use in store.media_uses()] == ["video", "image"]
    fresh = connect(tmp_path / "fresh.sqlite3")
    migrated = connect(path)
    names = {name for name, _ in _shape(fresh)}
    assert {name for name, _ in _shape(migrated)} == names
    for table in names:
        columns = f"SELECT name, type, [notnull], dflt_value, pk FROM pragma_table_info('{table}')"
        assert migrated.execute(columns).fetchall() == fresh.execute(columns).fetchall()
    assert migrated.execute("PRAGMA foreign_key_check").fetchall() == []
    fresh.close()
    migrated.close()


def test_every_older_version_has_a_test() -> None:
    assert set(OLD) == set(range(1, database.VERSION))


def test_a_conversation_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(StoreError, match="number 5"):
        store.conversation(5)
