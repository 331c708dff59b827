"""A row as its COPY tuple and back."""

import struct
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.limits import BIGINT_SAFE_MAX, INT4_MAX
from ingest import tuple as copy
from ingest.tuple import COLUMNS, SCHEMAS, TIME_MAX_US, TIME_MIN_US, Row

TIMES = st.integers(TIME_MIN_US, TIME_MAX_US)
INT4 = st.none() | st.integers(0, INT4_MAX)


def texts(length_max):
    return st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=length_max)


ROWS = st.builds(
    Row,
    st.uuids(), st.uuids(), st.uuids(), TIMES, TIMES,
    st.sampled_from(["play", "heartbeat", "quality_change"]), st.booleans(), st.none() | TIMES,
    st.none() | st.integers(0, BIGINT_SAFE_MAX), INT4, INT4, st.none() | st.uuids(),
    texts(20), INT4, texts(50), texts(50), texts(100), INT4, INT4, texts(50), texts(100), texts(50), texts(2),
    st.none() | st.just('{"a": 1}'),
)  # fmt: skip
A_ROW = Row(uuid4(), uuid4(), uuid4(), 1_795_000_000_123_456, 1_795_000_001_000_000, "seek", sequence=9, country="DE")


@given(ROWS)
def test_a_row_comes_back_as_it_went_in(row):
    assert copy.decode(copy.encode(row)) == row


@given(ROWS)
def test_the_accessors_read_what_decode_reads(row):
    encoded = copy.encode(row)
    assert copy.event_id(encoded) == row.event_id.bytes
    assert copy.occurred_at_us(encoded) == row.occurred_at_us
    assert copy.received_at_us(encoded) == row.received_at_us


def test_the_layout_is_postgresql_binary_copy():
    encoded = copy.encode(A_ROW)
    epoch_us = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert encoded[:6] == struct.pack(">hi", 24, 16)
    assert encoded[66:74] == struct.pack(">q", 1_795_000_000_123_456 - epoch_us)
    assert encoded[86:94] == struct.pack(">i", 4) + b"seek"
    assert encoded[94:99] == struct.pack(">i?", 1, False)
    assert encoded[99:103] == struct.pack(">i", -1)  # sent_at
    assert encoded[103:115] == struct.pack(">iq", 8, 9)
    assert encoded.endswith(struct.pack(">i", 2) + b"DE" + struct.pack(">i", -1))


@pytest.mark.parametrize("cut", range(len(copy.encode(A_ROW))))
def test_a_tuple_cut_anywhere_is_refused(cut):
    with pytest.raises(ValueError, match="tuple"):
        copy.walk(copy.encode(A_ROW)[:cut])


def test_bytes_behind_a_tuple_are_refused():
    with pytest.raises(ValueError, match="tuple"):
        copy.walk(copy.encode(A_ROW) + b"\0")


def test_two_tuples_have_one_key_exactly_when_time_and_id_are_equal():
    other_session = copy.encode(A_ROW._replace(session_id=uuid4(), position_s=1))
    later = copy.encode(A_ROW._replace(occurred_at_us=A_ROW.occurred_at_us + 1))
    assert copy.event_key(copy.encode(A_ROW)) == copy.event_key(other_session) != copy.event_key(later)
    assert len(copy.event_key(later)) == 24


def test_settling_a_clock_changes_the_time_and_nothing_else():
    settled = copy.with_occurred_at(copy.encode(A_ROW), 5_000_000)
    assert copy.decode(settled) == A_ROW._replace(occurred_at_us=5_000_000)


MINUTE_US = 60_000_000


@pytest.mark.parametrize(
    "sent, received, broken",
    [
        (None, 900 * MINUTE_US, False),
        (500, 500 + 5 * MINUTE_US, False),
        (500, 501 + 5 * MINUTE_US, True),
        (600 * MINUTE_US, 300 * MINUTE_US, True),
    ],
)
def test_a_clock_more_than_five_minutes_off_is_broken_and_one_unknown_is_sane(sent, received, broken):
    assert copy.clock_is_broken(sent, received) == broken


@given(TIMES)
def test_a_month_is_the_utc_calendar_month(time_us):
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    assert copy.month_of(time_us) == moment.year * 12 + moment.month - 1


def test_the_bounds_of_time_are_the_years_1970_to_2100():
    years = [int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 for year in (1970, 2101)]
    assert years == [TIME_MIN_US, TIME_MAX_US + 1]


def test_schema_1_is_what_spools_already_hold():
    """Never change this list: add another schema id."""
    assert SCHEMAS[1] is COLUMNS
    assert [f"{column.name} {column.type}" for column in COLUMNS] == [
        "event_id uuid", "content_id uuid", "session_id uuid", "occurred_at timestamptz", "received_at timestamptz",
        "event_type varchar(50)", "test boolean", "sent_at timestamptz", "sequence bigint", "position integer",
        "duration integer", "profile_id uuid", "quality varchar(20)", "bitrate integer", "device_type varchar(50)",
        "platform varchar(50)", "cdn_edge varchar(100)", "buffer_duration integer", "startup_ms integer",
        "error_code varchar(50)", "player varchar(100)", "app_version varchar(50)", "country char(2)",
        "metadata json",
    ]  # fmt: skip
    assert [column.name for column in COLUMNS if column.required] == [column.name for column in COLUMNS[:7]]


def test_a_hash_covers_every_byte():
    encoded = copy.encode(A_ROW)
    hashes = {copy.row_hash(encoded[:at] + bytes([encoded[at] ^ 1]) + encoded[at + 1 :]) for at in range(len(encoded))}
    assert len(hashes | {copy.row_hash(encoded)}) == len(encoded) + 1
