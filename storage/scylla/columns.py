"""The tables of events and their columns, the statements that write them, and a COPY tuple's way there. Pure.

A tuple's values are CQL's, byte for byte, but for times, which count from 2000 there and from 1970 here. What is absent
is not written: a null would be a tombstone. So there is a statement for each set of columns that players send; they
send few. Which columns of a row are there is its `mask`, bit i for OPTIONAL[i].
"""

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

from ingest.tuple import COLUMNS, POSTGRES_EPOCH_US
from storage.scylla.driver import Form

_TYPES: Final = {"uuid": "uuid", "timestamptz": "bigint", "bigint": "bigint", "integer": "int", "boolean": "boolean"}
REQUIRED: Final = [column.name for column in COLUMNS if column.required]
OPTIONAL: Final = [
    (f"{column.name}_us" if column.type == "timestamptz" else column.name, _TYPES.get(column.type, "text"))
    for column in COLUMNS
    if not column.required
]
"""Name and CQL type, in the order of a tuple."""
BITS: Final = {name: 1 << at for at, (name, _) in enumerate(OPTIONAL)}

assert REQUIRED == ["event_id", "content_id", "session_id", "occurred_at", "received_at", "event_type", "test"]
assert OPTIONAL[0][0] == "sent_at_us"


class Table(NamedTuple):
    """One table of events."""

    name: str
    always: tuple[str, ...]
    """Columns of every row, the partition key's first."""
    optional: tuple[str, ...]
    """In the order of a tuple."""

    @property
    def mask(self) -> int:
        """Of its optional columns."""
        return sum(BITS[name] for name in self.optional)

    @property
    def places(self) -> list[int]:
        """Of its optional columns in OPTIONAL."""
        names = [name for name, _ in OPTIONAL]
        return [names.index(name) for name in self.optional]


_ALL: Final = tuple(name for name, _ in OPTIONAL)

BY_SESSION: Final = Table(
    "events_by_session",
    ("session_id", "hour", "occurred_at_us", "event_id", "content_id", "received_at_us", "event_type", "test"),
    _ALL,
)
BY_CONTENT: Final = Table(
    "events_by_content",
    ("content_id", "day", "bucket", "occurred_at_us", "event_id", "session_id", "received_at_us", "event_type", "test"),
    _ALL,
)
BY_PROFILE: Final = Table(
    "events_by_profile",
    (
        "profile_id", "day", "occurred_at_us", "event_id", "event_type", "content_id", "session_id", "test",
        "received_at_us",
    ),
    ("position", "duration", "device_type"),
)  # fmt: skip
ERRORS: Final = Table(
    "errors_by_edge",
    (
        "cdn_edge", "hour", "bucket", "occurred_at_us", "event_id", "content_id", "session_id", "test",
        "received_at_us",
    ),
    (
        "position", "quality", "bitrate", "device_type", "platform", "error_code", "player", "app_version", "country",
    ),
)  # fmt: skip
TABLES: Final = (BY_SESSION, BY_CONTENT, BY_PROFILE, ERRORS)

EVERY: Final = -1
"""Instead of a mask: a statement with all columns, where absent ones are left out one by one (Driver.write)."""


def insert(table: Table, mask: int) -> str:
    """The statement for rows with just these optional columns (EVERY: with any)."""
    names = [*table.always, *(name for name in table.optional if mask & BITS[name])]
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


_LENGTH = Struct(">i").unpack_from


class Reading:
    """Of tuples, in the form that a driver binds."""

    def __init__(self, forms: Mapping[str, Form]) -> None:
        self._forms = [(1 << at, forms[kind]) for at, (_, kind) in enumerate(OPTIONAL)]
        self._time = _time_form(forms["bigint"])
        self._forms[0] = 1, self._time

    def optional(self, row: bytes) -> tuple[list[object], list[object], int]:
        """The values of OPTIONAL (None: absent), those that are there alone, and their mask.

        Raises ValueError, struct.error when `row` is not one whole tuple.
        """
        at = 90 + _LENGTH(row, 86)[0] + 5  # behind event_type and test
        values: list[object] = []
        there: list[object] = []
        mask = 0
        for bit, form in self._forms:
            length = _LENGTH(row, at)[0]
            at += 4
            if length < 0:
                values.append(None)
                continue
            encoded = row[at : at + length]
            value = encoded if form is None else form(encoded)
            values.append(value)
            there.append(value)
            mask |= bit
            at += length
        if at != len(row):
            raise ValueError("a tuple cut short, or bytes behind it")
        return values, there, mask


def _time_form(form: Form) -> Form:
    """From microseconds since 2000, as the tuple has them."""

    def bound(encoded: bytes) -> object:
        time_us = int.from_bytes(encoded, "big", signed=True) + POSTGRES_EPOCH_US
        return time_us if form is not None else time_us.to_bytes(8, "big", signed=True)

    return bound


RECORD: Final = (
    "event_id", "content_id", "session_id", "occurred_at_us", "received_at_us", "event_type", "test", *_ALL,
)  # fmt: skip
"""Columns of events_by_session, and of events_by_content, in the order of a tuple: what row.py makes it of."""
