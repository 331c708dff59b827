DROP TABLE ingest_positions;
DROP TABLE ingest_registration;
