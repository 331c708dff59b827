"""Events of a session and a content that somebody chose, posted to the door."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from loadtests.product import Product, ProductFailed

TYPES: Final = ("play", "pause", "seek", "buffering", "quality_change")


def event(chance: random.Random, session: str, content: str, number: int, at_s: float) -> dict[str, Any]:
    """With every field that players commonly send; `at_s`: seconds since 1970."""
    return {
        "event_id": new_id(chance), "event_type": chance.choice(TYPES), "content_id": content, "session_id": session,
        "profile_id": new_id(chance), "sequence": number, "occurred_at": time_of(at_s), "position": number % 5_400,
        "duration": 5_400, "quality": "1080p", "bitrate": 4_500, "device_type": "tv", "platform": "tizen",
        "cdn_edge": "fra-03", "player": "shaka 4.11", "app_version": "3.2.1", "country": "DE",
    }  # fmt: skip


def post(product: Product, events: list[dict[str, Any]]) -> None:
    """One request to the door. Raises OSError, ProductFailed."""
    body = json.dumps({"sent_at": time_of(time.time()), "events": events}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(product.endpoints["http"] + "/v1/events", body, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        told = json.load(answer)
    if told["accepted"] != len(events):
        raise ProductFailed(f"not all was accepted: {told}")


def new_id(chance: random.Random) -> str:
    """A uuid as text."""
    return str(UUID(int=chance.getrandbits(128), version=4))


def time_of(at_s: float) -> str:
    """Seconds since 1970 as RFC 3339."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
