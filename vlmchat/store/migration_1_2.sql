-- From version 1 to 2: labels, what the chat remembers, and the index of what was asked.

CREATE INDEX messages_asked ON messages (created) WHERE role = 'user';

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
