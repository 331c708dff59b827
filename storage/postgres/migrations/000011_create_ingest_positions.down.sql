ALTER TABLE clock_repairs DROP COLUMN repaired_at;
DROP TABLE ingest_positions;
DROP TABLE ingest_registration;
