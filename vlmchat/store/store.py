"""Conversations: what lists, trees and searches ask for, and what is written as it happens.

Every method is one transaction. The store is synchronous and may be used from any one thread at a
time; the chat gives it a thread of its own.
"""

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from vlmchat.chat.messages import ImagePart, Media, Message, Part, TextPart
from vlmchat.store.database import StoreError, connect, reading, transaction
from vlmchat.store.media_files import MediaFiles
from vlmchat.store.records import Author, Hit, MediaUse, Node, Provenance, State, Thread
from vlmchat.store.search import hits, match_expression

_THREAD = "id, uid, title, system, draft, created, updated, pinned, archived, deleted, tip"
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

    def new_thread(self, title: str = "", system: str = "") -> int:
        """Begin a conversation and return its id."""
        now = time.time()
        with transaction(self._db):
            return self._insert(
                "INSERT INTO threads (uid, title, system, created, updated) VALUES (?, ?, ?, ?, ?)",
                (uuid.uuid4().hex, title, system, now, now),
            )

    def threads(self, *, archived: bool = False, limit: int = 1000) -> list[Thread]:
        """Return the conversations, pinned first, then the newest."""
        rows = self._read(
            f"SELECT {_THREAD} FROM threads WHERE deleted IS NULL AND archived = ? "  # noqa: S608
            "ORDER BY pinned DESC, updated DESC, id DESC LIMIT ?",
            (archived, limit),
        )
        return [_thread(row) for row in rows]

    def thread(self, thread: int) -> Thread:
        """Return one conversation.

        Raises:
            StoreError: there is none with this id.
        """
        query = f"SELECT {_THREAD} FROM threads WHERE id = ?"  # noqa: S608
        rows = self._read(query, (thread,))
        if not rows:
            raise StoreError(f"There is no conversation number {thread}.")
        return _thread(rows[0])

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

    def purge(self, before: float) -> int:
        """Remove for good what was deleted before that time; return how many conversations."""
        with transaction(self._db):
            gone = self._db.execute(
                "DELETE FROM threads WHERE deleted IS NOT NULL AND deleted < ?", (before,)
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
    ) -> int:
        """Add a message below `parent`, make it the thread's tip, and return its id.

        Adding below a message that has children already makes a sibling: nothing is overwritten.
        """
        now = time.time()
        for media in message.media:
            self._media.put(media.sha256, media.data)
        with transaction(self._db):
            if parent is not None and self._thread_of(parent) != thread:
                raise StoreError(f"Message {parent} is not part of conversation {thread}.")
            number = self._insert(
                "INSERT INTO messages (uid, thread, parent, role, author, state, created, updated,"
                " text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(uuid.uuid4().hex, thread, parent, message.role, author, state, now, now),
                    message.text,
                ),
            )
            self._write_parts(number, message.parts, now)
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
                self._db.execute(
                    "INSERT OR REPLACE INTO provenance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    _provenance_row(message, provenance),
                )
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
        parts = self._read_parts([row[0] for row in rows])
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
        rows = self._read(
            "SELECT engine, sampling, system, finish_reason, prompt_tokens, completion_tokens, "
            "cached_tokens, timings FROM provenance WHERE message = ?",
            (message,),
        )
        if not rows:
            return None
        engine, sampling, system, reason, prompt, completion, cached, timings = rows[0]
        made = (json.loads(engine), json.loads(sampling), system, reason, prompt, completion)
        return Provenance(*made, cached, json.loads(timings))

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
            "SELECT p.media, p.name, d.mime, d.width, d.height, m.id, m.thread, m.created "
            "FROM parts p JOIN media d ON d.sha256 = p.media JOIN messages m ON m.id = p.message "
            "JOIN threads t ON t.id = m.thread WHERE t.deleted IS NULL "
            "ORDER BY m.created DESC, p.position LIMIT ?",
            (limit,),
        )
        return [MediaUse(*row) for row in rows]

    def media_data(self, sha256: str) -> bytes:
        """Return the bytes of a medium.

        Raises:
            StoreError: they are gone, or are not what they were.
        """
        return self._media.get(sha256)

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

    def _write_parts(self, message: int, parts: Iterable[Part], now: float) -> None:
        for position, part in enumerate(parts):
            row: tuple[object, ...]
            if isinstance(part, TextPart):
                row = (message, position, "text", part.text, None, None, None)
            else:
                media = part.media
                self._db.execute(
                    "INSERT OR IGNORE INTO media VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        *(media.sha256, media.mime, media.width, media.height),
                        *(len(media.data), now),
                    ),
                )
                row = (message, position, "image", None, media.sha256, media.name, part.detail)
            self._db.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _read_parts(self, messages: Sequence[int]) -> dict[int, tuple[Part, ...]]:
        found: dict[int, tuple[Part, ...]] = {}
        known: dict[str, bytes] = {}
        rows = self._read(
            "SELECT p.message, p.kind, p.text, p.media, p.name, p.detail, d.mime, d.width, "
            "d.height FROM parts p LEFT JOIN media d ON d.sha256 = p.media "
            "WHERE p.message IN (SELECT value FROM json_each(?)) ORDER BY p.message, p.position",
            (json.dumps(list(messages)),),
        )
        for message, kind, text, sha, name, detail, mime, width, height in rows:
            part: Part
            if kind == "text":
                part = TextPart(text)
            else:
                if sha not in known:
                    known[sha] = self._media.get(sha)
                part = ImagePart(Media(sha, name, mime, width, height, known[sha]), detail)
            found[message] = (*found.get(message, ()), part)
        return found

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


def _thread(row: sqlite3.Row | tuple[Any, ...]) -> Thread:
    values = list(row)
    values[7], values[8] = bool(values[7]), bool(values[8])
    return Thread(*values)


def _provenance_row(message: int, made: Provenance) -> tuple[object, ...]:
    return (
        message,
        json.dumps(dict(made.engine)),
        json.dumps(dict(made.sampling)),
        made.system,
        made.finish_reason,
        made.prompt_tokens,
        made.completion_tokens,
        made.cached_tokens,
        json.dumps(dict(made.timings)),
    )
