-- drops-schema: 2
-- Takes events without a time column with it, and how often each event came.
DROP TABLE ad_events_adopted;
ALTER TABLE ad_impressions
    DROP COLUMN implausible,
    DROP COLUMN duration_told_at,
    DROP COLUMN error_code_told_at,
    DROP COLUMN session_id_told_at,
    DROP COLUMN profile_id_told_at,
    DROP COLUMN content_id_told_at,
    DROP COLUMN creative_id_told_at,
    DROP COLUMN campaign_id_told_at,
    DROP COLUMN repeats,
    DROP COLUMN events,
    DROP COLUMN other_events,
    DROP COLUMN duration;
