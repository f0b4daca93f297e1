-- What keeps the file from growing for ever, and tries to sign in that all processes count together. A
-- process of the release before neither reads nor writes any of it, and goes on as it did.

-- Tombstones, for those that are purged.
CREATE INDEX documents_gone ON documents (revision) WHERE deleted = 1;

-- The newest revision of a tombstone that was purged: who follows from below it may have missed one.
CREATE TABLE documents_purged (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO documents_purged VALUES (1, 0);

-- How far the revisions had come at a time (microseconds since 1970): a tombstone has no time of its own.
CREATE TABLE documents_marks (
    reached  INTEGER NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT;

-- Tries to sign in. A place is a hash of an account, a network or all together. Times are microseconds.
CREATE TABLE tries (
    place BLOB    NOT NULL PRIMARY KEY,
    n     INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    ends  INTEGER NOT NULL -- from then on the row says nothing more
) STRICT, WITHOUT ROWID;
CREATE INDEX tries_by_end ON tries (ends);
