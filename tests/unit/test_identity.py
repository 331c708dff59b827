"""Derived ids: fixed for ever, checked against an encoding written out a second time."""

import hashlib
from uuid import UUID

import pytest

from ingest.identity import NAMESPACE, derived_event_id

SESSION = UUID("5e551011-1111-4222-8333-444455556666")
CONTENT = UUID("c0ffee00-1111-4222-8333-444455556666")
TIME_US = 1_795_377_600_123_456

VECTORS = [
    # owner, session, sequence, event_type, content, occurred_at, position, id
    (b"", SESSION, 7, "play", CONTENT, TIME_US, 61, "ef6ef742-b4eb-57a0-8107-d40efae99ee0"),
    (b"", SESSION, None, "play", CONTENT, TIME_US, 61, "0d23b765-3aa5-5066-93b1-a9ab9468bad3"),
    (b"", SESSION, 7, "play", CONTENT, TIME_US, None, "7f532ad1-e3be-5c59-a5e0-c222fbe21286"),
    (b"", SESSION, 0, "quality_change", CONTENT, 0, 0, "138bf9b7-4a7a-5dc7-8965-5d0fcea7228a"),
    (b"owner-1", SESSION, 2**53 - 1, "heartbeat", CONTENT, TIME_US, 2**31 - 1, "d0dfc4d4-1491-5073-bd4d-a4b3c224645b"),
]


@pytest.mark.parametrize("owner, session, sequence, event_type, content, occurred_us, position, expected", VECTORS)
def test_an_id_is_what_it_was_in_every_release(
    owner, session, sequence, event_type, content, occurred_us, position, expected
):
    made = derived_event_id(owner, session.bytes, sequence, event_type, content.bytes, occurred_us, position)
    assert UUID(bytes=made) == UUID(expected)


@pytest.mark.parametrize("owner, session, sequence, event_type, content, occurred_us, position, expected", VECTORS)
def test_an_id_is_sha1_of_the_documented_encoding(
    owner, session, sequence, event_type, content, occurred_us, position, expected
):
    name = "01" + f"{len(owner):04x}" + owner.hex() + session.hex
    name += "f" * 16 if sequence is None else f"{sequence:016x}"
    name += f"{len(event_type):02x}" + event_type.encode().hex() + content.hex + f"{occurred_us:016x}"
    name += "f" * 8 if position is None else f"{position:08x}"
    digest = hashlib.sha1(NAMESPACE + bytes.fromhex(name)).digest()  # noqa: S324  what RFC 9562 asks for
    assert UUID(bytes=digest[:16], version=5) == UUID(expected)


def test_every_part_makes_another_id():
    ids = {derived_event_id(b"", SESSION.bytes, 7, "play", CONTENT.bytes, TIME_US, 61)}
    ids.add(derived_event_id(b"o", SESSION.bytes, 7, "play", CONTENT.bytes, TIME_US, 61))
    ids.add(derived_event_id(b"", CONTENT.bytes, 7, "play", CONTENT.bytes, TIME_US, 61))
    ids.add(derived_event_id(b"", SESSION.bytes, 8, "play", CONTENT.bytes, TIME_US, 61))
    ids.add(derived_event_id(b"", SESSION.bytes, 7, "stop", CONTENT.bytes, TIME_US, 61))
    ids.add(derived_event_id(b"", SESSION.bytes, 7, "play", SESSION.bytes, TIME_US, 61))
    ids.add(derived_event_id(b"", SESSION.bytes, 7, "play", CONTENT.bytes, TIME_US + 1, 61))
    ids.add(derived_event_id(b"", SESSION.bytes, 7, "play", CONTENT.bytes, TIME_US, 62))
    ids.add(derived_event_id(b"", SESSION.bytes, None, "play", CONTENT.bytes, TIME_US, 61))
    ids.add(derived_event_id(b"", SESSION.bytes, 7, "play", CONTENT.bytes, TIME_US, None))
    assert len(ids) == 10
