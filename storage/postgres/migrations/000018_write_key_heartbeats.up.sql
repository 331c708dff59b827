-- How often the players of a write key send heartbeats: their sessions are viewers for 2.5 of it after each.
ALTER TABLE write_keys ADD COLUMN heartbeat_s SMALLINT CHECK (heartbeat_s BETWEEN 5 AND 300);    -- NULL: as redis.heartbeat_s says
