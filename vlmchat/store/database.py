"""Opening the database: its schema, its version, and what was left by a crash."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from vlmchat.errors import VlmchatError
from vlmchat.text import visible_line

VERSION = 3
_BUSY_SECONDS = 5.0
# A reply that no process has written to for this long was left by one that is gone.
_ABANDONED_SECONDS = 10.0
# The script that takes a database from the version of its key to the next one.
_MIGRATIONS = {1: "migration_1_2.sql", 2: "migration_2_3.sql"}


class StoreError(VlmchatError):
    """The database cannot be opened, read or written."""

    code = "store_error"


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at `path`, made or brought up to date if need be.

    Several processes may have it open at once.

    Raises:
        StoreError: made by a newer vlmchat (it is left as it is), damaged, or not writable.
    """
    shown = visible_line(str(path))
    try:
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise StoreError(f"The conversations in “{shown}” cannot be opened ({error}).") from error
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise StoreError(
                f"The conversations in “{shown}” were written by a newer vlmchat (version {found}, "
                f"this one knows {VERSION}): update vlmchat; nothing was touched."
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        _bring_up_to_date(connection)
        _end_abandoned(connection)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(
            f"The conversations in “{shown}” cannot be used ({error}): mend the file's "
            "permissions, or move it away to begin anew."
        ) from error
    except StoreError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all of the block or nothing of it.

    Raises:
        StoreError: the disk is full, the file is read-only, or another process holds it too long.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreError(f"The conversation could not be saved ({error}).") from error


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn what goes wrong while reading into a sentence.

    Raises:
        StoreError: the file is damaged, gone, or held too long by another process.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"The conversations could not be read ({error}).") from error


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    # Each script is one transaction with its version, so that a kill leaves the old or the new.
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]  # now under the lock
        if found == 0:
            _run_script(connection, "schema.sql")
        else:
            for version in range(found, VERSION):
                _run_script(connection, _MIGRATIONS[version])
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _run_script(connection: sqlite3.Connection, name: str) -> None:
    """Run statement by statement: `executescript` would commit the transaction around it."""
    statement = ""
    script = (files("vlmchat.store") / name).read_text("utf-8")
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _end_abandoned(connection: sqlite3.Connection) -> None:
    """Mark replies whose process died in mid-stream as stopped; their text stays."""
    connection.execute(
        "UPDATE messages SET state = 'stopped' WHERE state = 'streaming' AND updated < ?",
        (time.time() - _ABANDONED_SECONDS,),
    )
