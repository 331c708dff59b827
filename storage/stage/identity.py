"""Names of CMCD as the uuids of our columns: a function of what the player sent and of the key's owner. Pure.

A session or content that is a UUID already stays as it is; any other text, and the identity of a line's event, becomes
a UUIDv5 (RFC 9562 §5.5): SHA-1 over NAMESPACE and this name, numbers in network order

    session, content   version u8 = 1 | kind u8 = 1, 2 | owner_length u16 | owner | text, UTF-8
    event              version u8 = 1 | kind u8 = 3    | owner_length u16 | owner | target i64 | sequence i64
                       | occurred_at i64 (microseconds since 1970, UTC) | event_length u8 | event | session, UTF-8

`owner` is the owner of the write key: it stays when the key is rotated, and is empty without keys.
"""

import struct
from functools import lru_cache
from hashlib import sha1
from typing import Final

from ingest.decode.uuid import uuid_bytes

NAMESPACE: Final = bytes.fromhex("8a4f0f5b61c94dd0b1f27c0e93d5a6e4")
"""Ours alone, never to be changed: an id made before would not be met again."""
SESSION: Final = 1
CONTENT: Final = 2
EVENT: Final = 3
NAMES_MAX: Final = 65_536
"""Remembered: a session's name comes with each of its lines."""

_EVENT = struct.Struct(">qqqB")
_FREE_BITS = ~(0xF << 76 | 0x3 << 62) & 2**128 - 1
_FIXED_BITS = 0x5 << 76 | 0x2 << 62
"""Version and variant."""


def session_id(owner: bytes, text: bytes) -> bytes:
    """16 bytes."""
    return _named(SESSION, owner, text)


def content_id(owner: bytes, text: bytes) -> bytes:
    """16 bytes; of an empty text NO_CONTENT, whoever the owner is."""
    return _named(CONTENT, owner, text) if text else NO_CONTENT


def event_id(owner: bytes, session: bytes, target: int, sequence: int, event: bytes, occurred_at_us: int) -> bytes:
    """16 bytes. `session` and `event` as sent."""
    return _uuid5(_head(EVENT, owner) + _EVENT.pack(target, sequence, occurred_at_us, len(event)) + event + session)


def is_uuid(text: bytes) -> bool:
    """Whether a session or content is taken as it is."""
    try:
        uuid_bytes(text.decode("ascii"))
    except ValueError:
        return False
    return True


@lru_cache(NAMES_MAX)
def _named(kind: int, owner: bytes, text: bytes) -> bytes:
    if len(text) in (32, 36):
        try:
            return uuid_bytes(text.decode("ascii"))
        except ValueError:
            pass
    return _uuid5(_head(kind, owner) + text)


@lru_cache(NAMES_MAX)
def _head(kind: int, owner: bytes) -> bytes:
    return NAMESPACE + bytes((1, kind)) + len(owner).to_bytes(2, "big") + owner


def _uuid5(name: bytes) -> bytes:
    """`name` begins with the namespace."""
    digest = int.from_bytes(sha1(name, usedforsecurity=False).digest()[:16])
    return (digest & _FREE_BITS | _FIXED_BITS).to_bytes(16)


NO_CONTENT: Final = _named(CONTENT, b"", b"")
"""What a player plays that does not say what it is: no content, though a row needs one. One for all owners, so that who
serves numbers of contents can leave it out. A content of each such session would be as many contents as sessions."""
