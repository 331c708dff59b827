DROP MATERIALIZED VIEW content_popularity;
