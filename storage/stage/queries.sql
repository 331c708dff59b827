-- The statements of storage.stage.state_file. "-- name: what it does" begins one.

-- durability: a commit is on disk when it returns
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;

-- positions: how far every incarnation is judged
SELECT incarnation, sequence, lines, lost FROM positions;

-- move_position: an incarnation's
INSERT INTO positions (incarnation, sequence, lines, lost) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (incarnation) DO UPDATE SET sequence = ?2, lines = lines + ?3, lost = lost + ?4;

-- drop_position: of an incarnation whose tombstone is gone, too
DELETE FROM positions WHERE incarnation = ?;

-- stream: one, and whether it had ended
SELECT stream, ended_us IS NOT NULL FROM streams WHERE id = ?;

-- keep_stream: one that was open already; no index has to move
UPDATE streams SET seen_us = ?2, stream = ?3 WHERE id = ?1;

-- open_stream: a new one, or one that goes on behind its end
INSERT OR REPLACE INTO streams (id, seen_us, ended_us, stream) VALUES (?1, ?2, NULL, ?3);

-- end_stream: nothing more is expected of it
INSERT OR REPLACE INTO streams (id, seen_us, ended_us, stream) VALUES (?1, ?2, ?2, ?3);

-- open_streams: of which more is expected
SELECT count(*) FROM streams WHERE ended_us IS NULL;

-- silent_streams: open ones of which nothing came for long
SELECT id, stream FROM streams WHERE ended_us IS NULL AND seen_us < ?1 LIMIT ?2;

-- forget_streams: those that ended before a time, the oldest first
DELETE FROM streams WHERE id IN (SELECT id FROM streams WHERE ended_us IS NOT NULL AND ended_us < ?1
                                            ORDER BY ended_us LIMIT ?2);

-- make_aliases: in a file of an earlier release
CREATE TABLE IF NOT EXISTS aliases (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,   -- in the order in which they were met
    content BLOB NOT NULL UNIQUE,                -- the uuid
    owner   TEXT NOT NULL,
    name    TEXT NOT NULL                        -- cid, as sent
);

-- keep_alias: the name of a content, unless it is there
INSERT OR IGNORE INTO aliases (content, owner, name) VALUES (?, ?, ?);

-- trim_aliases: to the latest
DELETE FROM aliases WHERE number <= (SELECT max(number) FROM aliases) - ?;

-- aliases: behind a number
SELECT number, content, owner, name FROM aliases WHERE number > ? ORDER BY number LIMIT ?;

-- outbox: the last turn's frames
SELECT incarnation, sequence, frames FROM outbox;

-- empty_outbox: they are in the log
DELETE FROM outbox;

-- fill_outbox: with this turn's
INSERT OR REPLACE INTO outbox (one, incarnation, sequence, frames) VALUES (1, ?, ?, ?);

-- log: more of it, or less, where a crash left the end of a turn to another one
INSERT INTO logs (incarnation, frames, rows, signals) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (incarnation) DO UPDATE SET frames = frames + ?2, rows = rows + ?3, signals = signals + ?4;

-- logs: all there were
SELECT incarnation, frames, rows, signals FROM logs;

-- books: of all turns
SELECT lines, rows, signals, folded, stalls FROM books;

-- book: a turn
UPDATE books SET lines = lines + ?, rows = rows + ?, signals = signals + ?, folded = folded + ?, stalls = stalls + ?;
