"""What decoding a request's body yields: the rows to keep, grouped as frames, and a verdict on the rest.

Decoding is pure: it returns a `Batch`; the collector hands `Batch.bodies` to the spool and answers from the counts.
"""

from collections.abc import Sequence
from itertools import accumulate
from struct import pack, unpack_from
from typing import NamedTuple

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from config.heartbeat import CLASSES

KIND_PLAYBACK = 1
"""Frame of rows of playback_events."""
KIND_AD = 2
"""Frame of ad events: tuples of SCHEMA_AD, merged into ad_impressions."""
KIND_SIGNAL = 3
"""Frame of heartbeats: the same tuples, read by live readers, never stored as rows."""
KIND_CMCD = 4
"""Frame of lines of CMCD: tuples of SCHEMA_CMCD, which the session stage makes events of. No store takes them."""

KINDS = (KIND_PLAYBACK, KIND_AD, KIND_SIGNAL, KIND_CMCD)

FLAG_CLOCK_BROKEN = 1
"""Rows of a player whose clock is broken: `occurred_at` is as sent; the drain settles it through clock_repairs."""

HEARTBEAT_SHIFT = 4
"""Bits 4 to 7 of a frame's flags: the class (`config.heartbeat`) of its players' heartbeat interval, as their write key
names it. 0, as in every frame of earlier releases: that of the settings. A frame is of one class."""

HEARTBEAT_FLAGS = tuple(number << HEARTBEAT_SHIFT for number in range(CLASSES))

FLAGS = frozenset(clock | heartbeat for clock in (0, FLAG_CLOCK_BROKEN) for heartbeat in HEARTBEAT_FLAGS)

MONTH_UNSETTLED = 0
"""Month of frames with FLAG_CLOCK_BROKEN, whose month the drain settles, and of signals."""

MONTH_AD = 1
"""Month of frames of ad events, a number no real month has: their identity holds no time, so their books have none."""

MONTH_CMCD = 2
"""Month of frames of CMCD, another such number: they are rows of no month, whatever events become of them."""

SCHEMA_PLAYBACK = 1
"""Schema id of the column list in `ingest.tuple.COLUMNS`; kept for ever."""
SCHEMA_AD = 2
"""Schema id of the column list in `ingest.ad.AD_COLUMNS`; kept for ever."""
SCHEMA_CMCD = 3
"""Schema id of the column list in `ingest.cmcd.CMCD_COLUMNS`; kept for ever."""


class FrameBody(NamedTuple):
    """What becomes one frame: rows of one kind, one month and one state of the player's clock."""

    kind: int
    flags: int
    schema: int
    month: int
    """Months since year 0 (year * 12 + month - 1) of every row's occurred_at in UTC; MONTH_UNSETTLED, MONTH_AD,
    MONTH_CMCD."""
    count: int  # type: ignore[assignment]  # tuple.count is nothing one asks a body
    rows_hash: int
    """Sum of xxh3_64 of every tuple, modulo 2^64."""
    payload: bytes
    """As it stands in the frame: count × (end u32), where each tuple ends, and the tuples."""

    @classmethod
    def of(
        cls, kind: int, flags: int, month: int, tuples: Sequence[bytes], schema: int = SCHEMA_PLAYBACK
    ) -> "FrameBody":
        """Of PostgreSQL binary-COPY tuples, as `ingest.tuple` lays them out."""
        count = len(tuples)
        rows_hash = sum(map(xxh3_64_intdigest, tuples)) & 0xFFFF_FFFF_FFFF_FFFF
        payload = b"".join((pack(f"<{count}I", *accumulate(map(len, tuples))), *tuples))
        return cls(kind, flags, schema, month, count, rows_hash, payload)

    @property
    def tuples(self) -> list[bytes]:
        """One an event."""
        ends, rows, begin, found = unpack_from(f"<{self.count}I", self.payload), self.payload[4 * self.count :], 0, []
        for end in ends:
            found.append(rows[begin:end])
            begin = end
        return found


class EventError(Struct, frozen=True):
    """Why one event of a request was refused."""

    index: int
    """Position in the request, from 0 (NDJSON: of the non-empty line)."""
    id: str | None
    """The event_id, of an ad event the impression_id, as sent, when it is a text of at most 64 characters."""
    code: str
    path: str
    """JSONPath within the event: `$.bitrate`; `$` when it is the event itself."""
    message: str


class Batch(Struct, frozen=True, gc=False):
    """Verdicts on one request, and what shall be kept of it."""

    received: int
    """Events the request held = accepted + duplicates + rejected."""
    accepted: int
    duplicates: int
    """Repeats of a key within this request; the first one is accepted."""
    rejected: int
    errors: list[EventError]
    """The first 100 refusals, in order."""
    rejected_by_code: dict[str, int]
    bodies: list[FrameBody]
    unknown_fields: int
    """Fields outside the vocabulary, ignored and counted."""
    unknown_names: tuple[str, ...] = ()
    """Their names, for ?dry_run=1 only (at most 100)."""
