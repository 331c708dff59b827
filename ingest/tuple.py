"""An event as its PostgreSQL binary-COPY tuple, and back: the one form in which rows travel through the spool.

    tuple:  fields i16 = 24 | per column, in the order of COLUMNS:  length_bytes i32 (-1: NULL) | value
    value:  uuid 16 bytes · timestamptz i64 (microseconds since 2000-01-01 UTC) · bigint i64 · integer i32 · boolean u8
            varchar, char, json: UTF-8                                        all numbers in network order

The first five columns are fixed in size and never NULL, so in every tuple event_id is at [6:22], content_id at
[26:42], session_id at [46:62], occurred_at at [66:74], received_at at [78:86], the length of event_type at [86:90].

Outside the tuple every time is an int of microseconds since 1970-01-01 UTC (`…_us`). Pure.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from xxhash import xxh3_64_intdigest

COLUMN_COUNT: Final = 24
POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 UTC, where PostgreSQL's clock starts, in microseconds since 1970."""
CLOCK_TOLERANCE_US: Final = 5 * 60 * 1_000_000
"""A player whose sent_at is further than this from received_at has a broken clock (DESIGN §3)."""
CORRECTED_AHEAD_MAX_US: Final = 24 * 60 * 60 * 1_000_000
"""A corrected time is at most this much later than received_at, as a sane clock's may be: no number lies in 2146."""
TIME_MIN_US: Final = 0
TIME_MAX_US: Final = 4_133_980_800_000_000 - 1
"""The last microsecond of the year 2100 in UTC."""
NULL: Final = b"\xff\xff\xff\xff"

Value = UUID | int | str | bool
"""Of one field, in Python's types."""


class Column(NamedTuple):
    """One column of a frame's tuples."""

    name: str
    type: str
    """PostgreSQL type: uuid, timestamptz, bigint, integer, boolean, varchar(n), char(2), json."""
    required: bool = False


COLUMNS: Final[tuple[Column, ...]] = (
    Column("event_id", "uuid", required=True),
    Column("content_id", "uuid", required=True),
    Column("session_id", "uuid", required=True),
    Column("occurred_at", "timestamptz", required=True),
    Column("received_at", "timestamptz", required=True),
    Column("event_type", "varchar(50)", required=True),
    Column("test", "boolean", required=True),
    Column("sent_at", "timestamptz"),
    Column("sequence", "bigint"),
    Column("position", "integer"),
    Column("duration", "integer"),
    Column("profile_id", "uuid"),
    Column("quality", "varchar(20)"),
    Column("bitrate", "integer"),
    Column("device_type", "varchar(50)"),
    Column("platform", "varchar(50)"),
    Column("cdn_edge", "varchar(100)"),
    Column("buffer_duration", "integer"),
    Column("startup_ms", "integer"),
    Column("error_code", "varchar(50)"),
    Column("player", "varchar(100)"),
    Column("app_version", "varchar(50)"),
    Column("country", "char(2)"),
    Column("metadata", "json"),
)
SCHEMAS: Final[dict[int, tuple[Column, ...]]] = {1: COLUMNS}
"""Schema id → column list; kept for ever, so that a spool written by an older release stays readable."""


class Row(NamedTuple):
    """One row of playback_events in Python's types, in the order of COLUMNS."""

    event_id: UUID
    content_id: UUID
    session_id: UUID
    occurred_at_us: int
    received_at_us: int
    event_type: str
    test: bool = False
    sent_at_us: int | None = None
    sequence: int | None = None
    position_s: int | None = None
    duration_s: int | None = None
    profile_id: UUID | None = None
    quality: str | None = None
    bitrate_kbps: int | None = None
    device_type: str | None = None
    platform: str | None = None
    cdn_edge: str | None = None
    buffer_duration_ms: int | None = None
    startup_ms: int | None = None
    error_code: str | None = None
    player: str | None = None
    app_version: str | None = None
    country: str | None = None
    metadata: str | None = None


assert len(COLUMNS) == len(Row._fields) == COLUMN_COUNT

_I32 = struct.Struct(">i")
_I64 = struct.Struct(">q")


def encode(row: Row) -> bytes:
    """The tuple of `row`, which the caller has validated: ranges are only asserted by struct."""
    return encode_fields(COLUMNS, row)


def encode_fields(columns: Sequence[Column], values: Iterable[Value | None]) -> bytes:
    """A tuple of any column list; `values` in its order."""
    parts = [len(columns).to_bytes(2, "big")]
    for column, value in zip(columns, values, strict=True):
        if value is None:
            assert not column.required, column.name
            parts.append(NULL)
            continue
        encoded = _encode_value(column.type, value)
        parts.append(_I32.pack(len(encoded)) + encoded)
    return b"".join(parts)


def _encode_value(column_type: str, value: Value) -> bytes:
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, str):
        return value.encode()
    if column_type == "boolean":
        return b"\x01" if value else b"\x00"
    if column_type == "timestamptz":
        return _I64.pack(value - POSTGRES_EPOCH_US)
    return _I64.pack(value) if column_type == "bigint" else _I32.pack(value)


def walk(row: bytes) -> list[bytes | None]:
    """The values of all columns as encoded, None for NULL. ValueError when `row` is not one whole tuple."""
    return walk_fields(COLUMN_COUNT, row)


def walk_fields(count: int, row: bytes) -> list[bytes | None]:
    """The same of a tuple of `count` columns."""
    if row[:2] != count.to_bytes(2, "big"):
        raise ValueError(f"not a tuple of {count} fields")
    values: list[bytes | None] = []
    at = 2
    for _ in range(count):
        length_bytes = int.from_bytes(row[at : at + 4], "big", signed=True)
        at += 4
        if length_bytes < 0:
            values.append(None)
            continue
        values.append(row[at : at + length_bytes])
        at += length_bytes
    if at != len(row):
        raise ValueError("a tuple cut short, or bytes behind it")
    return values


def decode(row: bytes) -> Row:
    """The row in Python's types; the inverse of `encode`. ValueError when `row` is not one whole tuple."""
    return Row._make(decode_fields(COLUMNS, row))


def decode_fields(columns: Sequence[Column], row: bytes) -> Iterator[Value | None]:
    """The values of a tuple of any column list, in its order. ValueError when `row` is not one whole tuple."""
    for column, value in zip(columns, walk_fields(len(columns), row), strict=True):
        yield None if value is None else _decode_value(column.type, value)


def _decode_value(column_type: str, value: bytes) -> Value:
    if column_type == "uuid":
        return UUID(bytes=value)
    if column_type == "boolean":
        return value != b"\x00"
    if column_type == "timestamptz":
        return int.from_bytes(value, "big", signed=True) + POSTGRES_EPOCH_US
    if column_type in ("bigint", "integer"):
        return int.from_bytes(value, "big", signed=True)
    return value.decode()


def event_id(row: bytes) -> bytes:
    """16 bytes."""
    return row[6:22]


def occurred_at_us(row: bytes) -> int:
    """As the player sent it."""
    return int.from_bytes(row[66:74], "big", signed=True) + POSTGRES_EPOCH_US


def received_at_us(row: bytes) -> int:
    """By the clock of the collector."""
    return int.from_bytes(row[78:86], "big", signed=True) + POSTGRES_EPOCH_US


def event_key(row: bytes) -> bytes:
    """24 bytes that are equal exactly when (occurred_at, event_id), the primary key, is."""
    return row[66:74] + row[6:22]


def row_hash(row: bytes) -> int:
    """xxh3_64 of the tuple: what frames and positions sum, modulo 2^64."""
    return xxh3_64_intdigest(row)


def with_occurred_at(row: bytes, occurred_us: int) -> bytes:
    """The same tuple with another occurred_at: how the drain settles a row of a broken clock."""
    return row[:66] + _I64.pack(occurred_us - POSTGRES_EPOCH_US) + row[74:]


def clock_is_broken(sent_us: int | None, received_us: int) -> bool:
    """Whether sent_at shows the player's clock to be more than 5 minutes off; without it the clock counts as sane."""
    return sent_us is not None and abs(received_us - sent_us) > CLOCK_TOLERANCE_US


def corrected_us(occurred_us: int, sent_us: int, received_us: int) -> int:
    """When an event of a broken clock happened: counted back from its receipt, at most a day behind it."""
    return received_us + min(occurred_us - sent_us, CORRECTED_AHEAD_MAX_US)


_EPOCH_DAY: Final = date(1970, 1, 1)


def month_of(time_us: int) -> int:
    """Months since year 0 (year * 12 + month - 1) of a time, in UTC."""
    day = _EPOCH_DAY + timedelta(days=time_us // 86_400_000_000)
    return day.year * 12 + day.month - 1
