-- Where a profile is in a content is the newest of what its players said, whatever the order that comes in. These columns
-- say how new position and duration are, so that the next sign is compared with them: a time, and of equal times the
-- sequence (or, where the player sent none, its time in microseconds). Rows that others made or make count as said now.
ALTER TABLE watch_history
    ADD COLUMN position_at    TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),    -- -infinity: no sign had one
    ADD COLUMN position_order BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN at_end         BOOLEAN NOT NULL DEFAULT FALSE,                           -- the player said `completed`
    ADD COLUMN duration_at    TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC');

-- The same of profiles and contents that are not in the catalogue, until they are, or have waited too long. No foreign
-- keys, as that is its purpose; no index but the key, so that an update touches one page (HOT).
CREATE TABLE watch_history_waiting (
    profile_id     UUID NOT NULL,
    content_id     UUID NOT NULL,
    position       INT NOT NULL,                                                        -- seconds
    duration       INT NOT NULL,                                                        -- seconds
    watched_at     TIMESTAMP NOT NULL,
    completed      BOOLEAN NOT NULL,
    position_at    TIMESTAMP NOT NULL,
    position_order BIGINT NOT NULL,
    at_end         BOOLEAN NOT NULL,
    duration_at    TIMESTAMP NOT NULL,
    waiting_since  TIMESTAMPTZ NOT NULL DEFAULT now(),                                  -- of its newest sign
    PRIMARY KEY (profile_id, content_id)
) WITH (fillfactor = 70);
