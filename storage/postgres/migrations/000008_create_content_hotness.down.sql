DROP FUNCTION update_content_hotness(timestamptz);
DROP TABLE content_hotness;
DROP TABLE content_views_hourly;
