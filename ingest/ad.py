"""An ad event: which names VAST gives to what a player reports, and its PostgreSQL binary-COPY tuple, and back.

    tuple:  fields i16 = 13 | per column, in the order of AD_COLUMNS:  length_bytes i32 (-1: NULL) | value
    value:  as in `ingest.tuple`

impression_id is fixed in size and never NULL, so it is at [6:22] of every tuple, the length of the event's name at
[22:26]. **The identity of an ad event is (impression_id, event, progress_offset)**, the first three columns: whoever
fires it again, at whatever time, repeats it. `occurred_at` is when it happened, a broken clock corrected already
(DESIGN §3); times are no part of the identity, so nothing has to remember what was corrected. Pure.
"""

from typing import Final, NamedTuple
from uuid import UUID

from ingest.tuple import POSTGRES_EPOCH_US, Column, decode_fields, encode_fields, walk_fields

AD_COLUMNS: Final[tuple[Column, ...]] = (
    Column("impression_id", "uuid", required=True),
    Column("event", "varchar(32)", required=True),
    Column("progress_offset", "varchar(32)"),
    Column("occurred_at", "timestamptz", required=True),
    Column("received_at", "timestamptz", required=True),
    Column("test", "boolean", required=True),
    Column("campaign_id", "uuid"),
    Column("creative_id", "varchar(100)"),
    Column("content_id", "uuid"),
    Column("profile_id", "uuid"),
    Column("session_id", "uuid"),
    Column("error_code", "varchar(50)"),
    Column("duration", "integer"),
)
AD_SCHEMAS: Final[dict[int, tuple[Column, ...]]] = {2: AD_COLUMNS}
"""Schema id → column list of frames of ad events; kept for ever, as `ingest.tuple.SCHEMAS` is."""


class AdRow(NamedTuple):
    """One ad event in Python's types, in the order of AD_COLUMNS."""

    impression_id: UUID
    event: str
    """A name of EVENTS."""
    progress_offset: str | None
    """Of `progress` alone, as sent; never empty."""
    occurred_at_us: int
    received_at_us: int
    test: bool = False
    campaign_id: UUID | None = None
    creative_id: str | None = None
    content_id: UUID | None = None
    profile_id: UUID | None = None
    session_id: UUID | None = None
    error_code: str | None = None
    duration_ms: int | None = None
    """Of the ad."""


assert len(AD_COLUMNS) == len(AdRow._fields)

PROGRESS: Final = "progress"
CLICK: Final = "click"
TIMED_EVENTS: Final = (
    "loaded", "impression", "creativeView", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete", CLICK,
    "skip", "pause", "resume", "rewind", "mute", "unmute", "fullscreen", "exitFullscreen", "expand", "collapse",
    "acceptInvitation", "close", "viewable", "notViewable", "viewUndetermined", "error", PROGRESS,
)  # fmt: skip
"""What happened, by the name of VAST 4: an impression's row knows when each of them was first."""
COUNTED_EVENTS: Final = (
    "measurableImpression", "otherAdInteraction", "minimize", "overlayViewDuration", "interactiveStart",
    "verificationNotExecuted", "timeSpentViewing", "breakStart", "breakEnd",
)  # fmt: skip
"""Kept as events, without a time of their own in the row."""
EVENTS: Final = (*TIMED_EVENTS, *COUNTED_EVENTS)
"""Every canonical name."""
ALIASES: Final = {
    "clickTracking": CLICK,
    "nonLinearClickTracking": CLICK,
    "companionClickTracking": CLICK,
    "iconClickTracking": CLICK,
    "customClick": CLICK,
    "closeLinear": "close",
    "acceptInvitationLinear": "acceptInvitation",
    "playerExpand": "expand",
    "playerCollapse": "collapse",
    "adExpand": "expand",
    "adCollapse": "collapse",
}
"""Other names for the same: of older VAST, and of its elements."""
EVENT_MAX_CHARS: Final = 32
OFFSET_MAX_CHARS: Final = 32
CREATIVE_MAX_CHARS: Final = 100
ERROR_CODE_MAX_CHARS: Final = 50

_CANONICAL: Final = {name.lower(): name for name in EVENTS} | {old.lower(): new for old, new in ALIASES.items()}

assert all(len(name) <= EVENT_MAX_CHARS for name in EVENTS)


def canonical(name: str) -> str | None:
    """The name in EVENTS that `name` is, in whatever case or by an alias; None when VAST has no such event."""
    return _CANONICAL.get(name.lower())


def encode(row: AdRow) -> bytes:
    """The tuple of `row`, which the caller has validated."""
    assert (row.progress_offset is None or row.event == PROGRESS) and row.progress_offset != "", row
    return encode_fields(AD_COLUMNS, row)


def walk(row: bytes) -> list[bytes | None]:
    """The values of all columns as encoded, None for NULL. ValueError when `row` is not one whole tuple."""
    return walk_fields(len(AD_COLUMNS), row)


def decode(row: bytes) -> AdRow:
    """The row in Python's types; the inverse of `encode`. ValueError when `row` is not one whole tuple."""
    return AdRow._make(decode_fields(AD_COLUMNS, row))


def impression_id(row: bytes) -> bytes:
    """16 bytes."""
    return row[6:22]


def occurred_at_us(row: bytes) -> int:
    """When it happened, corrected."""
    at = _identity_end(row) + 4
    return int.from_bytes(row[at : at + 8], "big", signed=True) + POSTGRES_EPOCH_US


def received_at_us(row: bytes) -> int:
    """By the clock of the collector."""
    at = _identity_end(row) + 16
    return int.from_bytes(row[at : at + 8], "big", signed=True) + POSTGRES_EPOCH_US


def _identity_end(row: bytes) -> int:
    """Where the first three fields end."""
    at = 26 + int.from_bytes(row[22:26], "big")
    return at + 4 + max(0, int.from_bytes(row[at : at + 4], "big", signed=True))
