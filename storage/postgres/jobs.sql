-- Every statement of the jobs. "-- name: what it does" begins one; storage.postgres.statement reads them.

-- job_session: what a crash takes of a turn, the next one writes again; so no commit of theirs waits for the disk
SET synchronous_commit = off;

-- lock_job: whether nobody else runs job $1 now; held until it is let go, or this connection ends
SELECT pg_try_advisory_lock(hashtextextended('ingest_jobs:' || $1::text, 0));

-- unlock_job: of job $1
SELECT pg_advisory_unlock(hashtextextended('ingest_jobs:' || $1::text, 0));

-- begin_job: job $1 begins, if it did not in the last $2; under its lock. Nothing when it is not due. One that failed, or whose
-- gateway died in the middle, is due again after ten minutes at most
INSERT INTO ingest_jobs AS job (name, started_at) VALUES ($1, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, ended_at = NULL, outcome = NULL, detail = NULL
 WHERE job.started_at > excluded.started_at
    OR job.started_at <= excluded.started_at
           - CASE WHEN job.outcome = 'done' THEN $2::interval ELSE least($2::interval, interval '10 minutes') END
RETURNING started_at;

-- end_job: how it ended
UPDATE ingest_jobs SET ended_at = clock_timestamp(), outcome = $2::text, detail = $3,
       done_at = CASE WHEN $2::text = 'done' THEN clock_timestamp() ELSE done_at END
 WHERE name = $1;

-- channels: the contents of all live channels
SELECT DISTINCT content_id::text AS content_id FROM live_channels;

-- follow_channels: contents $1 have viewers $2; a channel is live from its first viewer on, and until nobody has watched it for $3.
-- Only what changes is written; returns how many channels were
WITH counted AS (
    SELECT channel.id, channel.is_live, channel.viewer_count, said.viewers, silence.since
      FROM unnest($1::uuid[], $2::int[]) AS said (content_id, viewers)
      JOIN live_channels AS channel USING (content_id)
      LEFT JOIN live_channel_silences AS silence ON silence.channel_id = channel.id
), silenced AS (
    INSERT INTO live_channel_silences (channel_id, since)
    SELECT id, now() FROM counted WHERE viewers = 0 AND viewer_count > 0 AND since IS NULL
    ON CONFLICT DO NOTHING
), heard AS (
    DELETE FROM live_channel_silences USING counted
     WHERE channel_id = counted.id AND (viewers > 0 OR counted.since <= now() - $3::interval)
), changed AS (
    UPDATE live_channels AS channel
       SET viewer_count = viewers,
           is_live = CASE WHEN viewers > 0 THEN TRUE WHEN since <= now() - $3::interval THEN FALSE
                          ELSE channel.is_live END
      FROM counted
     WHERE channel.id = counted.id
       AND (channel.viewer_count IS DISTINCT FROM viewers
            OR viewers > 0 AND channel.is_live IS DISTINCT FROM TRUE
            OR viewers = 0 AND since <= now() - $3::interval AND channel.is_live)
    RETURNING 1
)
SELECT count(*) FROM changed;

-- begin_silences_anew: where no gateway has done job $1 in the last $2, who came meanwhile may not have been heard of yet
UPDATE live_channel_silences SET since = now()
 WHERE NOT EXISTS (SELECT FROM ingest_jobs WHERE name = $1 AND done_at > clock_timestamp() - $2::interval);

-- write_hotness: by counts of views; how many rows changed
SELECT write_content_hotness($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- update_hotness: by the hourly sums as of $1; how many rows changed
SELECT update_content_hotness($1, $2, $3, $4, $5, $6, $7);

-- views_in_windows: what the hourly sums have as of $1
SELECT content_id::text AS content_id, views_30d FROM content_views_in_windows($1);

-- refresh_popularity: readers go on with the figures of before meanwhile
REFRESH MATERIALIZED VIEW CONCURRENTLY content_popularity;
