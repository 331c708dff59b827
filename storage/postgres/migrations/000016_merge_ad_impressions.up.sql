-- What the merge of ad events needs to know of an impression beside the times, so that any order and any repetition of
-- arrivals gives the same row and the same figures (ad_campaign_hours, ad_frequencies).

ALTER TABLE ad_impressions
    ADD COLUMN duration      INT,                               -- milliseconds, of the ad
    -- Events without a time column, each once, sorted: `minimize`, `progress 00:00:05`. At most 100; more are repeats.
    ADD COLUMN other_events  TEXT[],
    -- How many of its events are in this row, each (event, offset) once, and how often one came that was there already.
    -- Written by the merge and not generated: an expression of so many columns would be read from the catalogue for each of
    -- the partitions by every merge, which takes longer than to compute it.
    ADD COLUMN events        BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN repeats       BIGINT NOT NULL DEFAULT 0,
    -- An attribute is what the event said that was received first of those that name it (of several at once, the least).
    -- These say when that was; null where it was with the row's first event, at received_at, as it mostly is.
    ADD COLUMN campaign_id_told_at TIMESTAMPTZ,
    ADD COLUMN creative_id_told_at TIMESTAMPTZ,
    ADD COLUMN content_id_told_at  TIMESTAMPTZ,
    ADD COLUMN profile_id_told_at  TIMESTAMPTZ,
    ADD COLUMN session_id_told_at  TIMESTAMPTZ,
    ADD COLUMN error_code_told_at  TIMESTAMPTZ,
    ADD COLUMN duration_told_at    TIMESTAMPTZ;

-- Rows that others have made: each event of theirs came once.
UPDATE ad_impressions SET events = num_nonnulls(
    loaded_at, impression_at, creative_view_at, start_at, first_quartile_at, midpoint_at, third_quartile_at, complete_at,
    click_at, skip_at, pause_at, resume_at, rewind_at, mute_at, unmute_at, fullscreen_at, exit_fullscreen_at, expand_at,
    collapse_at, accept_invitation_at, close_at, viewable_at, not_viewable_at, view_undetermined_at, error_at);

ALTER TABLE ad_impressions
    -- No player shows an ad like this: a stage more than 5 s before an earlier one (of those that came), or its end sooner
    -- than 1 s, or than half its duration less 1 s, after its start. Kept as evidence, in no figure but `implausible`.
    ADD COLUMN implausible BOOLEAN NOT NULL GENERATED ALWAYS AS (coalesce(
        impression_at - start_at > interval '5 s', FALSE) OR coalesce(
        greatest(impression_at, start_at) - first_quartile_at > interval '5 s', FALSE) OR coalesce(
        greatest(impression_at, start_at, first_quartile_at) - midpoint_at > interval '5 s', FALSE) OR coalesce(
        greatest(impression_at, start_at, first_quartile_at, midpoint_at) - third_quartile_at > interval '5 s', FALSE) OR
        coalesce(greatest(impression_at, start_at, first_quartile_at, midpoint_at, third_quartile_at) - complete_at
            > interval '5 s', FALSE) OR coalesce(
        complete_at - start_at < interval '1 s', FALSE) OR coalesce(
        complete_at - start_at < duration * interval '0.0005 s' - interval '1 s', FALSE)) STORED;

-- Events in rows that no position has booked: what `verify` leaves out. Below 0 where a down took some that were booked.
CREATE TABLE ad_events_adopted (events BIGINT NOT NULL);
INSERT INTO ad_events_adopted
SELECT (SELECT coalesce(sum(events), 0) FROM ad_impressions)
     - (SELECT coalesce(sum((totals->'months'->'ads'->>'rows')::bigint), 0) FROM ingest_positions WHERE reader = 'postgres');

-- Figures are a function of the rows: those of rows that are there are made here, and the merge moves them from there on.
DELETE FROM ad_campaign_hours;
INSERT INTO ad_campaign_hours (campaign_id, hour, impressions, starts, first_quartiles, midpoints, third_quartiles, completions,
                               clicks, skips, errors, viewables, implausible, tests)
SELECT campaign_id, date_bin('1 hour', figure.at, 'epoch'),
       count(*) FILTER (WHERE name = 'impressions'), count(*) FILTER (WHERE name = 'starts'),
       count(*) FILTER (WHERE name = 'first_quartiles'), count(*) FILTER (WHERE name = 'midpoints'),
       count(*) FILTER (WHERE name = 'third_quartiles'), count(*) FILTER (WHERE name = 'completions'),
       count(*) FILTER (WHERE name = 'clicks'), count(*) FILTER (WHERE name = 'skips'),
       count(*) FILTER (WHERE name = 'errors'), count(*) FILTER (WHERE name = 'viewables'),
       count(*) FILTER (WHERE name = 'implausible'), count(*) FILTER (WHERE name = 'tests')
  FROM ad_impressions
 CROSS JOIN LATERAL (
    SELECT name, at
      FROM (VALUES ('impressions', impression_at), ('starts', start_at), ('first_quartiles', first_quartile_at),
                   ('midpoints', midpoint_at), ('third_quartiles', third_quartile_at), ('completions', complete_at),
                   ('clicks', click_at), ('skips', skip_at), ('errors', error_at), ('viewables', viewable_at)) AS one (name, at)
     WHERE NOT test AND NOT implausible AND at IS NOT NULL
    UNION ALL
    SELECT CASE WHEN test THEN 'tests' ELSE 'implausible' END, received_at WHERE test OR implausible) AS figure
 WHERE campaign_id IS NOT NULL
 GROUP BY campaign_id, date_bin('1 hour', figure.at, 'epoch');

DELETE FROM ad_frequencies;
INSERT INTO ad_frequencies (campaign_id, profile_id, day, impressions)
SELECT campaign_id, profile_id, (impression_at AT TIME ZONE 'UTC')::date, count(*)
  FROM ad_impressions
 WHERE campaign_id IS NOT NULL AND profile_id IS NOT NULL AND impression_at IS NOT NULL AND NOT test AND NOT implausible
 GROUP BY 1, 2, 3;

INSERT INTO ad_campaign_stale (campaign_id) SELECT DISTINCT campaign_id FROM ad_campaign_hours;
