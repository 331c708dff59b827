"""Requests as players send them, the same in every run: seeded, every event id new, one viewer a request."""

import json
from random import Random
from typing import Any, Final
from uuid import UUID

from ingest.clock import SystemClock

NOW_US: Final = 1_795_000_000_000_000
"""When all of them come: 2026-11-18T11:06:40Z. Their events are of the ten seconds before."""
NOW_TEXT: Final = "2026-11-18T11:06"
TYPES: Final = ("play", "quality_change", "seek", "buffering", "pause", "heartbeat", "play", "error", "seek", "pause")
CONTENTS_COUNT: Final = 50
HEAD: Final = (
    "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\nOrigin: https://tv.example\r\n"
    "User-Agent: Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.5) AppleWebKit/537.36\r\n"
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n"
)


class StoppedClock(SystemClock):
    """It stands still, so that nothing takes time: a histogram has a bucket less or more to walk for what does."""

    def now_us(self) -> int:
        return NOW_US

    def monotonic_s(self) -> float:
        return 0.0


def _event(chance: Random, viewer: dict[str, Any], number: int) -> dict[str, Any]:
    event_type = TYPES[(viewer["first"] + number) % len(TYPES)]
    event = {
        "event_id": str(UUID(int=chance.getrandbits(128), version=4)),
        "event_type": event_type,
        "content_id": viewer["content_id"],
        "session_id": viewer["session_id"],
        "sequence": 1_000 + number,
        "occurred_at": f"{NOW_TEXT}:{30 + number // 2:02d}.{chance.randrange(1_000):03d}Z",
        "profile_id": viewer["profile_id"],
        "position": chance.randrange(1_000, 7_000),
        "duration": 7_200,
        "quality": chance.choice(["480p", "720p", "1080p", "4k"]),
        "bitrate": chance.choice([1_200, 2_400, 4_800, 16_000]),
        **viewer["device"],
        "cdn_edge": chance.choice(["fra-03", "ams-11", "waw-02"]),
        "country": "DE",
    }
    if event_type == "buffering":
        event["buffer_duration"] = chance.randrange(100, 1_000)
    if event_type == "error":
        event["error_code"] = "bufferStalledError"
    return event


def bodies(requests_count: int, events_count: int, seed: int) -> list[bytes]:
    """So many requests of so many events, at most sixty. Another seed gives none of the same ids."""
    chance = Random(f"instructions:{seed}")
    made = []
    for number in range(requests_count):
        viewer = {
            "first": number,
            "content_id": str(UUID(int=chance.randrange(CONTENTS_COUNT) + 1)),
            "session_id": str(UUID(int=chance.getrandbits(128), version=4)),
            "profile_id": str(UUID(int=chance.getrandbits(128), version=4)),
            "device": chance.choice([
                {"device_type": "tv", "platform": "tizen"}, {"device_type": "mobile", "platform": "android"},
            ]),
        }  # fmt: skip
        events = [_event(chance, viewer, index) for index in range(events_count)]
        made.append(json.dumps({"sent_at": f"{NOW_TEXT}:40.000Z", "events": events}, separators=(",", ":")).encode())
    return made


def request(body: bytes) -> bytes:
    """As it comes from a socket."""
    return HEAD.format(len(body)).encode() + body
