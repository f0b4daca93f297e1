-- API keys. Times are microseconds since 1970 in UTC, 0 where there is none. The hashes are of no
-- use without the pepper, which is never in this database.
CREATE TABLE keys (
    id             TEXT   NOT NULL PRIMARY KEY CHECK (length(id) = 12),
    name           TEXT   NOT NULL,
    owner          TEXT   NOT NULL,
    current        BYTEA  NOT NULL CHECK (length(current) = 32),
    previous       BYTEA  CHECK (length(previous) = 32),
    previous_until BIGINT NOT NULL,
    pepper_version TEXT   NOT NULL,
    scopes         TEXT   NOT NULL, -- JSON: {"upstreams": [], "endpoints": [], "models": []}
    cidrs          TEXT   NOT NULL, -- JSON: ["10.0.0.0/8"]
    created        BIGINT NOT NULL,
    not_before     BIGINT NOT NULL,
    expires        BIGINT NOT NULL,
    revoked        BIGINT NOT NULL,
    last_used      BIGINT NOT NULL,
    tenant         TEXT   NOT NULL,
    detail         TEXT   NOT NULL, -- JSON
    revision       BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX keys_by_revision ON keys (revision);

-- Grows with every change but that of last_used. The row stays locked until the change is committed,
-- so that versions become visible in their order.
CREATE TABLE keys_version (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version BIGINT  NOT NULL,
    removed BIGINT  NOT NULL -- the version at which a row was last taken out, by hand
);
INSERT INTO keys_version VALUES (1, 1, 0);

CREATE FUNCTION keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE keys_version SET version = version + 1;
    UPDATE keys SET revision = (SELECT version FROM keys_version) WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE FUNCTION keys_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE keys_version SET version = version + 1, removed = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER keys_delete AFTER DELETE ON keys FOR EACH STATEMENT EXECUTE FUNCTION keys_removed();
CREATE TRIGGER keys_insert AFTER INSERT ON keys FOR EACH ROW EXECUTE FUNCTION keys_changed();
CREATE TRIGGER keys_update AFTER UPDATE OF
    id, name, owner, current, previous, previous_until, pepper_version, scopes, cidrs, created, not_before, expires, revoked, tenant, detail
    ON keys FOR EACH ROW EXECUTE FUNCTION keys_changed();

-- What the identity room administers, as documents: see package document. Every change takes the next
-- revision, whose row stays locked until the change is committed.
CREATE TABLE documents (
    kind     TEXT    NOT NULL,
    id       TEXT    NOT NULL COLLATE "C",
    tenant   TEXT    NOT NULL,
    keys     TEXT    NOT NULL, -- JSON: the other names by which it is found
    body     BYTEA   NOT NULL, -- JSON; empty in a tombstone
    revision BIGINT  NOT NULL,
    deleted  INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE UNIQUE INDEX documents_by_revision ON documents (revision);
CREATE INDEX documents_by_tenant ON documents (kind, tenant, id) WHERE deleted = 0;

CREATE TABLE document_keys (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    id   TEXT NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX document_keys_by_id ON document_keys (kind, id);

CREATE TABLE documents_version (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO documents_version VALUES (1, 0);
