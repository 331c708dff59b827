DROP TABLE watch_history_waiting;

ALTER TABLE watch_history
    DROP COLUMN position_at,
    DROP COLUMN position_order,
    DROP COLUMN at_end,
    DROP COLUMN duration_at;
