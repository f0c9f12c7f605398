-- The packages of environments, and who used them. Rows stay when an environment is removed from the disk.
CREATE TABLE environments (
    id             INTEGER PRIMARY KEY,
    digest         TEXT    NOT NULL UNIQUE, -- the environment's id, as attempts name it
    lock_hash      TEXT    NOT NULL,
    python_version TEXT    NOT NULL,
    uv_version     TEXT    NOT NULL,
    recorded_at    INTEGER NOT NULL,
    known          INTEGER NOT NULL CHECK (known IN (0, 1)) -- whether anybody could say its packages
) STRICT;

-- Each distinct package once: most environments share most of them.
CREATE TABLE packages (
    id      INTEGER PRIMARY KEY,
    hash    BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of body
    name    TEXT    NOT NULL,
    body    TEXT    NOT NULL
) STRICT;
CREATE INDEX packages_name ON packages (name);

CREATE TABLE environment_packages (
    environment INTEGER NOT NULL REFERENCES environments (id),
    package     INTEGER NOT NULL REFERENCES packages (id),
    PRIMARY KEY (environment, package)
) WITHOUT ROWID, STRICT;
CREATE INDEX environments_of_package ON environment_packages (package, environment);

-- Which attempts ran where: the environment's id, as their setup says it.
ALTER TABLE attempts ADD COLUMN environment TEXT;
UPDATE attempts SET environment = setup->>'$.environment.id' WHERE setup->>'$.environment.id' IS NOT NULL;
CREATE INDEX attempts_environment ON attempts (environment, run) WHERE environment IS NOT NULL;

-- Which pipelines ran where: written with the attempts, so that nothing that ran is ever missing.
CREATE TABLE environment_uses (
    environment TEXT    NOT NULL,
    pipeline    INTEGER NOT NULL,
    PRIMARY KEY (environment, pipeline)
) WITHOUT ROWID, STRICT;
INSERT INTO environment_uses (environment, pipeline)
SELECT DISTINCT a.environment, r.pipeline FROM attempts AS a JOIN runs AS r ON r.id = a.run
WHERE a.environment IS NOT NULL;
CREATE TRIGGER environment_used_at_once AFTER INSERT ON attempts WHEN new.environment IS NOT NULL
BEGIN
    INSERT INTO environment_uses (environment, pipeline)
    SELECT new.environment, r.pipeline FROM runs AS r WHERE r.id = new.run AND NOT EXISTS (
        SELECT 1 FROM environment_uses AS u WHERE u.environment = new.environment AND u.pipeline = r.pipeline);
END;
CREATE TRIGGER environment_used AFTER UPDATE OF environment ON attempts
WHEN new.environment IS NOT old.environment AND new.environment IS NOT NULL
BEGIN
    INSERT INTO environment_uses (environment, pipeline)
    SELECT new.environment, r.pipeline FROM runs AS r WHERE r.id = new.run AND NOT EXISTS (
        SELECT 1 FROM environment_uses AS u WHERE u.environment = new.environment AND u.pipeline = r.pipeline);
END;

CREATE TABLE audits (
    id          INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX audits_environment ON audits (environment, id);
