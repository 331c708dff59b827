ALTER TABLE write_keys DROP COLUMN heartbeat_s;
