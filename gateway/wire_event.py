"""A row as the event a player would post: the inverse of decoding, for letters and salvaged frames. Pure."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ingest import tuple as copy_tuple
from ingest.decode.verdict import FIELDS
from ingest.tuple import COLUMNS, SCHEMAS, TIME_MAX_US, TIME_MIN_US, Row

NAMES: Final = {field.column: field.name for field in FIELDS}
"""Field of ingest.tuple.Row → its name on the wire; metadata, which is JSON within JSON, is not among them."""
TIMES: Final = frozenset({"occurred_at_us", "sent_at_us"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NotAnEvent(Exception):
    """These bytes are no tuple, or of no event that can be posted."""


def row_of(data: bytes, schema: int) -> Row:
    """The tuple's values, if it is a tuple to the last byte. Raises NotAnEvent."""
    if schema not in SCHEMAS:
        raise NotAnEvent(f"schema {schema} is of another release")
    try:
        row = copy_tuple.decode(data)
        if any(column.required and value is None for column, value in zip(COLUMNS, row, strict=True)):
            raise NotAnEvent("a required column is missing")
        if copy_tuple.encode(row) != data:
            raise NotAnEvent("a column is not of its type")
    except (ValueError, struct.error) as error:
        raise NotAnEvent(str(error)) from error
    return row


def event_of(row: Row) -> dict[str, Any]:
    """The event with the names of the wire, without what it does not say. Raises NotAnEvent."""
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
