-- From version 2 to 3: parts may be videos, and say more of themselves as JSON.

CREATE TABLE parts_3 (
    message  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('text', 'image', 'video')),
    text     TEXT,                                 -- of a text part; of others JSON or NULL
    media    TEXT REFERENCES media (sha256),       -- of an image or a video
    name     TEXT,                                 -- the file's name as it was attached
    detail   TEXT,                                 -- of an image: low, auto, high or a number of tiles
    PRIMARY KEY (message, position)
) STRICT, WITHOUT ROWID;

INSERT INTO parts_3 SELECT message, position, kind, text, media, name, detail FROM parts;

DROP TABLE parts;

ALTER TABLE parts_3 RENAME TO parts;

CREATE INDEX parts_by_media ON parts (media) WHERE media IS NOT NULL;
