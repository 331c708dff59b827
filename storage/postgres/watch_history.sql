-- Every statement of watch history. "-- name: what it does" begins one; storage.postgres.statement reads them.
--
-- {sent}, {newest}, {newer}, {completed} and {packed} stand for the statements of these names: a rule is written once.
-- `excluded` is what was sent and `known` what stands there already, in an UPDATE as in ON CONFLICT.

-- sent: entries as storage.watch.ENTRY, one behind the other in $1
sent AS MATERIALIZED (
    SELECT entry, profile_id, content_id, position, duration, watched_at, {completed} AS completed, position_at, position_order,
           at_end, duration_at
      FROM (SELECT entry, substring(hex FROM 1 FOR 32)::uuid AS profile_id, substring(hex FROM 33 FOR 32)::uuid AS content_id,
                   {moment_65} AS watched_at, {moment_81} AS position_at,
                   ('x' || substring(hex FROM 97 FOR 16))::bit(64)::bigint AS position_order,
                   ('x' || substring(hex FROM 113 FOR 8))::bit(32)::int AS position,
                   substring(hex FROM 121 FOR 2) = '01' AS at_end, {moment_123} AS duration_at,
                   ('x' || substring(hex FROM 139 FOR 8))::bit(32)::int AS duration
              FROM (SELECT entry, encode(entry, 'hex') AS hex
                      FROM generate_series(1, length($1::bytea), 73) AS at, substring($1::bytea FROM at FOR 73) AS entry) AS cut
           ) AS read
)

-- moment: the time at {at} in `hex`; the least number is -infinity
coalesce(timestamp '2000-01-01' + nullif(('x' || substring(hex FROM {at} FOR 16))::bit(64)::bigint, -9223372036854775808)
                                  * interval '1 microsecond', '-infinity')

-- completed: the player said so, or 95 % are watched
(at_end OR (duration > 0 AND position * 20::bigint >= duration * 19::bigint))

-- newest: what becomes of `known` when `excluded` is sent: of place and length each the newer, whole
(watched_at, position_at, position_order, at_end, position, duration_at, duration, completed) = (
    SELECT greatest(known.watched_at, excluded.watched_at), place.*, length.*, {completed}
      FROM (VALUES (known.position_at, known.position_order, known.at_end, coalesce(known.position, 0)),
                   (excluded.position_at, excluded.position_order, excluded.at_end, excluded.position)
             ORDER BY 1 DESC, 2 DESC, 3 DESC, 4 DESC LIMIT 1) AS place (position_at, position_order, at_end, position),
           (VALUES (known.duration_at, coalesce(known.duration, 0)), (excluded.duration_at, excluded.duration)
             ORDER BY 1 DESC, 2 DESC LIMIT 1) AS length (duration_at, duration))

-- newer: whether that changes anything
(excluded.watched_at > coalesce(known.watched_at, '-infinity')
    OR (excluded.position_at, excluded.position_order, excluded.at_end, excluded.position)
       > (known.position_at, known.position_order, known.at_end, coalesce(known.position, 0))
    OR (excluded.duration_at, excluded.duration) > (known.duration_at, coalesce(known.duration, 0)))

-- keep: entries into watch_history, those whose profile or content is unknown left out; returns these as they came, NULL when
-- there is none. It waits for nobody but who is inserting the same key, in the order of keys, so it is in no deadlock, of ours
-- or the platform's: a row, profile or content that somebody else has locked (a profile that is being deleted) is left out too.
-- Profiles and contents are locked only for rows that are new, and before these are inserted: no foreign key can fail.
WITH {sent}, met AS MATERIALIZED (
    SELECT excluded.*, known.id, {newer} AS is_newer
      FROM sent AS excluded
      LEFT JOIN watch_history AS known USING (profile_id, content_id)
), held AS MATERIALIZED (
    SELECT id FROM watch_history WHERE id IN (SELECT id FROM met WHERE is_newer) FOR NO KEY UPDATE SKIP LOCKED
), fresh AS MATERIALIZED (
    SELECT met.*, content.type AS content_type
      FROM met
      JOIN profiles ON profiles.id = met.profile_id
      JOIN content ON content.id = met.content_id
     WHERE met.id IS NULL
       FOR KEY SHARE OF profiles, content SKIP LOCKED
), moved AS (
    UPDATE watch_history AS known SET {newest}
      FROM met AS excluded
      JOIN held USING (id)
     WHERE known.id = held.id AND {newer}
), added AS (
    INSERT INTO watch_history (profile_id, content_id, content_type, position, duration, watched_at, completed, position_at,
                               position_order, at_end, duration_at)
    SELECT profile_id, content_id, content_type, position, duration, watched_at, completed, position_at, position_order, at_end,
           duration_at
      FROM fresh
     ORDER BY profile_id, content_id
    ON CONFLICT (profile_id, content_id) DO NOTHING
    RETURNING profile_id, content_id
)
SELECT string_agg(entry, ''::bytea ORDER BY profile_id, content_id)
  FROM met
 WHERE CASE WHEN id IS NULL THEN (profile_id, content_id) NOT IN (SELECT profile_id, content_id FROM added)
            ELSE is_newer AND id NOT IN (SELECT id FROM held) END;

-- leave_waiting: entries into watch_history_waiting
WITH {sent}
INSERT INTO watch_history_waiting AS known (profile_id, content_id, position, duration, watched_at, completed, position_at,
                                            position_order, at_end, duration_at)
SELECT profile_id, content_id, position, duration, watched_at, completed, position_at, position_order, at_end, duration_at
  FROM sent
 ORDER BY profile_id, content_id
ON CONFLICT (profile_id, content_id) DO UPDATE SET waiting_since = now(), {newest} WHERE {newer};

-- packed: of a row, or of a column list of the same names, its entry
(uuid_send(profile_id) || uuid_send(content_id) || timestamp_send(watched_at) || timestamp_send(position_at)
    || int8send(position_order) || int4send(position) || boolsend(at_end) || timestamp_send(duration_at) || int4send(duration))

-- known_now: entries that wait and need not any more, at most $1; NULL when there is none
SELECT string_agg({packed}, ''::bytea)
  FROM (SELECT * FROM watch_history_waiting AS waiting
         WHERE EXISTS (SELECT FROM profiles WHERE id = waiting.profile_id)
           AND EXISTS (SELECT FROM content WHERE id = waiting.content_id)
         LIMIT $1) AS known;

-- adopted: these entries wait no more, save those that have become newer meanwhile
DELETE FROM watch_history_waiting
 WHERE ctid = ANY (ARRAY(
    SELECT waiting.ctid
      FROM (SELECT entry, encode(substring(entry FROM 1 FOR 16), 'hex')::uuid AS profile_id,
                   encode(substring(entry FROM 17 FOR 16), 'hex')::uuid AS content_id
              FROM unnest($1::bytea[]) AS entry) AS gone
      JOIN watch_history_waiting AS waiting USING (profile_id, content_id)
     WHERE {packed} = entry
       FOR UPDATE OF waiting SKIP LOCKED));

-- give_up: those that have waited for more than $2 at $1, at most $3; by the earlier of our clock and the server's
DELETE FROM watch_history_waiting
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM watch_history_waiting WHERE waiting_since < least($1::timestamptz, now()) - $2::interval
                           LIMIT $3 FOR UPDATE SKIP LOCKED));

-- stored: an entry for each profile and content of the rows received since $1, in the order of keys, by the rules of
-- storage.watch. $2: the event types that are signs; $3: seconds that a sane clock may be off; $4: how far a corrected time may
-- lie ahead of its receipt. An array is greater as a tuple is, and the least number stands for -infinity
SELECT uuid_send(profile_id) || uuid_send(content_id) || int8send(at_us) || int8send(place[1]) || int8send(place[2])
           || int4send(place[4]::int) || boolsend(place[3] = 1) || int8send(length[1]) || int4send(length[2]::int) AS entry
  FROM (SELECT profile_id, content_id, max(at_us) AS at_us,
               coalesce(max(ARRAY[at_us, coalesce(sequence, time_us + 946684800000000), at_end::int,
                                  coalesce(position, duration, 0)])
                            FILTER (WHERE position IS NOT NULL OR at_end), ARRAY[-9223372036854775808, 0, 0, 0]) AS place,
               coalesce(max(ARRAY[at_us, coalesce(duration, position)])
                            FILTER (WHERE duration IS NOT NULL OR at_end AND position > 0),
                        ARRAY[-9223372036854775808, 0]) AS length
          FROM (SELECT profile_id, content_id, sequence, position, duration, at_end, time_us, least(time_us, received_us) AS at_us
                  FROM (SELECT event.profile_id, event.content_id, event.sequence, event.position,
                               nullif(event.duration, 0) AS duration, event.event_type = 'completed' AS at_end,
                               (extract(epoch FROM CASE
                                   WHEN abs(extract(epoch FROM event.received_at - event.sent_at)) > $3::int
                                   THEN event.received_at
                                        + least(coalesce(repair.raw_occurred_at, event.occurred_at) - event.sent_at, $4::interval)
                                   ELSE event.occurred_at END) * 1000000)::bigint - 946684800000000 AS time_us,
                               (extract(epoch FROM event.received_at) * 1000000)::bigint - 946684800000000 AS received_us
                          FROM playback_events AS event
                          LEFT JOIN clock_repairs AS repair
                                 ON repair.event_id = event.event_id AND repair.occurred_at = event.occurred_at
                         WHERE event.profile_id IS NOT NULL AND NOT event.test AND event.event_type = ANY ($2::text[])
                           AND event.received_at >= $1::timestamptz) AS timed) AS sign
         GROUP BY 1, 2) AS newest
 ORDER BY profile_id, content_id;
