"""Every metric of the second half: unit in the name, meaning in words, labels bounded.

`reader` is the name of a drain: `postgres`, `scylla`, `redis`, `derived`, `qoe`, `stage`.
"""

from prometheus_client import Counter, Gauge, Histogram

_WRITE_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

# ── the drains ──────────────────────────────────────────────────────────────────────────────────────────────────────
STORE_UP = Gauge(
    "ingest_store_up", "1 while the drain delivers, 0 while it does not.", ["reader"], multiprocess_mode="livemax"
)
STORE_LAG_FRAMES = Gauge(
    "ingest_store_lag_frames", "Frames on disk, not yet in the store.", ["reader"], multiprocess_mode="livemax"
)
STORE_LAG_BYTES = Gauge(
    "ingest_store_lag_bytes", "Bytes of those frames, estimated.", ["reader"], multiprocess_mode="livemax"
)
STORE_LAG_SECONDS = Gauge(
    "ingest_store_lag_seconds", "Wait of the oldest of those frames.", ["reader"], multiprocess_mode="livemax"
)
STORE_WRITES = Counter("ingest_store_writes", "Batches written together with their positions.", ["reader"])
STORE_WRITE_SECONDS = Histogram(
    "ingest_store_write_seconds", "One batch, from reading it to its commit.", ["reader"], buckets=_WRITE_BUCKETS_S
)
STORE_EVENTS = Counter("ingest_store_events", "Events in frames delivered to the store, signals included.", ["reader"])
STORE_FAILURES = Counter(
    "ingest_store_failures", "Times the drain had to open its store again, by what was raised.", ["reader", "error"]
)
STORE_POSITION_ERRORS = Counter(
    "ingest_store_position_errors",
    "Positions that the store did not hold as this drain left them; the batch was not written.",
    ["reader"],
)
STORE_QUARANTINED = Counter(
    "ingest_store_quarantined_events", "Acknowledged events that damage to the spool took.", ["reader", "kind"]
)
STORE_RETRIES = Counter("ingest_store_retries", "Requests to the CQL store sent again, by what came back.", ["error"])

# ── PostgreSQL ──────────────────────────────────────────────────────────────────────────────────────────────────────
STORE_ROWS = Counter("ingest_store_rows", "Rows committed to the store.")
STORE_DUPLICATES = Counter("ingest_store_duplicates", "Rows that the store had already.")
STORE_STAGED = Counter(
    "ingest_store_staged_rows", "Rows that went through staging: suspected duplicates, broken clocks."
)
STORE_MISSED = Counter(
    "ingest_store_missed_duplicates", "Batches written a second time because a duplicate had not been suspected."
)
STORE_REPAIRED = Counter("ingest_store_clock_repairs", "Rows of broken clocks that were given their receive time.")
STORE_DEAD = Counter("ingest_store_dead_events", "Acknowledged events that the store refused, by reason.", ["reason"])
STORE_PARTITIONS_MADE = Counter("ingest_store_partitions_made", "Months made because a late event needed them.")
STORE_UNACCOUNTED = Counter(
    "ingest_store_unaccounted_rows", "Rows of the spool's totals that no frame brought and no damage explained."
)
WATCH_ADOPTED = Counter(
    "ingest_watch_history_adopted", "Positions that waited, and whose profile and content are in the catalogue now."
)
WATCH_GIVEN_UP = Counter(
    "ingest_watch_history_given_up", "Positions that waited longer than postgres.watch_waiting_s, and are gone."
)

# ── the session stage ───────────────────────────────────────────────────────────────────────────────────────────────
STAGE_EVENTS = Counter("ingest_stage_events", "Made of lines of CMCD: row, signal.", ["kind"])
STAGE_FOLDED = Counter("ingest_stage_folded_lines", "Lines that said nothing new, resends among them.")

# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
JOB_TURNS = Counter("ingest_job_turns", "Turns of this gateway's, by outcome: done, failed.", ["job", "outcome"])
JOB_SUCCESS_SECONDS = Gauge(
    "ingest_job_last_success_timestamp_seconds", "When a turn was last done here.", ["job"], multiprocess_mode="livemax"
)
HOTNESS_DIFFERENCE = Gauge(
    "ingest_hotness_difference_ratio",
    "Views of 30 days that Redis and the hourly sums in SQL count differently, as a share; NaN while one is missing.",
    multiprocess_mode="livemax",
)

# ── Redis ───────────────────────────────────────────────────────────────────────────────────────────────────────────
COUNTERS_SCRIPT_SECONDS = Histogram(
    "ingest_counters_script_seconds",
    "One script call, as its reader waits for it; for most of it Redis does nothing else.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10),
)
COUNTERS_VIEWS = Counter("ingest_counters_views", "Plays that moved a view: a new one, or one to an earlier hour.")
COUNTERS_SESSIONS = Counter("ingest_counters_sessions", "Sessions that a batch moved.")
COUNTERS_TESTS = Counter("ingest_counters_test_events", "Events with `test`, which are in no number.")

# ── quality of experience: all sessions together, of the last five minutes; NaN: there is nothing to divide by ────────
QOE_SESSIONS = Gauge("ingest_qoe_sessions", "Sessions that were there, estimated.", multiprocess_mode="livemax")
QOE_FOLLOWED = Gauge("ingest_qoe_followed_sessions", "Sessions followed now.", multiprocess_mode="livemax")
QOE_STANDS_FOR = Gauge(
    "ingest_qoe_stands_for_sessions", "How many sessions each that is followed stands for.", multiprocess_mode="livemax"
)
QOE_STALLED_SHARE = Gauge("ingest_qoe_stalled_ratio", "Of watched time, what was stalled.", multiprocess_mode="livemax")
QOE_FAILURE_SHARE = Gauge(
    "ingest_qoe_playback_failure_ratio", "Of sessions, those that failed.", multiprocess_mode="livemax"
)
QOE_LOSS_SHARE = Gauge(
    "ingest_qoe_delivery_loss_ratio", "Of sequence numbers, those that did not arrive.", multiprocess_mode="livemax"
)
QOE_BITRATE = Gauge("ingest_qoe_bitrate_kbps", "Average, by media time.", multiprocess_mode="livemax")
QOE_STARTUP_P50 = Gauge("ingest_qoe_startup_p50_seconds", "Median time to start.", multiprocess_mode="livemax")
QOE_STARTUP_P95 = Gauge("ingest_qoe_startup_p95_seconds", "What 95 % took at most.", multiprocess_mode="livemax")
QOE_LATE = Counter("ingest_qoe_late_events", "Events out of order for too long; they only mend the delivery loss.")
QOE_OLD = Counter("ingest_qoe_old_events", "Events received more than 15 minutes after they happened; in no figure.")
