"""What must be in the stores after the ledger's answers: rows by identity, views by content and hour. Pure.

Written from DESIGN §3 and §4 alone; the constants are the design's, not the product's.

Views: a view is a (session, content), counted once, in the hour of its earliest play by corrected time; events marked
`test` are in no number. When a clock is off, corrected time hangs on the moment of receipt, which a client knows only
to lie between sending and answer: a play within that of a full hour may count in either, and the bounds say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from loadtests.ledger import Attempt, Entry, Ledger, epoch_us

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3_600 * SECOND_US
CLOCK_TOLERANCE_US: Final = 300 * SECOND_US
DOOR_LIMIT_US: Final = 35 * 24 * HOUR_US
AHEAD_LIMIT_US: Final = 24 * HOUR_US
CORRECTED_LIMIT_US: Final = 24 * HOUR_US  # corrected time is at most this much later than the receipt
UNHEARD_US: Final = 60 * SECOND_US  # how long after a try without answer the gateway may still read it

TEXT_COLUMNS: Final = (
    "event_type",
    "quality",
    "device_type",
    "platform",
    "cdn_edge",
    "error_code",
    "player",
    "app_version",
    "country",
)
INTEGER_COLUMNS: Final = ("sequence", "position", "duration", "bitrate", "buffer_duration", "startup_ms")
UUID_COLUMNS: Final = ("content_id", "session_id", "profile_id")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most that a count may be; equal when the ledger knows exactly."""

    least: int
    most: int

    def hold(self, count: int) -> bool:
        return self.least <= count <= self.most


NOTHING: Final = Bounds(0, 0)


@dataclass(frozen=True, slots=True)
class Views:
    """Expected views: in each hour of each content, and of each content over all hours."""

    by_hour: Mapping[tuple[UUID, int], Bounds]
    by_content: Mapping[UUID, Bounds]


def receipt_us(attempt: Attempt) -> tuple[int, int]:
    """Between which two moments (epoch µs) the gateway received this try, if it did."""
    if attempt.acknowledged:
        assert attempt.ended_us is not None
        return attempt.begun_us, attempt.ended_us
    return attempt.begun_us, (attempt.ended_us or attempt.begun_us) + UNHEARD_US


def clock_is_broken(attempt: Attempt) -> bool:
    """Known by `sent_at` alone; without it the clock counts as sane."""
    return attempt.sent_at_us is not None and abs(attempt.begun_us - attempt.sent_at_us) > CLOCK_TOLERANCE_US


def corrected_us(occurred_us: int, attempt: Attempt) -> tuple[int, int]:
    """The event time that numbers use, as the two ends of what it may be: received − (sent − occurred) when the clock
    is broken, a day later than its receipt at most, else as sent."""
    if not clock_is_broken(attempt):
        return occurred_us, occurred_us
    assert attempt.sent_at_us is not None
    before_us = max(attempt.sent_at_us - occurred_us, -CORRECTED_LIMIT_US)
    least_us, most_us = receipt_us(attempt)
    return least_us - before_us, most_us - before_us


def differing_columns(entry: Entry, row: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Every column of `row` that is not what `entry` sent: name → (expected, stored)."""
    event = entry.event
    expected: dict[str, Any] = {name: event.get(name) for name in TEXT_COLUMNS}
    for name in INTEGER_COLUMNS:
        value = event.get(name)
        expected[name] = None if value is None else math.floor(value)
    for name in UUID_COLUMNS:
        expected[name] = None if event.get(name) is None else UUID(event[name])
    expected["test"] = event.get("test") is True
    expected["metadata"] = event.get("metadata")
    stored = {**row, "metadata": None if row["metadata"] is None else orjson.loads(row["metadata"])}
    different = {name: (value, stored[name]) for name, value in expected.items() if stored[name] != value}
    if event.get("event_id") is not None and row["event_id"] != UUID(event["event_id"]):
        different["event_id"] = (event["event_id"], row["event_id"])
    return different | _differing_times(entry, row)


def _differing_times(entry: Entry, row: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The three times: raw as sent, unless a broken clock pointed outside the door; then the first receipt."""
    different: dict[str, tuple[Any, Any]] = {}
    received_us = epoch_us(row["received_at"])
    windows = [receipt_us(attempt) for attempt in entry.attempts]
    if not any(least_us <= received_us <= most_us for least_us, most_us in windows):
        different["received_at"] = (windows, row["received_at"])
    sent_us = None if row["sent_at"] is None else epoch_us(row["sent_at"])
    if sent_us not in {attempt.sent_at_us for attempt in entry.attempts}:
        different["sent_at"] = ({attempt.sent_at_us for attempt in entry.attempts}, row["sent_at"])
    raw_us, stored_us = epoch_us(entry.event["occurred_at"]), epoch_us(row["occurred_at"])
    inside = received_us - DOOR_LIMIT_US <= raw_us <= received_us + AHEAD_LIMIT_US
    if inside or not any(clock_is_broken(attempt) for attempt in entry.attempts):
        if raw_us != stored_us:
            different["occurred_at"] = (entry.event["occurred_at"], row["occurred_at"])
    elif not any(least_us <= stored_us <= most_us for least_us, most_us in windows):
        different["occurred_at"] = ("the moment of its first receipt", row["occurred_at"])
    return different


def expected_views(ledger: Ledger) -> Views:
    """Count every view of the ledger; what was never answered may be counted or not."""
    plays: dict[tuple[str, UUID], list[tuple[int, int, bool]]] = {}
    for entry in ledger.entries.values():
        event = entry.event
        if event["event_type"] == "play" and event.get("test") is not True and entry.may_be_kept:
            occurred_us = epoch_us(event["occurred_at"])
            tries = [(*corrected_us(occurred_us, attempt), attempt.acknowledged) for attempt in entry.attempts]
            plays.setdefault((event["session_id"], UUID(event["content_id"])), []).extend(tries)
    by_hour: dict[tuple[UUID, int], Bounds] = {}
    by_content: dict[UUID, Bounds] = {}
    for (_, content_id), tries in plays.items():
        promised = [most_us for _, most_us, acknowledged in tries if acknowledged]
        first_hour = min(least_us for least_us, _, _ in tries) // HOUR_US
        last_hour = (min(promised) if promised else max(most_us for _, most_us, _ in tries)) // HOUR_US
        exactly = int(bool(promised) and first_hour == last_hour)
        for hour in range(first_hour, last_hour + 1):
            so_far = by_hour.get((content_id, hour), NOTHING)
            by_hour[content_id, hour] = Bounds(so_far.least + exactly, so_far.most + 1)
        so_far = by_content.get(content_id, NOTHING)
        by_content[content_id] = Bounds(so_far.least + bool(promised), so_far.most + 1)
    return Views(by_hour, by_content)
