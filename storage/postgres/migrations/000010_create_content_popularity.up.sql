-- Figures a content for dashboards (spec §4), refreshed daily.
--
-- Read from the derived tables, never from playback_events: they hold each fact once (one row a profile and content),
-- while a refresh over events would scan every month that is kept to count again what has been counted already. Each
-- source is summed by itself before the join, or rows would multiply each other.
--
--   unique_viewers   profiles that have watched it
--   total_views      views as hotness counts them, (session, content); where the hourly sums do not reach back as far
--                    as watch history does, each of its rows is at least one view
--   completion_rate  percent of the unique viewers who have finished it; null while there is none
--   average_rating   stars, 1 to 5; null while there is none
--   watchlist_count  profiles that have it on their list
CREATE MATERIALIZED VIEW content_popularity AS
SELECT content.id AS content_id,
       content.title,
       content.type AS content_type,
       coalesce(watched.viewers, 0) AS unique_viewers,
       greatest(coalesce(viewed.views, 0), coalesce(watched.viewers, 0))::bigint AS total_views,
       round(100.0 * watched.finished / watched.viewers, 2) AS completion_rate,
       round(rated.average, 2) AS average_rating,
       coalesce(listed.profiles, 0) AS watchlist_count
FROM content
LEFT JOIN (SELECT content_id, count(*) AS viewers, count(*) FILTER (WHERE completed) AS finished
           FROM watch_history GROUP BY content_id) AS watched ON watched.content_id = content.id
LEFT JOIN (SELECT content_id, sum(views) AS views
           FROM content_views_hourly GROUP BY content_id) AS viewed ON viewed.content_id = content.id
LEFT JOIN (SELECT content_id, avg(rating) AS average
           FROM ratings GROUP BY content_id) AS rated ON rated.content_id = content.id
LEFT JOIN (SELECT content_id, count(*) AS profiles
           FROM watchlist GROUP BY content_id) AS listed ON listed.content_id = content.id;

-- REFRESH … CONCURRENTLY needs a unique index over all rows.
CREATE UNIQUE INDEX idx_content_popularity_content_id ON content_popularity (content_id);
CREATE INDEX idx_content_popularity_total_views ON content_popularity (total_views DESC);
