"""Valid values with one thing changed: what tests are built from."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

RECEIVED_AT = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
RECEIVED_AT_US = int(RECEIVED_AT.timestamp()) * 1_000_000
CONTENT_ID = "c0ffee00-1111-4222-8333-444455556666"
SESSION_ID = "5e551011-1111-4222-8333-444455556666"

_numbers = count(1)


def a_time(**before: float) -> str:
    """An RFC 3339 time before RECEIVED_AT: a_time(seconds=5), a_time(days=-1) is a day after it."""
    return (RECEIVED_AT - timedelta(**before)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def a_uuid() -> str:
    """One not given before in this process."""
    return str(UUID(int=0xE1E27000_0000_4000_8000_000000000000 + next(_numbers)))


def an_event(**changes: Any) -> dict[str, Any]:
    """A valid play, ten seconds old, with a new event_id, and with `changes`; None is null, that is absent."""
    event = {
        "event_id": a_uuid(),
        "event_type": "play",
        "content_id": CONTENT_ID,
        "session_id": SESSION_ID,
        "sequence": 7,
        "occurred_at": a_time(seconds=10),
        "position": 61,
        "duration": 5400,
        "device_type": "tv",
    }
    return event | changes


def an_ad_event(**changes: Any) -> dict[str, Any]:
    """A valid impression of an ad, ten seconds old, with a new impression_id, and with `changes`."""
    event = {"type": "ad", "impression_id": a_uuid(), "event": "impression", "occurred_at": a_time(seconds=10)}
    return event | changes


def a_full_event(**changes: Any) -> dict[str, Any]:
    """The same with every field of the vocabulary set."""
    rest = {
        "type": "playback",
        "profile_id": "9a0f11e0-1111-4222-8333-444455556666",
        "quality": "1080p",
        "bitrate": 4500,
        "platform": "tizen",
        "cdn_edge": "fra-03",
        "buffer_duration": 240,
        "startup_ms": 810,
        "error_code": "MEDIA_ERR_DECODE",
        "player": "shaka 4.7",
        "app_version": "3.2.1",
        "country": "DE",
        "metadata": {"campaign": "autumn", "tags": [1, 2.5, None, True]},
        "test": True,
        "sent_at": a_time(seconds=1),
    }
    return an_event(**rest) | changes


def a_body(events: Sequence[Any], shape: str = "envelope", **envelope: Any) -> bytes:
    """The events as a request's body; shape: envelope, array, object (of one event), ndjson."""
    if shape == "ndjson":
        return "".join(json.dumps(event) + "\n" for event in events).encode()
    if shape == "array":
        return json.dumps(list(events)).encode()
    if shape == "object":
        (event,) = events
        return json.dumps(event).encode()
    assert shape == "envelope", shape
    return json.dumps(envelope | {"events": list(events)}).encode()
