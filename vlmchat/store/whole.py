"""Whole conversations out of the database and into it."""

import sqlite3
import time
import uuid
from collections.abc import Iterable

from vlmchat.chat.conversation import Conversation, Entry, Label, Provenance
from vlmchat.chat.messages import Message
from vlmchat.store.media_files import MediaFiles
from vlmchat.store.records import Thread
from vlmchat.store.rows import (
    PROVENANCE,
    provenance_of,
    read_parts,
    write_parts,
    write_provenance,
)


def read_conversation(db: sqlite3.Connection, files: MediaFiles, thread: Thread) -> Conversation:
    """Return all of `thread`, every branch of it."""
    rows = db.execute(
        "SELECT id, uid, parent, role, author, state, created FROM messages "
        "WHERE thread = ? ORDER BY id",
        (thread.id,),
    ).fetchall()
    uids = {row[0]: row[1] for row in rows}
    parts = read_parts(db, files, list(uids))
    made = _provenance(db, thread.id)
    labels = _labels(db, thread.id, uids)
    entries = tuple(
        Entry(
            uid,
            uids.get(parent),
            Message(role, parts.get(number, ())),
            author,
            state,
            created,
            made.get(number),
            tuple(labels.get(number, ())),
        )
        for number, uid, parent, role, author, state, created in rows
    )
    tip = uids.get(thread.tip) if thread.tip is not None else None
    about = (thread.uid, thread.title, thread.system, thread.created, thread.updated)
    return Conversation(*about, thread.pinned, thread.archived, tip, entries)


def _provenance(db: sqlite3.Connection, thread: int) -> dict[int, Provenance]:
    columns = ", ".join(f"p.{name}" for name in PROVENANCE.split(", "))
    rows = db.execute(
        f"SELECT p.message, {columns} FROM provenance p "  # noqa: S608
        "JOIN messages m ON m.id = p.message WHERE m.thread = ?",
        (thread,),
    )
    return {row[0]: provenance_of(row[1:]) for row in rows}


def _labels(db: sqlite3.Connection, thread: int, uids: dict[int, str]) -> dict[int, list[Label]]:
    rows = db.execute(
        "SELECT l.message, l.kind, l.other, l.created FROM labels l "
        "JOIN messages m ON m.id = l.message WHERE m.thread = ? ORDER BY l.rowid",
        (thread,),
    )
    found: dict[int, list[Label]] = {}
    for message, kind, other, created in rows:
        found.setdefault(message, []).append(Label(kind, uids.get(other, ""), created))
    return found


def write_conversation(
    db: sqlite3.Connection, conversation: Conversation
) -> tuple[int, dict[str, int]]:
    """Write all of `conversation` as a new thread, inside the caller's transaction.

    Its media lie on the disk already. Where a uid is taken, thread or message gets a new one: what
    is there stays as it is.

    Returns:
        The thread's id, and the id of each message by its uid in `conversation`.
    """
    now = time.time()
    uid = conversation.uid
    if db.execute("SELECT 1 FROM threads WHERE uid = ?", (uid,)).fetchone():
        uid = uuid.uuid4().hex
    thread = db.execute(
        "INSERT INTO threads (uid, title, system, created, updated, pinned, archived) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(uid, conversation.title, conversation.system),
            *(conversation.created or now, conversation.updated or now),
            *(conversation.pinned, conversation.archived),
        ),
    ).lastrowid
    assert thread is not None
    numbers: dict[str, int] = {}
    for entry in conversation.entries:
        numbers[entry.uid] = _write_entry(db, thread, entry, numbers, now)
    for entry in conversation.entries:
        write_labels(db, numbers[entry.uid], entry.labels, numbers)
    tip = numbers[conversation.tip] if conversation.tip is not None else None
    db.execute("UPDATE threads SET tip = ? WHERE id = ?", (tip, thread))
    return thread, numbers


def _write_entry(
    db: sqlite3.Connection, thread: int, entry: Entry, numbers: dict[str, int], now: float
) -> int:
    taken = db.execute("SELECT 1 FROM messages WHERE uid = ?", (entry.uid,)).fetchone()
    parent = numbers[entry.parent] if entry.parent is not None else None
    state = "stopped" if entry.state == "streaming" else entry.state
    created = entry.created or now
    number = db.execute(
        "INSERT INTO messages (uid, thread, parent, role, author, state, created, updated, text) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(uuid.uuid4().hex if taken else entry.uid, thread, parent, entry.message.role),
            *(entry.author, state, created, created, entry.message.text),
        ),
    ).lastrowid
    assert number is not None
    write_parts(db, number, entry.message.parts, now)
    if entry.provenance is not None:
        write_provenance(db, number, entry.provenance)
    return number


def write_labels(
    db: sqlite3.Connection, message: int, labels: Iterable[Label], numbers: dict[str, int]
) -> None:
    """Write the labels of a message, inside the caller's transaction."""
    now = time.time()
    db.executemany(
        "INSERT INTO labels (message, kind, other, created) VALUES (?, ?, ?, ?)",
        [
            (message, label.kind, numbers[label.other] if label.other else None, when)
            for label in labels
            for when in (label.created or now,)
        ],
    )
