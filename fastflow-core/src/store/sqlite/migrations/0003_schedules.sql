-- The queue: runs that are due stand in it by their turns, so that pipelines take turns; those that are not due wait
-- beside it. The gate says which limits can keep a run waiting (run/admission.rs).
ALTER TABLE runs ADD COLUMN ready INTEGER NOT NULL DEFAULT 0 CHECK (ready IN (0, 1));
ALTER TABLE runs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN gate INTEGER NOT NULL DEFAULT 0 CHECK (gate BETWEEN 0 AND 2);
ALTER TABLE runs ADD COLUMN schedule INTEGER REFERENCES schedules (id);
ALTER TABLE runs ADD COLUMN chain BLOB; -- the first run of its chain; null when it is that itself

DROP INDEX runs_queue;
DROP INDEX runs_queue_by_spec;
DROP INDEX runs_open;
CREATE INDEX runs_ready ON runs (gate, priority DESC, turn, id) WHERE state = 0 AND ready = 1;
CREATE INDEX runs_ready_by_spec ON runs (gate, spec, priority DESC, turn, id) WHERE state = 0 AND ready = 1;
CREATE INDEX runs_later ON runs (not_before, id) WHERE state = 0 AND ready = 0;
CREATE INDEX runs_open ON runs (spec, id) WHERE state IN (1, 2, 3);
CREATE INDEX runs_of_schedule ON runs (schedule, id) WHERE schedule IS NOT NULL AND state < 4;
-- Which run was run again, by hand or because it is meant to run always.
CREATE INDEX runs_again ON runs (coalesce(submission->>'$.origin.rerun.of', submission->>'$.origin.daemon.previous'))
    WHERE coalesce(submission->>'$.origin.rerun.of', submission->>'$.origin.daemon.previous') IS NOT NULL;
CREATE INDEX runs_chain ON runs (chain, id) WHERE chain IS NOT NULL;

CREATE TABLE schedules (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    pipeline     TEXT    NOT NULL,
    body         TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    anchor       INTEGER NOT NULL,
    cursor       INTEGER NOT NULL,
    next_nominal INTEGER,
    next_due     INTEGER,
    problem      TEXT,
    removed      INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1)),
    CHECK ((next_nominal IS NULL) = (next_due IS NULL)),
    CHECK (removed = 0 OR next_due IS NULL),
    CHECK (next_nominal IS NULL OR next_nominal > cursor)
) STRICT;
CREATE INDEX schedules_due ON schedules (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX schedules_pipeline ON schedules (pipeline, name);

-- The ledger: what became of each instant. A row with a count stands for so many instants in a row.
CREATE TABLE ticks (
    schedule INTEGER NOT NULL REFERENCES schedules (id),
    nominal  INTEGER NOT NULL,
    through  INTEGER NOT NULL CHECK (through >= nominal),
    count    INTEGER NOT NULL CHECK (count >= 1),
    outcome  TEXT    NOT NULL,
    fired_at INTEGER NOT NULL,
    run      BLOB REFERENCES runs (id),
    PRIMARY KEY (schedule, nominal)
) WITHOUT ROWID, STRICT;
CREATE INDEX ticks_by_time ON ticks (nominal, schedule);
CREATE UNIQUE INDEX ticks_run ON ticks (run) WHERE run IS NOT NULL;

CREATE TABLE notes (
    id      INTEGER PRIMARY KEY,
    run     BLOB    NOT NULL REFERENCES runs (id),
    at      INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;
CREATE INDEX notes_run ON notes (run, id);
