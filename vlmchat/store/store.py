"""Conversations: what lists, trees and searches ask for, and what is written as it happens.

Every method is one transaction. The store is synchronous and may be used from any one thread at a
time; the chat gives it a thread of its own.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from vlmchat.chat.conversation import Author, Conversation, Label, LabelKind, Provenance, State
from vlmchat.chat.messages import Message
from vlmchat.errors import UsageError
from vlmchat.store.database import StoreError, connect, reading, transaction
from vlmchat.store.media_files import MediaFiles
from vlmchat.store.records import Hit, MediaUse, Node, Thread
from vlmchat.store.rows import (
    PROVENANCE,
    THREAD,
    provenance_of,
    read_parts,
    region_in,
    thread_of,
    write_parts,
    write_provenance,
)
from vlmchat.store.search import hits, match_expression
from vlmchat.store.whole import read_conversation, write_conversation, write_labels
from vlmchat.text import visible_line

_SHORTEST_UID = 4
_SETTABLE = frozenset({"title", "system", "draft", "pinned", "archived", "deleted", "tip"})


class Store:
    """The conversations in one folder.

    Args:
        folder: holds ``chats.sqlite3`` and ``media/``.

    Raises:
        StoreError: as `vlmchat.store.database.connect`.
    """

    def __init__(self, folder: Path) -> None:
        self._db = connect(folder / "chats.sqlite3")
        self._media = MediaFiles(folder / "media")

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # Threads ----------------------------------------------------------------------------------

    def new_thread(self, title: str = "", system: str = "", *, uid: str | None = None) -> int:
        """Begin a conversation and return its id."""
        now = time.time()
        with transaction(self._db):
            return self._insert(
                "INSERT INTO threads (uid, title, system, created, updated) VALUES (?, ?, ?, ?, ?)",
                (uid or uuid.uuid4().hex, title, system, now, now),
            )

    def threads(self, *, archived: bool = False, limit: int = 1000) -> list[Thread]:
        """Return the conversations, pinned first, then the newest."""
        rows = self._read(
            f"SELECT {THREAD} FROM threads WHERE deleted IS NULL AND archived = ? "  # noqa: S608
            "ORDER BY pinned DESC, updated DESC, id DESC LIMIT ?",
            (archived, limit),
        )
        return [thread_of(row) for row in rows]

    def thread(self, thread: int) -> Thread:
        """Return one conversation.

        Raises:
            StoreError: there is none with this id.
        """
        query = f"SELECT {THREAD} FROM threads WHERE id = ?"  # noqa: S608
        rows = self._read(query, (thread,))
        if not rows:
            raise StoreError(f"There is no conversation number {thread}.")
        return thread_of(rows[0])

    def change_thread(self, thread: int, **values: Any) -> None:  # noqa: ANN401
        """Set ``title``, ``system``, ``draft``, ``pinned``, ``archived``, ``deleted`` or ``tip``.

        A deleted conversation is only marked (with a time): setting ``deleted`` to ``None``
        undoes it, `purge` ends it.
        """
        unknown = set(values) - _SETTABLE
        if unknown or not values:
            raise ValueError(f"cannot be set: {sorted(unknown)}")
        columns = ", ".join(f"{name} = ?" for name in values)
        with transaction(self._db):
            self._db.execute(
                f"UPDATE threads SET {columns} WHERE id = ?",  # noqa: S608
                (*values.values(), thread),
            )

    def overview(
        self, kind: Literal["open", "archived", "deleted"] = "open", limit: int = 1000
    ) -> list[tuple[Thread, int, int]]:
        """Return conversations as `threads`, each with its numbers of messages and of pictures."""
        columns = ", ".join(f"t.{name}" for name in THREAD.split(", "))
        rows = self._read(
            f"SELECT {columns}, "  # noqa: S608
            "(SELECT count(*) FROM messages m WHERE m.thread = t.id), "
            "(SELECT count(*) FROM parts p JOIN messages m ON m.id = p.message "
            "WHERE m.thread = t.id AND p.media IS NOT NULL) "
            "FROM threads t WHERE (t.deleted IS NOT NULL) = ? AND (? OR t.archived = ?) "
            "ORDER BY t.pinned DESC, t.updated DESC, t.id DESC LIMIT ?",
            (kind == "deleted", kind == "deleted", kind == "archived", limit),
        )
        return [(thread_of(row[:-2]), row[-2], row[-1]) for row in rows]

    def named(self, text: str) -> list[Thread]:
        """Return the conversations with that number, or whose uid begins so; deleted ones too."""
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 18 else -1
        rows = self._read(
            f"SELECT {THREAD} FROM threads WHERE id = ?1 OR substr(uid, 1, ?3) = ?2 "  # noqa: S608
            "ORDER BY id <> ?1, id LIMIT 20",
            (number, text, len(text)),
        )
        return [thread_of(row) for row in rows]

    def purge(self, before: float, only: Sequence[int] | None = None) -> int:
        """Remove for good what was deleted before that time; return how many conversations.

        Args:
            before: seconds since 1970.
            only: ids; by default all that were deleted.
        """
        with transaction(self._db):
            gone = self._db.execute(
                "DELETE FROM threads WHERE deleted IS NOT NULL AND deleted < ? "
                "AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))",
                (before, None if only is None else 1, json.dumps(list(only or ()))),
            ).rowcount
            self._db.execute(
                "DELETE FROM media WHERE sha256 NOT IN "
                "(SELECT media FROM parts WHERE media IS NOT NULL)"
            )
            kept = frozenset(row[0] for row in self._db.execute("SELECT sha256 FROM media"))
        self._media.remove_all_but(kept)
        return gone

    # Messages ---------------------------------------------------------------------------------

    def add(
        self,
        thread: int,
        parent: int | None,
        message: Message,
        *,
        author: Author,
        state: State = "complete",
        uid: str | None = None,
    ) -> int:
        """Add a message below `parent`, make it the thread's tip, and return its id.

        Adding below a message that has children already makes a sibling: nothing is overwritten.

        Args:
            thread: the conversation.
            parent: the message before it; ``None`` for a first one.
            message: what is said.
            author: who wrote it.
            state: ``streaming`` for a reply that `grow` and `finish` will fill.
            uid: a name of its own, made up if not given.
        """
        now = time.time()
        for media in message.media:
            self._media.keep(media)
        with transaction(self._db):
            if parent is not None and self._thread_of(parent) != thread:
                raise StoreError(f"Message {parent} is not part of conversation {thread}.")
            number = self._insert(
                "INSERT INTO messages (uid, thread, parent, role, author, state, created, updated,"
                " text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(uid or uuid.uuid4().hex, thread, parent, message.role, author),
                    *(state, now, now),
                    message.text,
                ),
            )
            write_parts(self._db, number, message.parts, now)
            self._touch(thread, number, now)
        return number

    def grow(self, message: int, text: str) -> None:
        """Set the text of a reply that is still streaming."""
        now = time.time()
        with transaction(self._db):
            self._set_streaming_text(message, text, now)

    def finish(
        self, message: int, text: str, state: State, provenance: Provenance | None = None
    ) -> None:
        """End a streaming reply: its whole text, how it ended, and what produced it."""
        now = time.time()
        with transaction(self._db):
            self._set_streaming_text(message, text, now)
            self._db.execute("UPDATE messages SET state = ? WHERE id = ?", (state, message))
            if provenance is not None:
                write_provenance(self._db, message, provenance)
            self._touch(self._thread_of(message), message, now)

    def _set_streaming_text(self, message: int, text: str, now: float) -> None:
        changed = self._db.execute(
            "UPDATE messages SET text = ?, updated = ? WHERE id = ? AND state = 'streaming'",
            (text, now, message),
        ).rowcount
        if not changed:
            raise StoreError(f"Message {message} is not being written.")
        self._db.execute(
            "INSERT OR REPLACE INTO parts (message, position, kind, text) VALUES (?, 0, 'text', ?)",
            (message, text),
        )

    def path(self, thread: int, tip: int | None = None) -> list[Node]:
        """Return the messages from the first to `tip` (the thread's own by default)."""
        if tip is None:
            tip = self.thread(thread).tip
        rows = self._read(
            "WITH RECURSIVE up (id, depth) AS (SELECT ?, 0 UNION ALL "
            "SELECT m.parent, depth + 1 FROM messages m JOIN up ON m.id = up.id "
            "WHERE m.parent IS NOT NULL) "
            "SELECT m.id, m.uid, m.thread, m.parent, m.author, m.state, m.created, m.role "
            "FROM up JOIN messages m ON m.id = up.id WHERE m.thread = ? ORDER BY depth DESC",
            (tip, thread),
        )
        with reading():
            parts = read_parts(self._db, self._media, [row[0] for row in rows])
        siblings = self._siblings(thread, [row[3] for row in rows])
        return [
            Node(
                number,
                uid,
                owner,
                parent,
                author,
                state,
                created,
                Message(role, parts.get(number, ())),
                siblings[parent],
            )
            for number, uid, owner, parent, author, state, created, role in rows
        ]

    def switch(self, thread: int, message: int) -> list[Node]:
        """Go to `message` and on to the newest message below it; return the path there."""
        rows = self._read(
            "WITH RECURSIVE down (id) AS (SELECT ? UNION ALL "
            "SELECT (SELECT max(id) FROM messages WHERE parent = down.id) FROM down "
            "WHERE down.id IS NOT NULL) SELECT max(id) FROM down",
            (message,),
        )
        self.change_thread(thread, tip=rows[0][0])
        return self.path(thread)

    def provenance(self, message: int) -> Provenance | None:
        """Return what produced a reply, if that is known."""
        query = f"SELECT {PROVENANCE} FROM provenance WHERE message = ?"  # noqa: S608
        rows = self._read(query, (message,))
        return provenance_of(rows[0]) if rows else None

    def find_message(self, uid: str) -> tuple[int, str]:
        """Return the conversation and the whole uid of the message whose uid begins so.

        Raises:
            UsageError: there is none, there are several, or it is too short to mean one; those
                in deleted conversations do not count.
        """
        shown = visible_line(uid)
        if len(uid) < _SHORTEST_UID:
            raise UsageError(f"“{shown}” is too short: write {_SHORTEST_UID} characters or more.")
        rows = self._read(
            "SELECT m.thread, m.uid FROM messages m JOIN threads t ON t.id = m.thread "
            "WHERE substr(m.uid, 1, ?2) = ?1 AND t.deleted IS NULL ORDER BY m.uid <> ?1 LIMIT 2",
            (uid, len(uid)),
        )
        if not rows:
            raise UsageError(f"There is no message “{shown}”: /info in the chat shows an answer's.")
        if len(rows) > 1 and rows[0][1] != uid:
            raise UsageError(f"“{shown}” begins several messages: write more of it.")
        return rows[0][0], rows[0][1]

    # Whole conversations ----------------------------------------------------------------------

    def find(self, uid: str) -> int | None:
        """Return the id of the conversation with that uid, deleted ones left out."""
        rows = self._read("SELECT id FROM threads WHERE uid = ? AND deleted IS NULL", (uid,))
        return int(rows[0][0]) if rows else None

    def conversation(self, thread: int) -> Conversation:
        """Return all of a conversation, every branch of it."""
        about = self.thread(thread)
        with reading():
            return read_conversation(self._db, self._media, about)

    def restore(self, *conversations: Conversation) -> list[int]:
        """Add conversations as new threads, all of them or none; return their ids.

        Uids that are taken already are replaced by new ones.
        """
        for conversation in conversations:
            for entry in conversation.entries:
                for media in entry.message.media:
                    self._media.keep(media)
        with transaction(self._db):
            return [write_conversation(self._db, item)[0] for item in conversations]

    def message_ids(self, thread: int) -> dict[str, int]:
        """Return the id of each message of a conversation by its uid."""
        rows = self._read("SELECT uid, id FROM messages WHERE thread = ?", (thread,))
        return dict(rows)

    # Labels -----------------------------------------------------------------------------------

    def label(self, message: int, kind: LabelKind, other: int | None = None) -> None:
        """Say what a person thinks of a reply; a reply is good or bad, not both.

        Args:
            message: the reply.
            kind: as in `Label`.
            other: the sibling it is ``better`` than or a ``correction`` of.
        """
        numbers = {"other": other} if other is not None else {}
        label = Label(kind, "other" if other is not None else "")
        with transaction(self._db):
            self._unlabel(message, kind, other)
            write_labels(self._db, message, (label,), numbers)

    def unlabel(self, message: int, kind: LabelKind, other: int | None = None) -> None:
        """Take back what was said with `label`."""
        with transaction(self._db):
            self._unlabel(message, kind, other)

    def _unlabel(self, message: int, kind: LabelKind, other: int | None) -> None:
        kinds = ["good", "bad"] if kind in ("good", "bad") else [kind]
        self._db.execute(
            "DELETE FROM labels WHERE message = ? AND other IS ? "
            "AND kind IN (SELECT value FROM json_each(?))",
            (message, other, json.dumps(kinds)),
        )
        if kind == "better":  # of two siblings only one is the better one
            self._db.execute(
                "DELETE FROM labels WHERE message = ? AND other = ? AND kind = 'better'",
                (other, message),
            )

    # What is remembered -----------------------------------------------------------------------

    def asked(self, thread: int | None = None, limit: int = 1_000) -> list[str]:
        """Return what the person asked, newest first; in all conversations by default."""
        rows = self._read(
            "SELECT m.text FROM messages m JOIN threads t ON t.id = m.thread "
            "WHERE m.role = 'user' AND m.text <> '' AND t.deleted IS NULL "
            "AND (? IS NULL OR m.thread = ?) ORDER BY m.created DESC LIMIT ?",
            (thread, thread, limit),
        )
        return [row[0] for row in rows]

    def remember(self, key: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Keep a small JSON value under `key`."""
        with transaction(self._db):
            self._db.execute(
                "INSERT OR REPLACE INTO remembered VALUES (?, ?)", (key, json.dumps(value))
            )

    def remembered(self, key: str) -> Any:  # noqa: ANN401
        """Return what was kept under `key`; ``None`` if nothing was."""
        rows = self._read("SELECT value FROM remembered WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else None

    # Searching --------------------------------------------------------------------------------

    def search(self, text: str, *, thread: int | None = None, limit: int = 100) -> list[Hit]:
        """Return the messages that hold all words of `text` (the last one as a beginning).

        Best first (BM25); deleted conversations are left out.
        """
        expression = match_expression(text)
        if not expression:
            return []
        with reading():
            return hits(self._db, expression, thread, limit)

    def media_uses(self, limit: int = 10_000) -> list[MediaUse]:
        """Return every place where a medium was attached, newest first."""
        rows = self._read(
            "SELECT p.media, p.name, d.mime, d.width, d.height, d.bytes, m.id, m.thread, "
            "m.created, p.kind, CASE p.kind WHEN 'image' THEN p.text END "
            "FROM parts p JOIN media d ON d.sha256 = p.media "
            "JOIN messages m ON m.id = p.message "
            "JOIN threads t ON t.id = m.thread WHERE t.deleted IS NULL "
            "ORDER BY m.created DESC, p.position LIMIT ?",
            (limit,),
        )
        return [MediaUse(*(*row[:-1], region_in(row[-1]))) for row in rows]

    def covers(self) -> dict[int, str]:
        """Return, for each conversation that has any, the digest of its first medium."""
        rows = self._read(
            "SELECT m.thread, p.media, min(m.id) FROM parts p JOIN messages m ON m.id = p.message "
            "WHERE p.media IS NOT NULL GROUP BY m.thread",
            (),
        )
        return {thread: digest for thread, digest, _ in rows}

    def media_data(self, sha256: str) -> bytes:
        """Return the bytes of a medium; safe to call from any thread.

        Raises:
            StoreError: it is gone, or is not what it was.
        """
        return self._media.get(sha256)

    def media_path(self, sha256: str) -> Path:
        """Return where a medium lies or would lie; safe to call from any thread."""
        return self._media.path(sha256)

    # Rows -------------------------------------------------------------------------------------

    def _read(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with reading():
            return self._db.execute(query, values).fetchall()

    def _insert(self, statement: str, values: Sequence[object]) -> int:
        number = self._db.execute(statement, values).lastrowid
        assert number is not None
        return number

    def _thread_of(self, message: int) -> int:
        row = self._db.execute("SELECT thread FROM messages WHERE id = ?", (message,)).fetchone()
        if row is None:
            raise StoreError(f"There is no message number {message}.")
        return int(row[0])

    def _touch(self, thread: int, tip: int, now: float) -> None:
        self._db.execute("UPDATE threads SET tip = ?, updated = ? WHERE id = ?", (tip, now, thread))

    def _siblings(
        self, thread: int, parents: Sequence[int | None]
    ) -> Mapping[int | None, tuple[int, ...]]:
        wanted = set(parents)
        found: dict[int | None, list[int]] = {parent: [] for parent in wanted}
        rows = self._read("SELECT parent, id FROM messages WHERE thread = ? ORDER BY id", (thread,))
        for parent, number in rows:
            if parent in wanted:
                found[parent].append(number)
        return {parent: tuple(numbers) for parent, numbers in found.items()}
