-- What the gateway does beside the flow, each by one gateway of a cluster at a time: when it was last begun and how that
-- ended. Whether a job is due is decided by this table and its own clock, whoever asks.
CREATE TABLE ingest_jobs (
    name       VARCHAR(50) PRIMARY KEY,
    started_at TIMESTAMPTZ NOT NULL,
    ended_at   TIMESTAMPTZ,                     -- NULL: it runs, or its gateway died
    outcome    VARCHAR(10) CHECK (outcome IN ('done', 'failed')),
    detail     TEXT,                            -- what it did, or why it could not
    done_at    TIMESTAMPTZ                      -- when a turn was last done, by whatever gateway
);

-- Since when a live channel that was watched has nobody. A row comes with the last viewer's going and goes with the next
-- one's coming, so a channel that nobody has watched yet is never ended.
CREATE TABLE live_channel_silences (
    channel_id UUID PRIMARY KEY REFERENCES live_channels (id) ON DELETE CASCADE,
    since      TIMESTAMPTZ NOT NULL
);

-- Brings content_hotness up to these counts of views, by the specification's score (§3.7) with its numbers as arguments;
-- returns how many rows changed. Contents that are not in the catalogue are left out until they are; one that is not
-- among `content_ids` any more falls to zero. One function for both who count, so they cannot differ in what they make of it.
CREATE FUNCTION write_content_hotness(
    content_ids uuid[], counts_24h bigint[], counts_7d bigint[], counts_30d bigint[],
    divisor numeric, score_global numeric, score_regional numeric, ttl_global int, ttl_regional int, ttl_on_demand int
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    -- Two runs at once would only wait for each other's rows, or deadlock.
    PERFORM pg_advisory_xact_lock(hashtextextended('update_content_hotness', 0));

    INSERT INTO content_hotness AS old
        (content_id, hotness_score, view_count_24h, view_count_7d, view_count_30d,
         replication_tier, ttl_hint, updated_at)
    WITH sums AS (
        SELECT * FROM unnest(content_ids, counts_24h, counts_7d, counts_30d)
            AS counted (content_id, views_24h, views_7d, views_30d)
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
        SELECT *, least(1, (views_24h * 0.5 + views_7d * 0.3 + views_30d * 0.2) / divisor) AS score FROM counted
    ), tiered AS (
        SELECT *, CASE WHEN score >= score_global THEN 1 WHEN score >= score_regional THEN 2 ELSE 3 END AS tier
        FROM scored
    )
    SELECT content_id, score, least(views_24h, 2147483647), least(views_7d, 2147483647), least(views_30d, 2147483647),
           tier, CASE tier WHEN 1 THEN ttl_global WHEN 2 THEN ttl_regional ELSE ttl_on_demand END, CURRENT_TIMESTAMP
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

-- Views of every content in the windows that hotness asks for, from the hourly sums: 24, 168 and 720 whole hours in UTC, the
-- last of them the running one. (Hours and not days, because an interval of days would follow the daylight saving of the
-- session's TimeZone.)
CREATE FUNCTION content_views_in_windows(as_of timestamptz)
RETURNS TABLE (content_id uuid, views_24h bigint, views_7d bigint, views_30d bigint) LANGUAGE sql STABLE AS $$
    SELECT sums.content_id,
           coalesce(sum(views) FILTER (WHERE hour > date_trunc('hour', as_of, 'UTC') - interval '24 hours'), 0)::bigint,
           coalesce(sum(views) FILTER (WHERE hour > date_trunc('hour', as_of, 'UTC') - interval '168 hours'), 0)::bigint,
           sum(views)::bigint
    FROM content_views_hourly AS sums
    WHERE hour > date_trunc('hour', as_of, 'UTC') - interval '720 hours' AND hour <= date_trunc('hour', as_of, 'UTC')
    GROUP BY sums.content_id
$$;

-- As before (000008), with the specification's numbers as arguments.
DROP FUNCTION update_content_hotness(timestamptz);
CREATE FUNCTION update_content_hotness(
    as_of timestamptz DEFAULT now(), divisor numeric DEFAULT 10000,
    score_global numeric DEFAULT 0.8, score_regional numeric DEFAULT 0.5,
    ttl_global int DEFAULT 86400, ttl_regional int DEFAULT 21600, ttl_on_demand int DEFAULT 3600
) RETURNS bigint LANGUAGE sql AS $$
    SELECT write_content_hotness(
        array_agg(content_id), array_agg(views_24h), array_agg(views_7d), array_agg(views_30d),
        divisor, score_global, score_regional, ttl_global, ttl_regional, ttl_on_demand)
    FROM content_views_in_windows(as_of)
$$;
