-- Every statement of the drain. "-- name: what it does" begins one; storage.postgres.statement reads them.
-- {columns} is the column list of a frame's schema id.

-- session: a drain that was stopped in the middle lets go of its locks; a lock that never comes is an outage; keepalives from
-- the server's side find a lost drain and keep the idle connection alive in firewalls; JIT compiles for longer than we run;
-- who waits for its turn has to see what the one before it did, whatever the database's default isolation
SET default_transaction_isolation = 'read committed';
SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '20s'; SET jit = off; SET timezone = 'UTC';

-- durability: what a commit is worth here
SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       pg_is_in_recovery() AS standby;

-- registration: missing means that this is not the database the positions were kept in
SELECT registration_id FROM ingest_registration WHERE reader = $1;

-- choose_playback: whose the rows of playback events are; the first one stays, and who comes second waits for it
INSERT INTO ingest_registration (reader, registration_id) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- keeps_playback: whether rows of playback events were ever written here; ad events are booked under a month of their own
SELECT EXISTS (SELECT FROM ingest_positions, jsonb_object_keys(coalesce(totals -> 'months', '{}')) AS month
                WHERE reader = $1 AND month <> 'ads');

-- positions: where every incarnation stands, with its books
SELECT incarnation, sequence, totals::text AS totals FROM ingest_positions WHERE reader = $1;

-- begin_positions: an incarnation's first; one that is there already was begun by another drain
INSERT INTO ingest_positions (reader, incarnation, sequence, totals)
SELECT $1, incarnation, sequence, totals::jsonb
  FROM unnest($2::uuid[], $3::bigint[], $4::text[]) AS begun (incarnation, sequence, totals)
ON CONFLICT DO NOTHING;

-- move_positions: compare-and-set on the old sequence, so that of two drains one writes nothing
UPDATE ingest_positions AS position
   SET sequence = moved.sequence, totals = moved.totals::jsonb, updated_at = now()
  FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::text[]) AS moved (incarnation, before, sequence, totals)
 WHERE position.reader = $1 AND position.incarnation = moved.incarnation AND position.sequence = moved.before;

-- make_staging: once a connection; NOT NULL comes with LIKE, CHECKs are met where they stand, in playback_events
CREATE TEMPORARY TABLE IF NOT EXISTS staged_events (LIKE playback_events INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;

-- clear_staging: between the parts of a bisection
TRUNCATE staged_events;

-- adopt_staged: rows stored before are skipped, which is what makes a resend safe; so is a row that was sent before with the
-- same time by a clock then broken, and stands under its repaired time. Returns the keys of the stored ones, 24 bytes each.
WITH adopted AS (
    INSERT INTO playback_events ({columns})
    SELECT {columns} FROM staged_events AS staged
     WHERE NOT EXISTS (
        SELECT FROM clock_repairs AS repair
         WHERE repair.event_id = staged.event_id AND repair.raw_occurred_at = staged.occurred_at
           AND repair.occurred_at <> staged.occurred_at)
    ON CONFLICT (occurred_at, event_id) DO NOTHING
    RETURNING occurred_at, event_id)
SELECT coalesce(string_agg(timestamptz_send(occurred_at) || uuid_send(event_id), ''::bytea), ''::bytea) FROM adopted;

-- repeat_row: the $1-th of the latest rows once more, under a new id; nothing where there is none
INSERT INTO playback_events ({columns})
SELECT {values} FROM (SELECT * FROM playback_events ORDER BY occurred_at DESC OFFSET $1 LIMIT 1) AS taken
RETURNING true;

-- remember_repairs: times outside the door's window become the first receive time, unless the row is there as sent already
INSERT INTO clock_repairs (event_id, raw_occurred_at, occurred_at)
SELECT event_id, raw_occurred_at, received_at
  FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS sent (event_id, raw_occurred_at, received_at)
 WHERE NOT EXISTS (
    SELECT FROM playback_events AS event
     WHERE event.occurred_at = sent.raw_occurred_at AND event.event_id = sent.event_id)
ON CONFLICT DO NOTHING;

-- recall_repairs: what this or another drain remembered first; a statement of its own, so that it sees the other's
SELECT sent.number - 1 AS number, timestamptz_send(repair.occurred_at) AS occurred_at
  FROM unnest($1::uuid[], $2::timestamptz[]) WITH ORDINALITY AS sent (event_id, raw_occurred_at, number)
  JOIN clock_repairs AS repair USING (event_id, raw_occurred_at);

-- repaired_lately: ids whose time as sent is between $1 and $2, where a resend may look sane.
-- $3: at most so many; $4: repaired since; $5: seconds by which the next look has to overlap this one, for what is repaired and
-- not committed yet. Returns since when the next has to look, and the ids, 16 bytes each.
SELECT now() - $5::bigint * interval '1 second' AS since, coalesce(string_agg(id, ''::bytea), ''::bytea) AS ids
  FROM (SELECT DISTINCT uuid_send(event_id) AS id FROM clock_repairs
         WHERE repaired_at > $4 AND raw_occurred_at BETWEEN $1 AND $2
         LIMIT $3) AS repaired;

-- signs: of a month's rows received since $1 what the counters read of an event, as the first columns of its tuple in the
-- spool, `sequence` the last: the time is as the player sent it, also where a broken clock's was repaired. {table} is the
-- month's, {which} narrows the events down
SELECT event.event_id, event.content_id, event.session_id, coalesce(repair.raw_occurred_at, event.occurred_at),
       event.received_at, event.event_type, event.test, event.sent_at, event.sequence
  FROM {table} AS event
  LEFT JOIN clock_repairs AS repair ON repair.event_id = event.event_id AND repair.occurred_at = event.occurred_at
 WHERE event.received_at >= $1 AND NOT event.test AND {which};

-- derived_session: of a transaction that derives. What a crash takes of it, it takes with the position, so no commit waits for
-- the disk; and a batch meets large tables by their keys, however few rows the planner believes them to have
SET LOCAL synchronous_commit = off;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_seqscan = off;

-- views_turn: one transaction counts views at a time, whichever node it is of: firsts and sums are met in any order
SELECT pg_advisory_xact_lock(hashtextextended('content_views_hourly', 0));

-- count_views: firsts as {sent} says them, and what they change in the sums; an hour from $1 on and before $2 is kept. Returns
-- how many views are new or moved. A sum is taken from by an UPDATE, as an INSERT of less than 0 fails its CHECK
WITH {sent}, moved AS (
    INSERT INTO view_firsts AS known (session_id, content_id, hour, counted)
    SELECT session_id, content_id, hour, hour >= $1::int AND hour < $2::int FROM sent
    ON CONFLICT (session_id, content_id) DO UPDATE
       SET hour = excluded.hour, counted = excluded.counted, seen_at = now(),
           moved_from = CASE WHEN known.counted THEN known.hour END
     WHERE excluded.hour < known.hour
    RETURNING content_id, hour, counted, moved_from
), delta AS (
    SELECT content_id, to_timestamp(hour * 3600::float8) AS hour, sum(views) AS views
      FROM (SELECT content_id, hour, 1 AS views FROM moved WHERE counted
            UNION ALL
            SELECT content_id, moved_from, -1 FROM moved WHERE moved_from IS NOT NULL) AS step
     GROUP BY 1, 2
), added AS (
    INSERT INTO content_views_hourly AS sums (content_id, hour, views)
    SELECT content_id, hour, views FROM delta WHERE views > 0
    ON CONFLICT (content_id, hour) DO UPDATE SET views = sums.views + excluded.views
), taken AS (
    UPDATE content_views_hourly AS sums SET views = sums.views + delta.views
      FROM delta WHERE delta.views < 0 AND sums.content_id = delta.content_id AND sums.hour = delta.hour
)
SELECT count(*) FROM moved;

-- views_of_frames: the {sent} of $3: session, content, hour since 1970 (little-endian) of each view, 36 bytes, one behind the other
sent AS (
    SELECT encode(substring($3::bytea FROM at + 1 FOR 16), 'hex')::uuid AS session_id,
           encode(substring($3::bytea FROM at + 17 FOR 16), 'hex')::uuid AS content_id,
           min(get_byte($3::bytea, at + 32) | (get_byte($3::bytea, at + 33) << 8)
               | (get_byte($3::bytea, at + 34) << 16) | (get_byte($3::bytea, at + 35) << 24)) AS hour
      FROM generate_series(0, length($3::bytea) - 36, 36) AS at
     GROUP BY 1, 2
);

-- stood_of_store: before {sent}, in the same snapshot as the rows: the positions up to which the store has them
stood AS (
    INSERT INTO ingest_positions AS position (reader, incarnation, sequence)
    SELECT 'derived', incarnation, sequence FROM ingest_positions WHERE reader = 'postgres'
    ON CONFLICT (reader, incarnation) DO UPDATE
       SET sequence = greatest(position.sequence, excluded.sequence), updated_at = now()
);

-- stood_elsewhere: the same where another store has the rows, which was read behind these positions
INSERT INTO ingest_positions AS position (reader, incarnation, sequence)
SELECT $1, incarnation, sequence FROM unnest($2::uuid[], $3::bigint[]) AS stood (incarnation, sequence)
ON CONFLICT (reader, incarnation) DO UPDATE
   SET sequence = greatest(position.sequence, excluded.sequence), updated_at = now();

-- make_loaded: the names of what another store keeps; they come first in the search path, and end with the connection
DROP TABLE IF EXISTS pg_temp.playback_events, pg_temp.clock_repairs;
CREATE TEMPORARY TABLE playback_events (LIKE playback_events INCLUDING DEFAULTS);
CREATE TEMPORARY TABLE clock_repairs (LIKE clock_repairs INCLUDING DEFAULTS);

-- analyze_loaded: nobody else does it to temporary tables
ANALYZE pg_temp.playback_events; ANALYZE pg_temp.clock_repairs;

-- drop_loaded: they are in nobody's way any more
DROP TABLE pg_temp.playback_events, pg_temp.clock_repairs;

-- views_of_table: the {sent} of the rows received since $5. $3: seconds that a sane clock may be off, $4: how far a corrected
-- time may lie ahead of its receipt
sent AS (
    SELECT event.session_id, event.content_id, (floor(extract(epoch FROM min(
               CASE WHEN abs(extract(epoch FROM event.received_at - event.sent_at)) > $3::int
                    THEN event.received_at
                         + least(coalesce(repair.raw_occurred_at, event.occurred_at) - event.sent_at, $4::interval)
                    ELSE event.occurred_at END)) / 3600))::int AS hour
      FROM playback_events AS event
      LEFT JOIN clock_repairs AS repair ON repair.event_id = event.event_id AND repair.occurred_at = event.occurred_at
     WHERE event.event_type = 'play' AND NOT event.test AND event.received_at >= $5::timestamptz
     GROUP BY 1, 2
);

-- forget_everything: of the derived reader, before its views are counted anew
WITH firsts AS (DELETE FROM view_firsts), sums AS (DELETE FROM content_views_hourly)
DELETE FROM ingest_positions WHERE reader = 'derived';

-- register: after the backfill, in its transaction
INSERT INTO ingest_registration (reader) VALUES ($1) ON CONFLICT DO NOTHING;

-- backfill: how far the one of $1, which has another store's rows, has come; NULL when none is under way
SELECT totals::text FROM ingest_positions WHERE reader = 'derived_backfill' AND incarnation = $1;

-- keep_backfill: in the transaction of its piece
INSERT INTO ingest_positions AS position (reader, incarnation, sequence, totals)
VALUES ('derived_backfill', $1, 0, $2::text::jsonb)
ON CONFLICT (reader, incarnation) DO UPDATE SET totals = excluded.totals, updated_at = now();

-- end_backfill: in the transaction of its last piece
DELETE FROM ingest_positions WHERE reader = 'derived_backfill' AND incarnation = $1;

-- forget_views: settled before $1, at most $2
DELETE FROM view_firsts WHERE ctid = ANY (ARRAY(SELECT ctid FROM view_firsts WHERE seen_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED));

-- accounts: plan, streams that it allows at once, and profiles of those whose the profiles $1 are, and of the users $2
SELECT account.id, account.subscription_tier AS plan, plan.max_streams AS streams_max,
       ARRAY(SELECT profile.id FROM profiles AS profile WHERE profile.user_id = account.id ORDER BY profile.slot) AS profiles
  FROM users AS account
  LEFT JOIN subscription_plans AS plan ON plan.name = account.subscription_tier
 WHERE account.id IN (
    SELECT profile.user_id FROM profiles AS profile WHERE profile.id = ANY($1::uuid[]) UNION SELECT unnest($2::uuid[]));

-- hotness: of content $1
SELECT content_id, hotness_score, view_count_24h, view_count_7d, view_count_30d, replication_tier, ttl_hint, updated_at
  FROM content_hotness WHERE content_id = $1;

-- hottest: of replication tier $1, or of all, the first $2
SELECT content_id, hotness_score, view_count_24h, view_count_7d, view_count_30d, replication_tier, ttl_hint, updated_at
  FROM content_hotness WHERE $1::int IS NULL OR replication_tier = $1
 ORDER BY hotness_score DESC, content_id LIMIT $2;

-- fill_aliases: names of contents, those that are new
INSERT INTO content_alias (content_id, owner, alias)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) ON CONFLICT (content_id) DO NOTHING;

-- content_names: of the contents $1, the title that the catalogue has, else what players call it
SELECT wanted.id, coalesce(content.title, content_alias.alias) AS name
  FROM unnest($1::uuid[]) AS wanted (id)
  LEFT JOIN content ON content.id = wanted.id
  LEFT JOIN content_alias ON content_alias.content_id = wanted.id
 WHERE coalesce(content.title, content_alias.alias) IS NOT NULL;
