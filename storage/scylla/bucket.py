"""Which partition an event belongs in: a function of the event alone, and of the buckets of its content and day. Pure.

    day, hour   since 1970 UTC, of occurred_at
    content     bucket = hour of the day * N + xxh3_64 of the event % N
    edge        bucket = xxh3_64 of the event % 16

Of the event, not of its session: a platform that sends one session id for all its players fills no single bucket. N is
the number of partitions of a content and hour; what it has to be follows from the size of a row and from how many a
content can have in an hour. A session has one partition an hour, a profile one a day: both are only as large as what
one player sends, while players use an id for one of them.
"""

from typing import Final

from xxhash import xxh3_64_intdigest

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
EDGE_BUCKETS: Final = 16
PARTITION_MAX_BYTES: Final = 100_000_000
"""Beyond it a cluster compacts, repairs and reads a partition badly."""
ROW_BYTES: Final = 250
"""Of a row of events_by_content on disk, uncompressed, with every field that players commonly send (./gw bench)."""


def day_of(time_us: int) -> int:
    """Of microseconds since 1970; before it days are negative."""
    return time_us // DAY_US


def hour_of(time_us: int) -> int:
    """Hours since 1970."""
    return time_us // HOUR_US


def event_hash(event_id: bytes) -> int:
    """Of its 16 bytes."""
    return xxh3_64_intdigest(event_id)


def content_bucket(time_us: int, hashed: int, buckets: int) -> int:
    """`hashed`: of the event; `buckets`: of the content and day."""
    return time_us % DAY_US // HOUR_US * buckets + hashed % buckets


def buckets_of_hour(time_us: int, buckets: int) -> range:
    """All that a content has in the hour of a time."""
    first = time_us % DAY_US // HOUR_US * buckets
    return range(first, first + buckets)


def edge_bucket(hashed: int) -> int:
    """`hashed`: of the event."""
    return hashed % EDGE_BUCKETS


def buckets_for(rows_per_hour: float) -> int:
    """The least N that keeps a content with so many rows an hour below PARTITION_MAX_BYTES."""
    return max(1, -(-int(rows_per_hour * ROW_BYTES) // PARTITION_MAX_BYTES))
