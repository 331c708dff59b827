"""The id of an event that came without one: a function of what the player sent and of nothing else.

A resend in another request, to another node or a day later must meet the same row, so the id takes in neither
received_at nor sent_at. It is a UUIDv5 (RFC 9562 §5.5): SHA-1 over NAMESPACE and this name, numbers in network order

    version u8 = 1 | owner_length u16 | owner | session_id 16 | sequence i64 (-1: absent)
    | event_type_length u8 | event_type, ASCII | content_id 16 | occurred_at i64 (microseconds since 1970, UTC, raw)
    | position i32 (whole seconds, rounded down; -1: absent)

`owner` is that of the write key: it stays when the key is rotated, and is empty where none is required. Pure.
"""

import struct
from hashlib import sha1
from typing import Final

NAMESPACE: Final = bytes.fromhex("5d1c7f5e0e5b4b6a9a3c2f7d8e4b1a90")
"""Ours alone, never to be changed: an id made before would not be met again."""

_SESSION_SEQUENCE = struct.Struct(">16sqB")
_CONTENT_TIME_POSITION = struct.Struct(">16sqi")


def derived_event_id(
    owner: bytes,
    session_id: bytes,
    sequence: int | None,
    event_type: str,
    content_id: bytes,
    occurred_at_us: int,
    position_s: int | None,
) -> bytes:
    """The 16 bytes of the id. `session_id`, `content_id`: 16 bytes each; `owner`: at most 65,535 bytes."""
    kind = event_type.encode("ascii")
    name = b"".join(
        (
            b"\x01",
            len(owner).to_bytes(2, "big"),
            owner,
            _SESSION_SEQUENCE.pack(session_id, -1 if sequence is None else sequence, len(kind)),
            kind,
            _CONTENT_TIME_POSITION.pack(content_id, occurred_at_us, -1 if position_s is None else position_s),
        )
    )
    digest = bytearray(sha1(NAMESPACE + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)
