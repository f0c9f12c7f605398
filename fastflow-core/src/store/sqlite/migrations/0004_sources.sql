-- What is shown of the source, and the log of its syncs. The shown commit, the catalog, the schedules and the line in the
-- log change in one transaction.
CREATE TABLE source (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    published    TEXT,             -- the commit; null for sources that have none
    published_at INTEGER NOT NULL
) STRICT;

CREATE TABLE syncs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at INTEGER NOT NULL,
    body       TEXT    NOT NULL
) STRICT;
