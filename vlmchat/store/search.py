"""Full-text search: what a person types made an FTS5 expression, and rows made excerpts."""

import re
import sqlite3

from vlmchat.store.records import Hit

# Marks that cannot be typed; SQLite puts them around what matched.
_OPEN, _CLOSE = "\x02", "\x03"
_WORDS = re.compile(r"\w+", re.UNICODE)


def match_expression(text: str) -> str:
    """Return the FTS5 query for the words of `text`; empty when there is no word in it.

    Words are quoted, so that nothing typed is taken for the query language; the last one matches
    as a beginning, so that results come while it is being typed.
    """
    words = _WORDS.findall(text)
    if not words:
        return ""
    return " ".join(f'"{word}"' for word in words) + "*"


def hits(
    connection: sqlite3.Connection, expression: str, thread: int | None, limit: int
) -> list[Hit]:
    """Return the messages that match `expression`, best first."""
    rows = connection.execute(
        "SELECT m.id, m.thread, t.title, m.role, m.created, "
        "snippet(messages_fts, 0, ?, ?, '…', 24) "
        "FROM messages_fts f JOIN messages m ON m.id = f.rowid JOIN threads t ON t.id = m.thread "
        "WHERE messages_fts MATCH ? AND t.deleted IS NULL AND (? IS NULL OR m.thread = ?) "
        "ORDER BY bm25(messages_fts), m.id DESC LIMIT ?",
        (_OPEN, _CLOSE, expression, thread, thread, limit),
    )
    return [
        Hit(number, owner, title, role, created, _pieces(marked))
        for number, owner, title, role, created, marked in rows
    ]


def _pieces(marked: str) -> tuple[tuple[str, bool], ...]:
    pieces: list[tuple[str, bool]] = []
    for part in re.split(f"({_OPEN}[^{_CLOSE}]*{_CLOSE})", marked):
        if part.startswith(_OPEN):
            pieces.append((part.strip(_OPEN + _CLOSE), True))
        elif part:
            pieces.append((part, False))
    return tuple(pieces)
