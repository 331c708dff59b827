-- Live and FAST channels and their programme guide (spec §3.5).

CREATE TABLE live_channels (
    id             UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    content_id     UUID NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    channel_number INT UNIQUE,
    stream_url     VARCHAR(1000),
    ingest_url     VARCHAR(1000),
    is_live        BOOLEAN DEFAULT FALSE,
    viewer_count   INT DEFAULT 0 CHECK (viewer_count >= 0)
) WITH (fillfactor = 70);   -- viewer_count is written every few seconds: room for updates without index work

CREATE INDEX idx_live_channels_content_id ON live_channels (content_id);

CREATE TABLE epg_events (
    id         UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    channel_id UUID NOT NULL REFERENCES live_channels (id) ON DELETE CASCADE,
    content_id UUID REFERENCES content (id) ON DELETE SET NULL, -- on FAST channels; the schedule outlives it
    title      VARCHAR(255) NOT NULL,
    start_time TIMESTAMP NOT NULL,
    end_time   TIMESTAMP NOT NULL,
    duration   INT,                                             -- seconds
    CONSTRAINT epg_events_end_after_start CHECK (end_time > start_time)
);

CREATE INDEX idx_epg_events_channel_id_start_time_end_time ON epg_events (channel_id, start_time, end_time);
CREATE INDEX idx_epg_events_content_id ON epg_events (content_id) WHERE content_id IS NOT NULL;
