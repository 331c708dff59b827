"""A row as the event a player would post: the inverse of decoding, for letters and salvaged frames. Pure."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ingest import ad
from ingest import tuple as copy_tuple
from ingest.ad import AD_COLUMNS, AD_SCHEMAS, AdRow
from ingest.decode import ad as ad_decoding
from ingest.decode.verdict import FIELDS
from ingest.tuple import COLUMNS, SCHEMAS, TIME_MAX_US, TIME_MIN_US, Row

NAMES: Final = {field.column: field.name for field in FIELDS}
"""Field of ingest.tuple.Row → its name on the wire; metadata, which is JSON within JSON, is not among them."""
AD_NAMES: Final = {field.column: field.name for field in ad_decoding.FIELDS}
"""The same of ingest.ad.AdRow."""
TIMES: Final = frozenset({"occurred_at_us", "sent_at_us"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NotAnEvent(Exception):
    """These bytes are no tuple, or of no event that can be posted."""


def row_of(data: bytes, schema: int) -> Row | AdRow:
    """The tuple's values, if it is a tuple to the last byte. Raises NotAnEvent."""
    if schema not in SCHEMAS and schema not in AD_SCHEMAS:
        raise NotAnEvent(f"schema {schema} is of another release")
    row: Row | AdRow
    try:
        row = ad.decode(data) if schema in AD_SCHEMAS else copy_tuple.decode(data)
        columns = AD_COLUMNS if schema in AD_SCHEMAS else COLUMNS
        if any(column.required and value is None for column, value in zip(columns, row, strict=True)):
            raise NotAnEvent("a required column is missing")
        if (ad.encode(row) if isinstance(row, AdRow) else copy_tuple.encode(row)) != data:
            raise NotAnEvent("a column is not of its type")
    except (ValueError, struct.error, AssertionError) as error:  # an ad's tuple asserts what the door had checked
        raise NotAnEvent(str(error)) from error
    return row


def event_of(row: Row | AdRow) -> dict[str, Any]:
    """The event with the names of the wire, without what it does not say. Raises NotAnEvent."""
    if isinstance(row, AdRow):
        return _ad_of(row)
    event: dict[str, Any] = {}
    for column, value in row._asdict().items():
        name = NAMES.get(column)
        if name is None or value is None or value is False:
            continue
        event[name] = time_text(value) if column in TIMES else value if isinstance(value, int) else str(value)
    if row.metadata is not None:
        try:
            event["metadata"] = msgspec.json.decode(row.metadata)
        except msgspec.DecodeError as error:
            raise NotAnEvent(f"metadata: {error}") from error
    return event


def _ad_of(row: AdRow) -> dict[str, Any]:
    event: dict[str, Any] = {"type": ad_decoding.TYPE}
    for column, value in row._asdict().items():
        if column not in AD_NAMES or value is None or value is False:
            continue
        event[AD_NAMES[column]] = time_text(value) if column in TIMES else str(value)
    if row.test:
        event["test"] = True
    if row.duration_ms is not None:
        event["duration"] = row.duration_ms / 1_000
    return event


def time_text(us: int) -> str:
    """RFC 3339 in UTC with microseconds. Raises NotAnEvent for a time that no calendar has."""
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError as error:
        raise NotAnEvent(f"{us} µs since 1970 is no time") from error


def sent_at_now(row: Row, now_us: int) -> str | None:
    """`sent_at` for a try at `now_us`, as the player's own clock would show it; None when it said none.

    With the old stamp a clock that was right would look broken by as much as the event has waited, and a broken one by
    another amount than it is.
    """
    if row.sent_at_us is None:
        return None
    return time_text(min(max(now_us + row.sent_at_us - row.received_at_us, TIME_MIN_US), TIME_MAX_US))
