-- What the identity room administers, as documents: see package document. Every change takes the next
-- revision.
CREATE TABLE documents (
    kind     TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    tenant   TEXT    NOT NULL,
    keys     TEXT    NOT NULL, -- JSON: the other names by which it is found
    body     BLOB    NOT NULL, -- JSON; empty in a tombstone
    revision INTEGER NOT NULL,
    deleted  INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
CREATE UNIQUE INDEX documents_by_revision ON documents (revision);
CREATE INDEX documents_by_tenant ON documents (kind, tenant, id) WHERE deleted = 0;

-- Other names by which a living document is found.
CREATE TABLE document_keys (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    id   TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_keys_by_id ON document_keys (kind, id);

CREATE TABLE documents_version (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO documents_version VALUES (1, 0);

-- Keys belong to a tenant, and say more of themselves. A process of the release before neither reads
-- nor writes these columns; the triggers keep the revision right for it too.
ALTER TABLE keys ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
ALTER TABLE keys ADD COLUMN detail TEXT NOT NULL DEFAULT '{}'; -- JSON
ALTER TABLE keys ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
UPDATE keys SET revision = (SELECT version FROM keys_version);
-- The version at which a row was last taken out, by hand: whoever follows changes then reads all anew.
ALTER TABLE keys_version ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX keys_by_revision ON keys (revision);

DROP TRIGGER keys_delete;
CREATE TRIGGER keys_delete AFTER DELETE ON keys BEGIN
    UPDATE keys_version SET version = version + 1, removed = version + 1;
END;
DROP TRIGGER keys_insert;
DROP TRIGGER keys_update;
CREATE TRIGGER keys_insert AFTER INSERT ON keys BEGIN
    UPDATE keys_version SET version = version + 1;
    UPDATE keys SET revision = (SELECT version FROM keys_version) WHERE id = NEW.id;
END;
CREATE TRIGGER keys_update AFTER UPDATE OF
    id, name, owner, current, previous, previous_until, pepper_version, scopes, cidrs, created, not_before, expires, revoked, tenant, detail
    ON keys BEGIN
    UPDATE keys_version SET version = version + 1;
    UPDATE keys SET revision = (SELECT version FROM keys_version) WHERE id = NEW.id;
END;
