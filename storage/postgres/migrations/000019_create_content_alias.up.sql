-- What contents were called whose names are no uuids (CMCD's cid): the id is a UUIDv5 of owner and name, which nobody can
-- turn back. Written once each, by who makes rows of them; no foreign key, as the catalogue does not know them.
CREATE TABLE content_alias (
    content_id UUID PRIMARY KEY,                                        -- as in playback_events
    owner      VARCHAR(64) NOT NULL,                                    -- of the write key; empty without keys
    alias      VARCHAR(128) NOT NULL,                                   -- as sent
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
);
