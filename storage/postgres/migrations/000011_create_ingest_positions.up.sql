-- How far each reader of the spool has got, moved in the transaction that writes the rows: rows and position are there
-- together or not at all.

-- A store that has been initialised holds its registration. If it is missing, the database was lost or put back
-- empty: the gateway turns red instead of starting over in silence.
CREATE TABLE ingest_registration (
    reader          TEXT PRIMARY KEY,
    registration_id UUID NOT NULL DEFAULT gen_random_uuid(),
    registered_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);

INSERT INTO ingest_registration (reader) VALUES ('postgres');

-- Advanced by compare-and-set on the old sequence, so that a drain that was thought dead can do no harm.
CREATE TABLE ingest_positions (
    reader      TEXT NOT NULL,
    incarnation UUID NOT NULL,                                  -- of the spool: one a start of a collector
    sequence    BIGINT NOT NULL CHECK (sequence >= 0),          -- of the next frame to deliver; 0: none delivered yet
    totals      JSONB NOT NULL DEFAULT '{}',                    -- running totals up to there, for verify
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (reader, incarnation)
) WITH (fillfactor = 50);   -- few rows, each updated many times a second

-- When an event's time was repaired, so that a drain asks for the repairs that others made since it last asked.
ALTER TABLE clock_repairs ADD COLUMN repaired_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp();

CREATE INDEX idx_clock_repairs_repaired_at ON clock_repairs (repaired_at);
