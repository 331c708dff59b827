-- What a profile has watched, wants to watch and thought of it (spec §3.3). These tables are small beside the
-- events they come from (one row a profile and content), so they keep their foreign keys.

CREATE TABLE watch_history (
    id           UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    profile_id   UUID NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    content_id   UUID NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    content_type VARCHAR(50) NOT NULL,
    position     INT DEFAULT 0,                                 -- seconds
    duration     INT DEFAULT 0,                                 -- seconds
    watched_at   TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    completed    BOOLEAN DEFAULT FALSE,
    UNIQUE (profile_id, content_id)                             -- watching again updates the row
);

CREATE INDEX idx_watch_history_profile_id_watched_at ON watch_history (profile_id, watched_at DESC);
CREATE INDEX idx_watch_history_content_id ON watch_history (content_id);
CREATE INDEX idx_watch_history_profile_id_completed ON watch_history (profile_id, completed);

CREATE TABLE watchlist (
    id         UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    profile_id UUID NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    content_id UUID NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    added_at   TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (profile_id, content_id)
);

CREATE INDEX idx_watchlist_content_id ON watchlist (content_id);

CREATE TABLE ratings (
    id         UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    profile_id UUID NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    content_id UUID NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    rating     INT NOT NULL CHECK (rating BETWEEN 1 AND 5),
    review     TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (profile_id, content_id)
);

CREATE INDEX idx_ratings_content_id ON ratings (content_id);
