-- Statements of the merge of ad events. Lists of columns in braces are made by storage.postgres.ad_statement.

-- make_staged_ads: once a connection
CREATE TEMPORARY TABLE IF NOT EXISTS staged_ads (
    impression_id uuid NOT NULL, event varchar(32) COLLATE "C" NOT NULL, progress_offset varchar(32) COLLATE "C",
    occurred_at timestamptz NOT NULL, received_at timestamptz NOT NULL, test boolean NOT NULL,
    campaign_id uuid, creative_id varchar(100), content_id uuid, profile_id uuid, session_id uuid,
    error_code varchar(50), duration integer,
    event_number smallint GENERATED ALWAYS AS (CASE event {numbers} END) STORED) ON COMMIT DELETE ROWS;

-- clear_staged_ads: between the parts of a bisection
TRUNCATE staged_ads;

-- merge_turn: one transaction merges at a time, whichever node it is of. So what the merge reads of a row is what it changes,
-- and impressions and hours may be met in any order. It looks at large tables by their keys, however few rows the planner
-- believes them to have; so a join with anything but a table's key is a loop in a loop, and windows take the place of those.
-- One that was given up by who asked for it lets go of its turn
SET LOCAL statement_timeout = '24s';
SELECT pg_advisory_xact_lock(hashtextextended('ad_impressions', 0));
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;

-- merge_staged_ads: staged events into the rows of their impressions, and what that changes into the figures of campaigns.
-- Returns how many impressions there were, how many of these were written (fewer: somebody deleted one meanwhile), and which
-- of the staged events, counted from 0, were repeats
WITH several AS MATERIALIZED (
    SELECT impression_id FROM staged_ads GROUP BY impression_id HAVING count(*) > 1
), next AS (
    -- Most events come alone, are the next one of an impression that is known, and change nothing of it but their own time,
    -- which was not there: one look at the row, one figure. This is for speed: what follows would do the same with them
    UPDATE ad_impressions AS known SET events = known.events + 1, {next_times}
      FROM staged_ads AS staged
     WHERE staged.impression_id NOT IN (SELECT impression_id FROM several)
       AND known.impression_id = staged.impression_id
       AND CASE staged.event_number {next_cases} ELSE FALSE END
       AND staged.test = known.test
       AND staged.received_at > greatest(known.received_at, {told_at}) AND {same_attributes}
       AND (known.implausible OR staged.event_number > {stages_number} OR {in_turn})
    RETURNING known.impression_id, known.campaign_id AS campaign, known.profile_id AS profile, {counting} AS counts,
              staged.event, date_bin('1 hour', staged.occurred_at, 'epoch') AS hour
), fresh AS (
    -- Or it is the first of an impression that is not known: the same
    INSERT INTO ad_impressions AS known (impression_id, events, received_at, test, {attributes}, {times})
    SELECT impression_id, 1, received_at, test, {attributes},
           {single_times}
      FROM staged_ads AS staged
     WHERE impression_id NOT IN (SELECT impression_id FROM several)
       AND impression_id NOT IN (SELECT impression_id FROM next)
       AND event_number IS NOT NULL AND NOT test
       AND NOT EXISTS (SELECT FROM ad_impressions AS there WHERE there.impression_id = staged.impression_id)
    RETURNING known.impression_id, known.campaign_id, known.profile_id, {counting},
              CASE {first_cases} END, date_bin('1 hour', coalesce({figure_times}), 'epoch')
), simple AS MATERIALIZED (
    TABLE next UNION ALL TABLE fresh
), sent AS MATERIALIZED (
    -- of the others one row an impression, of one event or of several
    SELECT impression_id, 1::bigint AS arrivals, received_at, test,
           {single_times},
           {single_attributes},
           CASE WHEN event_number IS NULL THEN ARRAY[{other}] END AS other_events
      FROM staged_ads AS staged
     WHERE impression_id NOT IN (SELECT impression_id FROM several)
       AND impression_id NOT IN (SELECT impression_id FROM simple)
    UNION ALL
    SELECT impression_id, count(*), min(received_at), bool_or(test),
           {gathered_times},
           {gathered_attributes},
           (array_agg(DISTINCT {other}) FILTER (WHERE event_number IS NULL))[1:{others_max}]
      FROM (SELECT *, count(*) OVER (PARTITION BY impression_id) AS together FROM staged_ads) AS staged
     WHERE together > 1
     GROUP BY impression_id
), gathered AS (
    SELECT sent.impression_id, known.ctid AS place, sent.arrivals, known.events AS events_before,
           least(known.received_at, sent.received_at) AS received_at,
           sent.test OR coalesce(known.test, FALSE) AS test,
           {merged_times},
           {merged_attributes},
           CASE WHEN sent.other_events IS NULL OR known.other_events @> sent.other_events THEN known.other_events
                WHEN known.other_events IS NULL THEN sent.other_events
                ELSE ARRAY(SELECT DISTINCT unnest(known.other_events || sent.other_events) COLLATE "C" AS event
                            ORDER BY event LIMIT {others_max}) END AS other_events,
           known.campaign_id AS campaign_before, {counting} AS counts_before, {hours} AS hours_before,
           known.profile_id AS profile_before, known.repeats AS repeats_before,
           date_bin('1 hour', known.received_at, 'epoch') AS received_hour_before
      FROM sent
      LEFT JOIN ad_impressions AS known ON known.impression_id = sent.impression_id
    OFFSET 0    -- computed once, and not again for each use below
), merged AS MATERIALIZED (
    SELECT *, coalesce(repeats_before, 0) + arrivals - (events - coalesce(events_before, 0)) AS repeats
      FROM (SELECT *, num_nonnulls({times}) + coalesce(cardinality(other_events), 0)::bigint AS events
              FROM gathered OFFSET 0) AS counted
), changed AS (
    UPDATE ad_impressions AS known SET ({columns}) = ROW({merged_columns})
      FROM merged WHERE known.impression_id = merged.impression_id AND known.ctid = merged.place
    RETURNING known.impression_id, campaign_before, counts_before, hours_before, profile_before, repeats_before,
              received_hour_before, {behind}
), made AS (
    INSERT INTO ad_impressions AS known (impression_id, {columns})
    SELECT impression_id, {columns} FROM merged WHERE place IS NULL
    RETURNING impression_id, NULL::uuid, FALSE, NULL::timestamptz[], NULL::uuid, 0::bigint, NULL::timestamptz, {behind}
), step AS MATERIALIZED (
    -- an impression before and behind this: its campaign, the hour of each figure it counts in, in their order, and the rest
    TABLE changed UNION ALL TABLE made
), moved AS MATERIALIZED (
    SELECT * FROM (
        SELECT campaign_before, campaign, unnest(hours_before) AS hour_before, unnest(hours) AS hour,
               generate_series(1, {figures_number}) AS figure
          FROM step
         WHERE hours IS DISTINCT FROM hours_before OR campaign IS DISTINCT FROM campaign_before) AS figures
     WHERE hour IS DISTINCT FROM hour_before OR campaign IS DISTINCT FROM campaign_before
), change AS (
    SELECT campaign, hour, CASE event {figure_cases} END AS figure, 1::bigint AS amount
      FROM simple WHERE counts AND event IN ({figure_events})
    UNION ALL
    SELECT campaign, hour, figure, 1 FROM moved WHERE campaign IS NOT NULL AND hour IS NOT NULL
    UNION ALL
    SELECT campaign_before, hour_before, figure, -1 FROM moved WHERE campaign_before IS NOT NULL AND hour_before IS NOT NULL
    UNION ALL
    SELECT campaign, received_hour, 0, repeats FROM step
     WHERE counts AND repeats > 0
       AND (repeats, campaign, received_hour, TRUE)
           IS DISTINCT FROM (repeats_before, campaign_before, received_hour_before, counts_before)
    UNION ALL
    SELECT campaign_before, received_hour_before, 0, -repeats_before FROM step
     WHERE counts_before AND repeats_before > 0
       AND (repeats, campaign, received_hour, counts)
           IS DISTINCT FROM (repeats_before, campaign_before, received_hour_before, TRUE)
), delta AS MATERIALIZED (
    SELECT campaign AS campaign_id, hour, coalesce(sum(amount) FILTER (WHERE figure = 0), 0) AS repeats,
           {figure_sums}
      FROM change
     GROUP BY campaign, hour
), summed AS (
    INSERT INTO ad_campaign_hours AS sums (campaign_id, hour, repeats, {figures})
    SELECT campaign_id, hour, repeats, {figures} FROM delta
    ON CONFLICT (campaign_id, hour) DO UPDATE SET repeats = sums.repeats + excluded.repeats, {figure_moves}
), seen AS (
    SELECT campaign AS campaign_id, profile AS profile_id, hour, 1::bigint AS amount
      FROM simple WHERE counts AND event = 'impression' AND profile IS NOT NULL
    UNION ALL
    SELECT campaign AS campaign_id, profile AS profile_id, hours[1], 1 FROM step
     WHERE counts AND hours[1] IS NOT NULL AND profile IS NOT NULL
       AND (campaign, profile, hours[1], TRUE)
           IS DISTINCT FROM (campaign_before, profile_before, hours_before[1], counts_before)
    UNION ALL
    SELECT campaign_before, profile_before, hours_before[1], -1 FROM step
     WHERE counts_before AND hours_before[1] IS NOT NULL AND profile_before IS NOT NULL
       AND (campaign, profile, hours[1], counts)
           IS DISTINCT FROM (campaign_before, profile_before, hours_before[1], TRUE)
), frequent AS (
    INSERT INTO ad_frequencies AS sums (campaign_id, profile_id, day, impressions)
    SELECT campaign_id, profile_id, (hour AT TIME ZONE 'UTC')::date AS day, sum(amount)
      FROM seen
     GROUP BY campaign_id, profile_id, day
    HAVING sum(amount) <> 0
    ON CONFLICT (campaign_id, profile_id, day) DO UPDATE SET impressions = sums.impressions + excluded.impressions
), noted AS (
    INSERT INTO ad_campaign_stale (campaign_id) SELECT DISTINCT campaign_id FROM delta
), again AS (
    -- impressions of which some event was there already, or came twice; `known` is still as it was before all this
    SELECT impression_id, repeats - coalesce(repeats_before, 0) AS repeats FROM step WHERE repeats > coalesce(repeats_before, 0)
), ranked AS (
    SELECT staged.number, staged.repeats,
           row_number() OVER (PARTITION BY staged.impression_id ORDER BY
               coalesce(CASE staged.event_number {known_cases} ELSE {other} = ANY(known.other_events) END, FALSE)
               OR staged.nth > 1 DESC, staged.number DESC) AS place
      FROM (SELECT *, row_number() OVER (PARTITION BY impression_id, event, progress_offset ORDER BY number) AS nth,
                   max(said) OVER (PARTITION BY impression_id) AS repeats
              FROM (SELECT impression_id, event, progress_offset, event_number, row_number() OVER (ORDER BY ctid) - 1 AS number,
                           NULL::bigint AS said
                      FROM staged_ads WHERE EXISTS (SELECT FROM again)
                    UNION ALL
                    SELECT impression_id, NULL, NULL, NULL, NULL, repeats FROM again) AS numbered) AS staged
      LEFT JOIN ad_impressions AS known ON known.impression_id = staged.impression_id
     WHERE staged.repeats IS NOT NULL AND staged.number IS NOT NULL
)
SELECT (SELECT count(DISTINCT impression_id) FROM staged_ads) AS impressions,
       (SELECT count(*) FROM simple) + (SELECT count(*) FROM step) AS written,
       ARRAY(SELECT number FROM ranked WHERE place <= repeats) AS repeats;

-- repeat_impression: one that is there once more, under a new id; nothing where there is none. Both lists are good_row's
INSERT INTO ad_impressions ({{columns}})
SELECT {{values}} FROM (SELECT * FROM ad_impressions OFFSET $1 LIMIT 1) AS taken
RETURNING true;
