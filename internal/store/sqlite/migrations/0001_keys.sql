-- API keys. Times are microseconds since 1970 in UTC, 0 where there is none. The hashes are of no
-- use without the pepper, which is never in this file.
CREATE TABLE keys (
    id             TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 12),
    name           TEXT    NOT NULL,
    owner          TEXT    NOT NULL,
    current        BLOB    NOT NULL CHECK (length(current) = 32),
    previous       BLOB    CHECK (length(previous) = 32),
    previous_until INTEGER NOT NULL,
    pepper_version TEXT    NOT NULL,
    scopes         TEXT    NOT NULL, -- JSON: {"upstreams": [], "endpoints": [], "models": []}
    cidrs          TEXT    NOT NULL, -- JSON: ["10.0.0.0/8"]
    created        INTEGER NOT NULL,
    not_before     INTEGER NOT NULL,
    expires        INTEGER NOT NULL,
    revoked        INTEGER NOT NULL,
    last_used      INTEGER NOT NULL
) STRICT;

-- Grows with every change but that of last_used, so that gateways notice changes of other processes.
CREATE TABLE keys_version (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO keys_version VALUES (1, 1);

CREATE TRIGGER keys_insert AFTER INSERT ON keys BEGIN UPDATE keys_version SET version = version + 1; END;
CREATE TRIGGER keys_delete AFTER DELETE ON keys BEGIN UPDATE keys_version SET version = version + 1; END;
CREATE TRIGGER keys_update AFTER UPDATE OF
    id, name, owner, current, previous, previous_until, pepper_version, scopes, cidrs, created, not_before, expires, revoked
    ON keys BEGIN UPDATE keys_version SET version = version + 1; END;
