DROP TABLE epg_events;
DROP TABLE live_channels;
