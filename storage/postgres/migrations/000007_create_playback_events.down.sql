-- drops-schema: 1
-- Takes all events with it.
DROP TABLE ingest_removals;
DROP TABLE clock_repairs;
DROP TABLE playback_events;
DROP FUNCTION ensure_month_partition(text, date);
