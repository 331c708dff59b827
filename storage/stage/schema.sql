-- state.db: what the session stage knows. Everything in it moves together, in one transaction a turn.
-- PRAGMA user_version is 1; another one is of a newer gateway. The table `aliases` is made when a file is opened
-- (queries.sql), since those of earlier releases lack it.

-- how far each incarnation of the spool is judged
CREATE TABLE positions (
    incarnation TEXT PRIMARY KEY,
    sequence    INTEGER NOT NULL,            -- of the next frame
    lines       INTEGER NOT NULL,            -- of CMCD below it
    lost        INTEGER NOT NULL DEFAULT 0   -- lines that damage to the spool took
) WITHOUT ROWID;

-- one stream of lines; storage.stage.session.Stream as msgpack
CREATE TABLE streams (
    id       BLOB PRIMARY KEY,               -- of owner, session, target
    seen_us  INTEGER NOT NULL,               -- its last receipt
    ended_us INTEGER,                        -- NULL: more is expected
    stream   BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX streams_open ON streams (id) WHERE ended_us IS NULL;
CREATE INDEX streams_ended ON streams (ended_us) WHERE ended_us IS NOT NULL;

-- the frames of the last turn, and where in the stage's own log they begin: behind a crash, the log says how many it has
CREATE TABLE outbox (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    frames      BLOB NOT NULL                -- bodies, as msgpack
);

-- what was written to each log of the stage's own
CREATE TABLE logs (
    incarnation TEXT PRIMARY KEY,
    frames      INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    signals     INTEGER NOT NULL
) WITHOUT ROWID;

-- lines + stalls = rows + signals + folded
CREATE TABLE books (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    lines   INTEGER NOT NULL DEFAULT 0,
    rows    INTEGER NOT NULL DEFAULT 0,
    signals INTEGER NOT NULL DEFAULT 0,
    folded  INTEGER NOT NULL DEFAULT 0,
    stalls  INTEGER NOT NULL DEFAULT 0
);
INSERT INTO books (one) VALUES (1);
