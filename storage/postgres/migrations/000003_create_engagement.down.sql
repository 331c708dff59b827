DROP TABLE ratings;
DROP TABLE watchlist;
DROP TABLE watch_history;
