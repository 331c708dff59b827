DROP TABLE view_firsts;
DELETE FROM content_views_hourly;   -- without firsts nobody can go on from them
DELETE FROM ingest_positions WHERE reader = 'derived';
DELETE FROM ingest_registration WHERE reader = 'derived';
