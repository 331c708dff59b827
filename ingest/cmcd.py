"""A line of CMCD as players report it (CTA-5004-B, event mode): its PostgreSQL binary-COPY tuple, and back.

    tuple:  fields i16 = 26 | per column, in the order of CMCD_COLUMNS:  length_bytes i32 (-1: NULL) | value
    value:  as in `ingest.tuple`

What a line means depends on the session's earlier lines, so it is no row of any table yet: frames of KIND_CMCD are read
by the session stage alone, which makes ordinary events of them. **The identity of a line is (owner, session_id, target,
sequence, event, occurred_at)**: whoever sends it again repeats it. The session_id, as sent, is at [6:6+n], its length n
at [2:6]. Pure.
"""

from typing import Final, NamedTuple
from uuid import UUID

from ingest.tuple import POSTGRES_EPOCH_US, Column, decode_fields, encode_fields, walk_fields

CMCD_COLUMNS: Final[tuple[Column, ...]] = (
    Column("session_id", "varchar(64)", required=True),
    Column("target", "bigint", required=True),
    Column("owner", "varchar(64)", required=True),
    Column("sequence", "bigint", required=True),
    Column("event", "varchar(8)", required=True),
    Column("occurred_at", "timestamptz", required=True),
    Column("received_at", "timestamptz", required=True),
    Column("test", "boolean", required=True),
    Column("state", "varchar(4)"),
    Column("content_id", "varchar(128)"),
    Column("bitrate", "integer"),
    Column("stall", "integer"),
    Column("startup_ms", "integer"),
    Column("position", "bigint"),
    Column("rate", "integer"),
    Column("error_code", "varchar(50)"),
    Column("cdn_edge", "varchar(100)"),
    Column("quality", "varchar(20)"),
    Column("custom_event", "varchar(64)"),
    Column("profile_id", "uuid"),
    Column("device_type", "varchar(50)"),
    Column("platform", "varchar(50)"),
    Column("player", "varchar(100)"),
    Column("app_version", "varchar(50)"),
    Column("country", "char(2)"),
    Column("metadata", "json"),
)
CMCD_SCHEMAS: Final[dict[int, tuple[Column, ...]]] = {3: CMCD_COLUMNS}
"""Schema id → column list of frames of CMCD; kept for ever, as `ingest.tuple.SCHEMAS` is."""


class CmcdLine(NamedTuple):
    """One line in Python's types, in the order of CMCD_COLUMNS."""

    session_id: str
    """`sid`, as sent: a free text, never empty."""
    target: int
    """Of the collector's URL: `sn` is counted a target. Signed 64 bits."""
    owner: str
    """Of the write key; empty without keys."""
    sequence: int
    """`sn`."""
    event: str
    """`e`: ps, t, e, bc, pr, ce, …"""
    occurred_at_us: int
    """`ts`."""
    received_at_us: int
    test: bool = False
    state: str | None = None
    """`sta`: one of STATES, or what a player made up."""
    content_id: str | None = None
    """`cid`, as sent."""
    bitrate_kbps: int | None = None
    """`br`, of video where it is told apart."""
    stall_ms: int | None = None
    """`bsd`, all types of object together."""
    startup_ms: int | None = None
    """`msd`."""
    position_ms: int | None = None
    """`pt`; on a live stream it may be a time since 1970."""
    rate_thousandths: int | None = None
    """`pr` × 1,000."""
    error_code: str | None = None
    """`ec`, the first of the list."""
    cdn_edge: str | None = None
    quality: str | None = None
    custom_event: str | None = None
    """`cen`."""
    profile_id: UUID | None = None
    device_type: str | None = None
    platform: str | None = None
    player: str | None = None
    app_version: str | None = None
    country: str | None = None
    metadata: str | None = None
    """JSON, an object of at most METADATA_MAX_BYTES."""


assert len(CMCD_COLUMNS) == len(CmcdLine._fields)

STATES: Final = ("s", "p", "k", "r", "a", "w", "e", "f", "q", "d")
"""`sta`: starting, playing, seeking, rebuffering, paused, waiting, ended, fatal error, quit, preloading."""
SESSION_MAX_CHARS: Final = 64
EVENT_MAX_CHARS: Final = 8
STATE_MAX_CHARS: Final = 4
CONTENT_MAX_CHARS: Final = 128
ERROR_CODE_MAX_CHARS: Final = 50
EDGE_MAX_CHARS: Final = 100
CUSTOM_EVENT_MAX_CHARS: Final = 64
METADATA_MAX_BYTES: Final = 2_048


def encode(line: CmcdLine) -> bytes:
    """The tuple of `line`, which the caller has validated."""
    return encode_fields(CMCD_COLUMNS, line)


def walk(row: bytes) -> list[bytes | None]:
    """The values of all columns as encoded, None for NULL. ValueError when `row` is not one whole tuple."""
    return walk_fields(len(CMCD_COLUMNS), row)


def decode(row: bytes) -> CmcdLine:
    """The line in Python's types; the inverse of `encode`. ValueError when `row` is not one whole tuple."""
    return CmcdLine._make(decode_fields(CMCD_COLUMNS, row))


def occurred_at_us(row: bytes) -> int:
    """As the player sent it."""
    at = _times(row) + 4
    return int.from_bytes(row[at : at + 8], "big", signed=True) + POSTGRES_EPOCH_US


def received_at_us(row: bytes) -> int:
    """By the clock of the collector."""
    at = _times(row) + 16
    return int.from_bytes(row[at : at + 8], "big", signed=True) + POSTGRES_EPOCH_US


def _times(row: bytes) -> int:
    """Where occurred_at begins: behind session_id, target, owner, sequence and event, of which three are texts."""
    at = 6 + int.from_bytes(row[2:6], "big") + 12
    at += 4 + int.from_bytes(row[at : at + 4], "big") + 12
    return at + 4 + int.from_bytes(row[at : at + 4], "big")
