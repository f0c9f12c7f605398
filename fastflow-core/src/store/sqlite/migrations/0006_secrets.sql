-- The values that pipelines ask for by their names. A row holds the one in force; what it replaces is gone.
CREATE TABLE secrets (
    id      INTEGER PRIMARY KEY,
    scope   TEXT    NOT NULL, -- global, pipeline:<name> or schedule:<id>
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    put_at  INTEGER NOT NULL,
    used_at INTEGER,          -- when an attempt last got this value; before the value, so that it alone is written anew
    used_by BLOB    CHECK (length(used_by) = 16), -- its run
    sealed  BLOB    CHECK (length(sealed) >= 77), -- version, key id (16 bytes), salt, nonce, ciphertext, tag
    plain   TEXT,             -- a value that anybody may see
    -- Which master key it is sealed with: what the value itself says.
    sealed_with BLOB GENERATED ALWAYS AS (substr(sealed, 2, 16)) VIRTUAL,
    UNIQUE (scope, name),
    CHECK ((sealed IS NULL) <> (plain IS NULL)),
    CHECK ((used_at IS NULL) = (used_by IS NULL))
) STRICT;
CREATE INDEX secrets_by_key ON secrets (sealed_with, scope, name) WHERE sealed_with IS NOT NULL;

-- All values there ever were under a scope and name, without the values. It outlives a removal, so that no version comes
-- twice, and so that an older row that somebody puts back is known for one.
CREATE TABLE secret_versions (
    scope     TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    version   INTEGER NOT NULL CHECK (version >= 1),
    is_sealed INTEGER NOT NULL CHECK (is_sealed IN (0, 1)),
    put_at    INTEGER NOT NULL,
    ended_at  INTEGER,        -- when it was replaced or removed
    PRIMARY KEY (scope, name, version)
) WITHOUT ROWID, STRICT;
