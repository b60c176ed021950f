-- The database of conversations, version 2 (PRAGMA user_version).
--
-- A thread is a tree of messages: a message points at its parent, a thread at its tip, and nothing
-- that was said is ever overwritten. Media lie beside the database as files named by their hash.

CREATE TABLE threads (
    id       INTEGER PRIMARY KEY,
    uid      TEXT NOT NULL UNIQUE,                 -- survives export and import
    title    TEXT NOT NULL DEFAULT '',
    system   TEXT NOT NULL DEFAULT '',             -- system prompt from now on
    draft    TEXT NOT NULL DEFAULT '',             -- what stands in the composer
    created  REAL NOT NULL,                        -- seconds since 1970, as all times here
    updated  REAL NOT NULL,
    pinned   INTEGER NOT NULL DEFAULT 0,
    archived INTEGER NOT NULL DEFAULT 0,
    deleted  REAL,                                 -- when; NULL is not deleted
    tip      INTEGER REFERENCES messages (id) ON DELETE SET NULL
) STRICT;

CREATE INDEX threads_by_time ON threads (deleted, archived, pinned DESC, updated DESC);

CREATE TABLE messages (
    id      INTEGER PRIMARY KEY,
    uid     TEXT NOT NULL UNIQUE,
    thread  INTEGER NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    parent  INTEGER REFERENCES messages (id) ON DELETE CASCADE,
    role    TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    author  TEXT NOT NULL CHECK (author IN ('person', 'model')),
    state   TEXT NOT NULL CHECK (state IN ('streaming', 'complete', 'stopped', 'failed')),
    created REAL NOT NULL,
    updated REAL NOT NULL,
    text    TEXT NOT NULL DEFAULT ''               -- the text parts, for search and lists
) STRICT;

CREATE INDEX messages_by_parent ON messages (thread, parent, id);
CREATE INDEX messages_asked ON messages (created) WHERE role = 'user';
CREATE INDEX messages_streaming ON messages (state) WHERE state = 'streaming';

CREATE TABLE media (
    sha256  TEXT PRIMARY KEY,
    mime    TEXT NOT NULL,
    width   INTEGER NOT NULL,
    height  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE parts (
    message  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('text', 'image')),
    text     TEXT,                                 -- of a text part; of an image part JSON or NULL
    media    TEXT REFERENCES media (sha256),       -- of an image part
    name     TEXT,                                 -- the file's name as it was attached
    detail   TEXT,                                 -- low, auto, high or a number of tiles
    PRIMARY KEY (message, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX parts_by_media ON parts (media) WHERE media IS NOT NULL;

-- What produced a reply: enough to ask for it again.
CREATE TABLE provenance (
    message           INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    engine            TEXT NOT NULL,               -- JSON: model, revision, quantization, adapter …
    sampling          TEXT NOT NULL,               -- JSON: parameters as they were sent
    system            TEXT NOT NULL,
    finish_reason     TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    cached_tokens     INTEGER,
    timings           TEXT NOT NULL DEFAULT '{}'   -- JSON
) STRICT;

-- What a person thinks of a reply: the rows that fine-tuning learns from.
CREATE TABLE labels (
    message INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN ('good', 'bad', 'better', 'correction')),
    other   INTEGER REFERENCES messages (id) ON DELETE CASCADE,  -- the sibling compared with
    created REAL NOT NULL,
    CHECK ((other IS NULL) = (kind IN ('good', 'bad')))
) STRICT;

CREATE INDEX labels_by_message ON labels (message, kind);
CREATE INDEX labels_by_other ON labels (other) WHERE other IS NOT NULL;

-- Small things the chat remembers between two starts: the draft of a conversation that has not
-- begun, folders that pictures were attached from.
CREATE TABLE remembered (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL                            -- JSON
) STRICT, WITHOUT ROWID;

-- Text that is still streaming is indexed when it ends, so that a long answer costs once.
CREATE VIRTUAL TABLE messages_fts USING fts5 (
    text, content = 'messages', content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);

CREATE TRIGGER messages_indexed AFTER INSERT ON messages WHEN new.state <> 'streaming' BEGIN
    INSERT INTO messages_fts (rowid, text) VALUES (new.id, new.text);
END;

CREATE TRIGGER messages_ended AFTER UPDATE OF state ON messages
WHEN old.state = 'streaming' AND new.state <> 'streaming' BEGIN
    INSERT INTO messages_fts (rowid, text) VALUES (new.id, new.text);
END;

CREATE TRIGGER messages_removed AFTER DELETE ON messages WHEN old.state <> 'streaming' BEGIN
    INSERT INTO messages_fts (messages_fts, rowid, text) VALUES ('delete', old.id, old.text);
END;
