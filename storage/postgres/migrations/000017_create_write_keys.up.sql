-- Who may send events: write keys, without the keys themselves. A key is 192 random bits, so its SHA-256 cannot be guessed
-- back, and a slow hash would protect nothing more. Collectors never ask this table: the readers' process publishes it.
CREATE TABLE write_keys (
    id           VARCHAR(12) PRIMARY KEY,                                    -- the hash's first digits: what it is called
    hash         BYTEA NOT NULL UNIQUE CHECK (octet_length(hash) = 32),      -- SHA-256 of the key
    name         VARCHAR(100) NOT NULL,                                      -- for people
    owner        VARCHAR(64) NOT NULL CHECK (owner <> ''),                   -- whose events; part of ids made of an event
    secret       BOOLEAN NOT NULL,                                           -- for servers: no page may use it
    doors        VARCHAR(10)[] NOT NULL CHECK (doors <@ ARRAY['events', 'ads', 'cmcd']::VARCHAR(10)[] AND doors <> '{}'),
    origins      TEXT[] NOT NULL DEFAULT '{}',                               -- whose pages may use it; none: any
    origins_only BOOLEAN NOT NULL DEFAULT FALSE,                             -- not without an Origin either
    rate         INTEGER CHECK (rate > 0),                                   -- events a second; NULL: any
    burst        INTEGER NOT NULL DEFAULT 0 CHECK (burst >= 0),              -- events at once
    bucket       VARCHAR(12) NOT NULL,                                       -- what the rate is counted under
    created_at   TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    replaced_by  VARCHAR(12) REFERENCES write_keys (id),                     -- a rotation's new key
    not_after    TIMESTAMPTZ,                                                -- the end of a rotation's grace
    revoked_at   TIMESTAMPTZ,
    CHECK (rate IS NULL OR burst > 0)
);
