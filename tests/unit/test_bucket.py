"""A partition is a function of the event: no clock, no setting but the buckets of its content and day."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.scylla import BUCKETS_MAX
from storage.scylla.bucket import (
    EDGE_BUCKETS,
    PARTITION_MAX_BYTES,
    ROW_BYTES,
    buckets_for,
    buckets_of_hour,
    content_bucket,
    day_of,
    edge_bucket,
    event_hash,
    hour_of,
)

times = st.integers(-(10**15), 4 * 10**15)
EVENT = UUID("5e551011-1111-4222-8333-444455556666").bytes
EVENT_HASH = 2099756734150890427


@pytest.mark.parametrize(
    "time, day, hour, bucket",
    [
        ("1970-01-01T00:00:00", 0, 0, 11),
        ("2026-11-22T23:59:59.999999", 20779, 498719, 379),
        ("2026-11-23T00:00:00", 20780, 498720, 11),
    ],
)
def test_keys_are_these_for_ever(time: str, day: int, hour: int, bucket: int) -> None:
    time_us = int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * 1_000_000)
    assert (day_of(time_us), hour_of(time_us)) == (day, hour)
    assert event_hash(EVENT) == EVENT_HASH
    assert content_bucket(time_us, event_hash(EVENT), 16) == bucket
    assert edge_bucket(event_hash(EVENT)) == EVENT_HASH % EDGE_BUCKETS


@given(times, st.integers(0, 2**64 - 1), st.integers(1, BUCKETS_MAX))
def test_an_event_is_in_one_of_the_buckets_of_its_hour(time_us: int, hashed: int, buckets: int) -> None:
    bucket = content_bucket(time_us, hashed, buckets)
    assert bucket in buckets_of_hour(time_us, buckets)
    assert 0 <= bucket < 24 * buckets
    assert hour_of(time_us) == 24 * day_of(time_us) + bucket // buckets


@given(st.integers(0, 10**10))
def test_so_many_buckets_keep_every_partition_below_its_limit(rows: int) -> None:
    buckets = buckets_for(rows)
    assert rows * ROW_BYTES / buckets <= PARTITION_MAX_BYTES
    assert buckets == 1 or rows * ROW_BYTES / (buckets - 1) > PARTITION_MAX_BYTES
