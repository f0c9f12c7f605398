-- Instants are microseconds since 1970 in UTC. Ids of runs are the 16 bytes of a UUID of version 7, which sort
-- by creation. The codes of states, statuses and events are those of codec.rs.

CREATE TABLE pipelines (
    id                INTEGER PRIMARY KEY,
    name              TEXT    NOT NULL UNIQUE,
    cataloged_at      INTEGER,          -- when the catalog last named it; null when it never did
    present           INTEGER NOT NULL DEFAULT 0 CHECK (present IN (0, 1)),
    revision          TEXT,
    diagnostics       TEXT    NOT NULL DEFAULT '[]',
    succeeded         INTEGER NOT NULL DEFAULT 0,
    failed            INTEGER NOT NULL DEFAULT 0,
    cancelled         INTEGER NOT NULL DEFAULT 0,
    last_submitted_at INTEGER
) STRICT;

CREATE TABLE daily_statistics (
    pipeline   INTEGER NOT NULL REFERENCES pipelines (id),
    day        INTEGER NOT NULL, -- days since 1970-01-01, UTC
    succeeded  INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    cancelled  INTEGER NOT NULL,
    run_micros INTEGER NOT NULL,
    PRIMARY KEY (pipeline, day)
) WITHOUT ROWID, STRICT;

-- What runs execute, each distinct content once.
CREATE TABLE specs (
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of body
    body TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    pipeline        INTEGER NOT NULL REFERENCES pipelines (id),
    spec            INTEGER NOT NULL REFERENCES specs (id),
    submission      TEXT,             -- parameters and origin; null when there are none and it is manual
    key             TEXT,
    priority        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    state           INTEGER NOT NULL CHECK (state BETWEEN 0 AND 6),
    status          INTEGER NOT NULL
        CHECK (status = CASE WHEN state <= 1 THEN 0 WHEN state <= 3 THEN 1 ELSE state - 2 END),
    not_before      INTEGER NOT NULL,
    detail          TEXT,             -- what the state carries beyond its name
    epoch           INTEGER NOT NULL,
    attempt         INTEGER NOT NULL,
    failed_attempts INTEGER NOT NULL,
    start_retries   INTEGER NOT NULL, -- starts in a row for which the executor could not be reached
    run_micros      INTEGER NOT NULL, -- how long the program of the newest attempt ran
    started_at      INTEGER,
    finished_at     INTEGER,
    CHECK ((finished_at IS NOT NULL) = (state >= 4)),
    CHECK (attempt >= 1 OR state IN (0, 6))
) WITHOUT ROWID, STRICT;

CREATE UNIQUE INDEX runs_key ON runs (key) WHERE key IS NOT NULL;
CREATE INDEX runs_queue ON runs (priority DESC, not_before, id) WHERE state = 0;
CREATE INDEX runs_open ON runs (id) WHERE state IN (1, 2, 3);
CREATE INDEX runs_status ON runs (status, id);
CREATE INDEX runs_pipeline ON runs (pipeline, status, id);

-- The last fence behind the writer's own guards.
CREATE TRIGGER runs_final BEFORE UPDATE ON runs WHEN old.state >= 4
BEGIN
    SELECT raise(ABORT, 'a final state never changes');
END;

CREATE TABLE attempts (
    run         BLOB    NOT NULL REFERENCES runs (id),
    number      INTEGER NOT NULL CHECK (number >= 1),
    claimed_at  INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    setup       TEXT,
    handle      TEXT,
    ending      TEXT,
    report      TEXT,
    PRIMARY KEY (run, number),
    CHECK ((ending IS NULL) = (finished_at IS NULL))
) WITHOUT ROWID, STRICT;

-- One row per state change; ids have no gaps.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    run      BLOB    NOT NULL,
    pipeline INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    name     INTEGER NOT NULL,
    state    INTEGER NOT NULL
) STRICT;
