"""Rows of the database made values, and values made rows."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

from vlmchat.chat.conversation import Provenance
from vlmchat.chat.messages import (
    Attachment,
    Clip,
    ImagePart,
    Media,
    Part,
    Region,
    TextPart,
    VideoPart,
    parse_detail,
)
from vlmchat.store.media_files import MediaFiles
from vlmchat.store.records import Thread

THREAD = "id, uid, title, system, draft, created, updated, pinned, archived, deleted, tip"
PROVENANCE = (
    "engine, sampling, system, finish_reason, prompt_tokens, completion_tokens, "
    "cached_tokens, timings"
)


def thread_of(row: Sequence[Any]) -> Thread:
    """Return the conversation in a row of the columns `THREAD`."""
    values = list(row)
    values[7], values[8] = bool(values[7]), bool(values[8])
    return Thread(*values)


# A conversation's replies were mostly made by the same engine in the same way.
_read_again = lru_cache(maxsize=256)(json.loads)


def provenance_of(row: Sequence[Any]) -> Provenance:
    """Return what a row of the columns `PROVENANCE` says."""
    engine, sampling, system, reason, prompt, completion, cached, timings = row
    made = (_read_again(engine), _read_again(sampling), system, reason, prompt, completion)
    return Provenance(*made, cached, json.loads(timings))


def write_provenance(db: sqlite3.Connection, message: int, made: Provenance) -> None:
    """Write what produced a message, inside the caller's transaction."""
    db.execute(
        f"INSERT OR REPLACE INTO provenance (message, {PROVENANCE}) "  # noqa: S608
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message,
            *(json.dumps(dict(made.engine)), json.dumps(dict(made.sampling)), made.system),
            *(made.finish_reason, made.prompt_tokens, made.completion_tokens),
            *(made.cached_tokens, json.dumps(dict(made.timings))),
        ),
    )


def write_parts(db: sqlite3.Connection, message: int, parts: Iterable[Part], now: float) -> None:
    """Write the parts of a message, inside the caller's transaction; media lie on disk already."""
    for position, part in enumerate(parts):
        row: tuple[object, ...]
        if isinstance(part, TextPart):
            row = (message, position, "text", part.text, None, None, None)
        else:
            media = part.media
            db.execute(
                "INSERT OR IGNORE INTO media VALUES (?, ?, ?, ?, ?, ?)",
                (media.sha256, media.mime, media.width, media.height, media.size, now),
            )
            row = (message, position, *_attachment(part))
        db.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _attachment(part: Attachment) -> tuple[object, ...]:
    """Return the columns of a part from `kind` on."""
    about = (part.media.sha256, part.media.name)
    if isinstance(part, VideoPart):
        clip = {"times": part.clip.times, "duration": part.clip.duration}
        return ("video", json.dumps(clip), *about, None)
    more = None if part.region is None else json.dumps({"region": part.region.edges})
    return ("image", more, *about, str(part.detail))


def region_in(text: str | None) -> Region | None:
    """Return which part of a picture is meant, of what stands beside it in its row."""
    edges = json.loads(text).get("region") if text else None
    return None if edges is None else Region.parse(edges)


def read_parts(
    db: sqlite3.Connection, files: MediaFiles, messages: Sequence[int]
) -> dict[int, tuple[Part, ...]]:
    """Return the parts of each message; media are read from the disk when they are wanted."""
    found: dict[int, list[Part]] = {}
    rows = db.execute(
        "SELECT p.message, p.kind, p.text, p.media, p.name, p.detail, d.mime, d.width, d.height, "
        "d.bytes FROM parts p LEFT JOIN media d ON d.sha256 = p.media "
        "WHERE p.message IN (SELECT value FROM json_each(?)) ORDER BY p.message, p.position",
        (json.dumps(list(messages)),),
    )
    for message, kind, text, sha, name, detail, mime, width, height, size in rows:
        part: Part
        if kind == "text":
            part = TextPart(text)
        else:
            path = files.path(sha) if kind == "video" else None
            read = partial(files.get, sha)
            media = Media(sha, name, mime, width, height, size, read, path)
            more = json.loads(text) if text else {}
            if kind == "video":
                part = VideoPart(media, Clip(tuple(more["times"]), more["duration"]))
            else:
                part = ImagePart(media, parse_detail(detail), region_in(text))
        found.setdefault(message, []).append(part)
    return {message: tuple(parts) for message, parts in found.items()}
