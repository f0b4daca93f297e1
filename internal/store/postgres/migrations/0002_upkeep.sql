-- What keeps the database from growing for ever, and tries to sign in that all gateways count together. A
-- gateway of the release before neither reads nor writes any of it, and goes on as it did: no table that
-- it uses changes its form, and only its writes of documents wait while the index is made.

-- Tombstones, for those that are purged. It comes first: its lock waits for writers while nothing that
-- they could wait for is held.
CREATE INDEX documents_gone ON documents (revision) WHERE deleted = 1;

-- The newest revision of a tombstone that was purged: who follows from below it may have missed one.
CREATE TABLE documents_purged (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO documents_purged VALUES (1, 0);

-- How far the revisions had come at a time (microseconds since 1970): a tombstone has no time of its own.
CREATE TABLE documents_marks (
    reached  BIGINT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);

-- Tries to sign in. A place is a hash of an account, a network or all together. Times are microseconds.
CREATE TABLE tries (
    place BYTEA  NOT NULL PRIMARY KEY,
    n     BIGINT NOT NULL,
    last  BIGINT NOT NULL,
    ends  BIGINT NOT NULL -- from then on the row says nothing more
);
CREATE INDEX tries_by_end ON tries (ends);
