-- The event log of the players (spec §3.7), by far the largest and the most written table.
--
-- * Partitioned by month of occurred_at in UTC. The months are made by the gateway, three ahead, never here: a
--   migration that made them would be right on the day it was written. There is no DEFAULT partition: once it holds
--   a row of a month that month cannot be attached, and no month can be detached concurrently while it exists. A
--   row without a month is refused with 23514; the writer makes the month, if it is one that may be made, and tries
--   again.
-- * The key is what the player sent, (occurred_at, event_id): a resend meets its own row. It must hold the partition
--   column, and time first keeps inserts on the right-hand edge of the B-tree.
-- * BRIN on received_at: rows lie in the order in which they came, so a few kilobytes answer "what came since".
--   Every other index would be paid for by every event and is built on closed months or on narrow derived tables
--   instead.
-- * No foreign keys and no CHECKs: a profile or title unknown yet must not cost an acknowledged event, and each key
--   would lock a row of the catalogue for every event. The door has checked every value before it answered.
-- * The columns are those of schema id 1 of the spool's frames, in the order in which their tuples are COPYed:
--   fixed-size columns that are always there first. Columns may be added behind them; a file that takes one away
--   says so with a header line "-- drops-schema: <id>", and `migrate up` refuses it while a spool still holds
--   frames of that id.
CREATE TABLE playback_events (
    event_id        UUID NOT NULL,
    content_id      UUID NOT NULL,
    session_id      UUID NOT NULL,
    occurred_at     TIMESTAMPTZ NOT NULL,                       -- as the player sent it
    received_at     TIMESTAMPTZ NOT NULL,
    event_type      VARCHAR(50) NOT NULL,                       -- play, pause, seek, buffering, error, completed, …
    test            BOOLEAN NOT NULL,                           -- kept out of every number
    sent_at         TIMESTAMPTZ,
    sequence        BIGINT,                                     -- of the session; 0 to 2^53 - 1
    position        INT,                                        -- seconds
    duration        INT,                                        -- seconds
    profile_id      UUID,
    quality         VARCHAR(20),                                -- 480p, 720p, 1080p, 4k
    bitrate         INT,                                        -- kbps
    device_type     VARCHAR(50),                                -- web, mobile, tv
    platform        VARCHAR(50),                                -- ios, android, roku, tizen, …
    cdn_edge        VARCHAR(100),
    buffer_duration INT,                                        -- milliseconds
    startup_ms      INT,
    error_code      VARCHAR(50),
    player          VARCHAR(100),
    app_version     VARCHAR(50),
    country         CHAR(2),
    metadata        JSON,           -- not JSONB: its bytes stay as they came, so that a row's hash covers them
    PRIMARY KEY (occurred_at, event_id)
) PARTITION BY RANGE (occurred_at);

CREATE INDEX idx_playback_events_received_at ON playback_events USING brin (received_at) WITH (autosummarize = on);

-- Makes the partition <parent>_YYYY_MM of `parent` that holds the whole of `month` in UTC; any day of it will do.
-- Returns true if it was made, false if it was there. Safe to call from many sessions at once and beside writers:
-- CREATE and ATTACH take a lock that lets inserts into other months go on, where CREATE … PARTITION OF would stop
-- them all. The bounds are written with their offset, so the session's TimeZone does not matter.
CREATE FUNCTION ensure_month_partition(parent text, month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    parent_table CONSTANT regclass := parent::regclass;
    parent_schema text;
    parent_name text;
    first_day CONSTANT date := make_date(extract(year FROM month)::int, extract(month FROM month)::int, 1);
    next_first_day CONSTANT date := (first_day + interval '1 month')::date;
    child_name text;
    child_table regclass;
BEGIN
    SELECT nspname, relname INTO STRICT parent_schema, parent_name
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = parent_table;
    child_name := parent_name || to_char(first_day, '"_"YYYY"_"MM');

    -- One at a time a parent: of two that both find the month missing, the second would fail.
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_month_partition', parent_table::oid::bigint));
    child_table := to_regclass(format('%I.%I', parent_schema, child_name));
    IF child_table IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = child_table AND inhparent = parent_table) THEN
            RAISE EXCEPTION 'table % exists but is no partition of %', child_table, parent_table
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'It was detached, by retention or by hand: drop it, rename it or attach it.';
        END IF;
        RETURN FALSE;
    END IF;

    EXECUTE format('CREATE TABLE %I.%I (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
        parent_schema, child_name, parent_table);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
        parent_table, parent_schema, child_name,
        to_char(first_day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(next_first_day, 'YYYY-MM-DD') || ' 00:00:00+00');
    RETURN TRUE;
END $$;

-- An event of a broken clock takes its first receive time, remembered here as long as the rows of its month, so that a
-- resend of it meets the same row. Written in the drain's transaction, looked up by what the player sent.
CREATE TABLE clock_repairs (
    event_id        UUID NOT NULL,
    raw_occurred_at TIMESTAMPTZ NOT NULL,
    occurred_at     TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (event_id, raw_occurred_at)
);

-- Retention deletes the repairs of a month with the month.
CREATE INDEX idx_clock_repairs_occurred_at ON clock_repairs (occurred_at);

-- Nothing disappears silently: what retention and erasure took out of playback_events, a month, so that `verify` can
-- still balance what was received against what is there.
CREATE TABLE ingest_removals (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    month         DATE NOT NULL CHECK (extract(day FROM month) = 1),
    reason        VARCHAR(20) NOT NULL CHECK (reason IN ('retention', 'erasure')),
    rows          BIGINT NOT NULL CHECK (rows >= 0),
    row_hash_sum  NUMERIC(20),                                  -- of the rows, modulo 2^64; null: was not summed
    clock_repairs BIGINT NOT NULL DEFAULT 0,
    removed_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX idx_ingest_removals_month ON ingest_removals (month);
