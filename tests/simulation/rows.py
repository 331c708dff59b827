"""COPY tuples as PostgreSQL reads them (manual, COPY, file formats), by code that is not the gateway's."""

from struct import unpack_from
from typing import NamedTuple

HEADER_BYTES = 19
FIELDS = 24
POSTGRES_EPOCH_US = 946_684_800_000_000


class Stored(NamedTuple):
    """Of a row, what the worlds ask."""

    event_id: bytes
    content: bytes
    session: bytes
    occurred_us: int
    received_us: int
    sent_us: int | None
    sequence: int
    event_type: bytes
    platform: bytes


def tuples_of(data: bytes) -> list[bytes]:
    """The rows of a binary COPY, each as its tuple."""
    at, found = HEADER_BYTES, []
    while data[at : at + 2] != b"\xff\xff":
        begin = at
        assert data[at : at + 2] == b"\x00\x18", "a tuple has 24 fields"
        at += 2
        for _ in range(FIELDS):
            (length_bytes,) = unpack_from(">i", data, at)
            at += 4 + max(length_bytes, 0)
        found.append(data[begin:at])
    assert at + 2 == len(data)
    return found


def key_of(row: bytes) -> bytes:
    """occurred_at and event_id, 24 bytes: the primary key."""
    return row[66:74] + row[6:22]


def read(row: bytes) -> Stored:
    """The fields of one tuple."""
    values: list[bytes | None] = []
    at = 2
    for _ in range(16):
        (length_bytes,) = unpack_from(">i", row, at)
        at += 4
        values.append(None if length_bytes < 0 else row[at : at + length_bytes])
        at += max(length_bytes, 0)
    event_id, content, session, occurred, received, event_type = values[:6]
    sent, sequence, platform = values[7], values[8], values[15]
    assert event_id and content and session and occurred and received and event_type and sequence
    return Stored(
        event_id, content, session, _time_us(occurred), _time_us(received), None if sent is None else _time_us(sent),
        int.from_bytes(sequence, "big"), event_type, platform or b"",
    )  # fmt: skip


def _time_us(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True) + POSTGRES_EPOCH_US
