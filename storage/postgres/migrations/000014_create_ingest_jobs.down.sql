DROP TABLE live_channel_silences;
DROP TABLE ingest_jobs;
DROP FUNCTION update_content_hotness(timestamptz, numeric, numeric, numeric, int, int, int);
DROP FUNCTION content_views_in_windows(timestamptz);
DROP FUNCTION write_content_hotness(uuid[], bigint[], bigint[], bigint[], numeric, numeric, numeric, int, int, int);

-- As 000008 has it.
CREATE FUNCTION update_content_hotness(as_of timestamptz DEFAULT now()) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    running_hour CONSTANT timestamptz := date_trunc('hour', as_of, 'UTC');
    changed bigint;
BEGIN
    -- Two runs at once would only wait for each other's rows, or deadlock.
    PERFORM pg_advisory_xact_lock(hashtextextended('update_content_hotness', 0));

    INSERT INTO content_hotness AS old
        (content_id, hotness_score, view_count_24h, view_count_7d, view_count_30d,
         replication_tier, ttl_hint, updated_at)
    WITH sums AS (
        SELECT content_id,
               coalesce(sum(views) FILTER (WHERE hour > running_hour - interval '24 hours'), 0) AS views_24h,
               coalesce(sum(views) FILTER (WHERE hour > running_hour - interval '168 hours'), 0) AS views_7d,
               sum(views) AS views_30d
        FROM content_views_hourly
        WHERE hour > running_hour - interval '720 hours' AND hour <= running_hour
        GROUP BY content_id
    ), counted AS (
        SELECT content.id AS content_id,
               coalesce(views_24h, 0) AS views_24h,
               coalesce(views_7d, 0) AS views_7d,
               coalesce(views_30d, 0) AS views_30d
        FROM content
        LEFT JOIN sums ON sums.content_id = content.id
        LEFT JOIN content_hotness AS known ON known.content_id = content.id
        WHERE sums.content_id IS NOT NULL OR known.content_id IS NOT NULL
    ), scored AS (
        SELECT *, least(1, (views_24h * 0.5 + views_7d * 0.3 + views_30d * 0.2) / 10000) AS score FROM counted
    ), tiered AS (
        SELECT *, CASE WHEN score >= 0.8 THEN 1 WHEN score >= 0.5 THEN 2 ELSE 3 END AS tier FROM scored
    )
    SELECT content_id, score, least(views_24h, 2147483647), least(views_7d, 2147483647), least(views_30d, 2147483647),
           -- The hotter, the longer an edge may keep it: a day, six hours, one.
           tier, CASE tier WHEN 1 THEN 86400 WHEN 2 THEN 21600 ELSE 3600 END, CURRENT_TIMESTAMP
    FROM tiered ORDER BY content_id
    ON CONFLICT (content_id) DO UPDATE SET
        hotness_score = excluded.hotness_score, view_count_24h = excluded.view_count_24h,
        view_count_7d = excluded.view_count_7d, view_count_30d = excluded.view_count_30d,
        replication_tier = excluded.replication_tier, ttl_hint = excluded.ttl_hint, updated_at = excluded.updated_at
    -- A row that stays as it is is not written: most titles of a large catalogue do.
    WHERE (old.hotness_score, old.view_count_24h, old.view_count_7d,
           old.view_count_30d, old.replication_tier, old.ttl_hint)
        IS DISTINCT FROM (excluded.hotness_score, excluded.view_count_24h, excluded.view_count_7d,
                          excluded.view_count_30d, excluded.replication_tier, excluded.ttl_hint);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END $$;
