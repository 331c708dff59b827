"""A line of CMCD as the stage takes it from its frame: what judges it as Python's values, the rest as encoded. Pure."""

from struct import Struct, error
from typing import TYPE_CHECKING, Final

from ingest.cmcd import CMCD_COLUMNS
from ingest.tuple import POSTGRES_EPOCH_US

if TYPE_CHECKING:
    from storage.stage.window import Origin

AT: Final = {column.name: number for number, column in enumerate(CMCD_COLUMNS)}
COUNT: Final = len(CMCD_COLUMNS)
NAMES: Final = [column.name for column in CMCD_COLUMNS]
_COUNT_BYTES: Final = COUNT.to_bytes(2, "big")
_NUMBER_AND_LENGTH: Final = Struct(">4xqi")
_MOMENTS: Final = Struct(">4xq4xq4xB")
"""occurred_at, received_at, test: of fixed size, and never NULL."""
_I32: Final = Struct(">i")
POSITION: Final = AT["position"]
assert NAMES[:POSITION] == [
    "session_id", "target", "owner", "sequence", "event", "occurred_at", "received_at", "test",
    "state", "content_id", "bitrate", "stall", "startup_ms",
]  # fmt: skip

Key = tuple[bytes, bytes, int]
"""Of a stream: owner, session as sent, target."""

NONE: Final = -1
"""Of a number that the player did not tell."""


class Line:
    """One line. Times in microseconds since 1970 UTC."""

    __slots__ = (
        "behind", "bitrate_kbps", "content", "event", "heartbeat", "key", "moments", "occurred_us", "origin", "raw",
        "received_us", "sequence", "stall_ms", "startup_ms", "state",
    )  # fmt: skip

    def __init__(self, raw: bytes, origin: "Origin | None" = None) -> None:
        """Of a tuple of SCHEMA_CMCD. ValueError when it cannot be one."""
        if raw[:2] != _COUNT_BYTES:
            raise ValueError(f"not a tuple of {COUNT} fields")
        try:
            at = 6 + int.from_bytes(raw[2:6])
            session = raw[6:at]
            target, length = _NUMBER_AND_LENGTH.unpack_from(raw, at)
            at += 16 + length
            owner = raw[at - length : at]
            self.sequence, length = _NUMBER_AND_LENGTH.unpack_from(raw, at)
            at += 16 + length
            self.event = raw[at - length : at]
            occurred_us, received_us, _ = _MOMENTS.unpack_from(raw, at)
            self.moments = at
            """Where occurred_at begins."""
            at += 29
            if raw[at]:
                self.state, at = None, at + 4
            else:
                begin, at = at + 4, at + 4 + raw[at + 3]
                self.state = raw[begin:at]
            if raw[at]:
                self.content, at = None, at + 4
            else:
                begin, at = at + 4, at + 4 + (raw[at + 2] << 8 | raw[at + 3])
                self.content = raw[begin:at]
            self.bitrate_kbps = self.stall_ms = self.startup_ms = NONE
            if raw[at]:
                at += 4
            else:
                (self.bitrate_kbps,), at = _I32.unpack_from(raw, at + 4), at + 8
            if raw[at]:
                at += 4
            else:
                (self.stall_ms,), at = _I32.unpack_from(raw, at + 4), at + 8
            if raw[at]:
                at += 4
            else:
                (self.startup_ms,), at = _I32.unpack_from(raw, at + 4), at + 8
        except (IndexError, error) as cut:
            raise ValueError("a tuple cut short") from cut
        self.raw = raw
        self.origin = origin
        """Its frame."""
        self.heartbeat = 0 if origin is None else origin.heartbeat
        """Class of its player's interval (`config.heartbeat`)."""
        self.behind = at
        """Where the next field begins: `position`, with its length."""
        self.key: Key = owner, session, target
        self.occurred_us = occurred_us + POSTGRES_EPOCH_US
        self.received_us = received_us + POSTGRES_EPOCH_US

    def begins(self) -> list[int]:
        """Where each field from `position` on begins, its length included; the last one is the end.

        Held lines do without: it is most of what they would weigh. ValueError when the tuple is not whole.
        """
        raw, at = self.raw, self.behind
        begins = [at]
        try:
            for _ in range(COUNT - POSITION):
                # of a length: -1 is NULL, and no value has 64 KiB
                at += 4 if raw[at] else 4 + (raw[at + 2] << 8 | raw[at + 3])
                begins.append(at)
        except IndexError:
            at = -1
        if at != len(raw):
            raise ValueError("a tuple cut short, or bytes behind it")
        return begins

    def value(self, column: int) -> bytes | None:
        """Of a column from `position` on, as encoded; None: NULL."""
        begins = self.begins()
        at = begins[column - POSITION]
        return None if self.raw[at] else self.raw[at + 4 : begins[column - POSITION + 1]]
