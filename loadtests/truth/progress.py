"""Where profiles are in their contents, as the ledger has it. Pure; by spec §3.3 and README "Watch history".

The newest of what a profile's players said stands, by corrected time, at most the receipt; of one moment the higher
`sequence`. Completed: the player said so, or 95 % are watched. Where receipts decide a time, the ledger knows it to
within the network's, and any sign that may be the newest may stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from loadtests.ledger import Entry, Ledger
from loadtests.truth.viewers import LIFE, STATES, happened_us

SIGNS: Final = LIFE | STATES


@dataclass(frozen=True, slots=True)
class Place:
    """What one sign says: position and duration in seconds, and whether the content is completed by it."""

    position_s: int
    duration_s: int
    completed: bool


def expected_progress(ledger: Ledger) -> Mapping[tuple[UUID, UUID], frozenset[Place]]:
    """(profile, content) → the places of which one has to stand."""
    signs: dict[tuple[UUID, UUID], list[tuple[int, int, Entry]]] = {}
    for entry in ledger.entries.values():
        event = entry.event
        is_sign = event["event_type"] in SIGNS and event.get("test") is not True and entry.acknowledged
        if is_sign and event.get("profile_id"):
            key = UUID(event["profile_id"]), UUID(event["content_id"])
            signs.setdefault(key, []).append((*happened_us(entry), entry))
    return {key: frozenset(map(_place, _newest(said))) for key, said in signs.items()}


def _newest(said: list[tuple[int, int, Entry]]) -> list[Entry]:
    """Those that may be the newest."""
    bound_us = max(least_us for least_us, _, _ in said)
    may_be = [(least_us, most_us, entry) for least_us, most_us, entry in said if most_us >= bound_us]
    if all(least_us == most_us for least_us, most_us, _ in may_be):
        last = max(entry.event["sequence"] for _, _, entry in may_be)
        return [entry for _, _, entry in may_be if entry.event["sequence"] == last]
    return [entry for _, _, entry in may_be]


def _place(entry: Entry) -> Place:
    event: dict[str, Any] = entry.event
    position_s, duration_s = math.floor(event["position"]), math.floor(event.get("duration") or 0)
    completed = event["event_type"] == "completed" or (duration_s > 0 and position_s >= 0.95 * duration_s)
    if event["event_type"] == "completed" and not duration_s:
        duration_s = position_s
    return Place(position_s, duration_s, completed)
