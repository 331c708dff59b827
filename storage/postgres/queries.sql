-- Every statement of the drain. "-- name: what it does" begins one; storage.postgres.statement reads them.
-- {columns} is the column list of a frame's schema id.

-- session: a drain that was stopped in the middle lets go of its locks; a lock that never comes is an outage; keepalives from
-- the server's side find a lost drain and keep the idle connection alive in firewalls; JIT compiles for longer than we run
SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '20s'; SET jit = off; SET timezone = 'UTC';

-- durability: what a commit is worth here
SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       pg_is_in_recovery() AS standby;

-- registration: missing means that this is not the database the positions were kept in
SELECT registration_id FROM ingest_registration WHERE reader = $1;

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

-- account: a user's plan, how many streams it allows at once, and the profiles; nothing where there is no such user
SELECT account.subscription_tier AS plan, plan.max_streams AS streams_max,
       ARRAY(SELECT profile.id FROM profiles AS profile WHERE profile.user_id = account.id ORDER BY profile.slot) AS profiles
  FROM users AS account
  LEFT JOIN subscription_plans AS plan ON plan.name = account.subscription_tier
 WHERE account.id = $1;

-- accounts: the same of several: those whose the profiles $1 are, and the users $2
SELECT account.id, account.subscription_tier AS plan, plan.max_streams AS streams_max,
       ARRAY(SELECT profile.id FROM profiles AS profile WHERE profile.user_id = account.id ORDER BY profile.slot) AS profiles
  FROM users AS account
  LEFT JOIN subscription_plans AS plan ON plan.name = account.subscription_tier
 WHERE account.id IN (
    SELECT profile.user_id FROM profiles AS profile WHERE profile.id = ANY($1::uuid[]) UNION SELECT unnest($2::uuid[]));
