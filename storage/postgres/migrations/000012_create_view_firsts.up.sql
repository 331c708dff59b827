-- What has to be known of a view to count it once, in the hour of its earliest play, whatever the order plays come in.
CREATE TABLE view_firsts (
    session_id UUID NOT NULL,
    content_id UUID NOT NULL,
    hour       INT NOT NULL,                            -- of its earliest play so far, since 1970 UTC, by corrected time
    counted    BOOLEAN NOT NULL,                        -- content_views_hourly holds it; not where its hour was not kept
    moved_from INT,                                     -- the hour its last move took it out of; NULL: none that held it
    seen_at    TIMESTAMPTZ NOT NULL DEFAULT now(),      -- when its hour was last settled
    PRIMARY KEY (session_id, content_id)
) WITH (fillfactor = 90);

-- Forgetting walks the oldest rows, which lie together.
CREATE INDEX idx_view_firsts_seen_at ON view_firsts USING brin (seen_at) WITH (pages_per_range = 32);
