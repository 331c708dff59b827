-- The catalogue (spec §3.2): films, series, episodes, live and FAST channels are all contents; seasons and episodes
-- order those of a series.

CREATE TABLE content (
    id               UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    type             VARCHAR(50) NOT NULL
        CHECK (type IN ('movie', 'series', 'episode', 'live_channel', 'fast_channel')),
    title            VARCHAR(500) NOT NULL,
    original_title   VARCHAR(500),
    description      TEXT,
    long_description TEXT,
    duration         INT,                                       -- seconds; null for live
    release_year     INT,
    genres           VARCHAR(50)[] DEFAULT '{}',
    rating           VARCHAR(20),                               -- G, PG, PG-13, R, TV-MA
    imdb_id          VARCHAR(20),
    tmdb_id          VARCHAR(20),
    languages        VARCHAR(10)[] DEFAULT '{}',
    subtitles        VARCHAR(10)[] DEFAULT '{}',
    audio_tracks     JSONB DEFAULT '[]',
    "cast"           JSONB DEFAULT '[]',                        -- a reserved word: always quoted
    directors        VARCHAR(255)[],
    stream_url       VARCHAR(1000),
    stream_type      VARCHAR(50),                               -- hls, dash, webrtc
    poster_url       VARCHAR(500),
    thumbnail_url    VARCHAR(500),
    banner_url       VARCHAR(500),
    trailer_url      VARCHAR(500),
    metadata         JSONB DEFAULT '{}',
    availability     JSONB DEFAULT '{}',                        -- {"us": true, "uk": false}
    monetization     VARCHAR(50) DEFAULT 'svod',                -- avod, svod, tvod, ppv
    rental_price     DECIMAL(10,2),
    purchase_price   DECIMAL(10,2),
    ppv_price        DECIMAL(10,2),
    is_published     BOOLEAN DEFAULT FALSE,
    published_at     TIMESTAMP,
    created_at       TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at       TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_content_type ON content (type);
CREATE INDEX idx_content_genres ON content USING gin (genres);
CREATE INDEX idx_content_published ON content (is_published, published_at);
CREATE INDEX idx_content_monetization ON content (monetization);

-- Fuzzy search where pg_trgm is there. Where it is not, the name stands for a word index: it serves
-- to_tsvector('simple', title) @@ …, so search by whole words stays quick and search by likeness is a scan.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_opclass WHERE opcname = 'gin_trgm_ops' AND pg_opclass_is_visible(oid)) THEN
        CREATE INDEX idx_content_title_trgm ON content USING gin (title gin_trgm_ops);
    ELSE
        CREATE INDEX idx_content_title_trgm ON content USING gin (to_tsvector('simple', title));
    END IF;
END $$;

CREATE TRIGGER update_content_updated_at BEFORE UPDATE ON content
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

CREATE TABLE seasons (
    id            UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    series_id     UUID NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    season_number INT NOT NULL,
    title         VARCHAR(255),
    description   TEXT,
    poster_url    VARCHAR(500),
    release_year  INT,
    UNIQUE (series_id, season_number)
);

CREATE TABLE episodes (
    id             UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    season_id      UUID NOT NULL REFERENCES seasons (id) ON DELETE CASCADE,
    content_id     UUID NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    episode_number INT NOT NULL,
    title          VARCHAR(255) NOT NULL,
    description    TEXT,
    duration       INT NOT NULL,                                -- seconds
    air_date       DATE,
    thumbnail_url  VARCHAR(500),
    UNIQUE (season_id, episode_number)
);

-- A foreign key is not indexed by itself; without this, deleting a content scans all episodes.
CREATE INDEX idx_episodes_content_id ON episodes (content_id);
