"""Who watches what at a moment, and what a profile watches, as the ledger has it. Pure; by DESIGN §4 and README.

A session watches until a lease after its newest sign of life; by `sequence`, which every event of this crowd has. A
stop or a completion ends that at once, a pause lets the lease run out from the pause; only a play takes either back. A
sign counts from when it happened (corrected where the player's clock is broken), at most from its receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from loadtests.expectation import NOTHING, Bounds, clock_is_broken, corrected_us, receipt_us
from loadtests.ledger import Entry, Ledger, epoch_us

LIFE: Final = frozenset({"play", "heartbeat", "seek", "buffering", "quality_change"})
TOLD_US: Final = 1_000
STATES: Final = frozenset({"play", "pause", "stop", "completed"})


class Watch(NamedTuple):
    """What a session ended with: its content, its profile, and the least and most that its lease may reach (µs)."""

    session: UUID
    profile: UUID | None
    content: UUID
    least_us: int
    most_us: int


def watches(ledger: Ledger, lease_us: int) -> list[Watch]:
    """Of every session that ever watched and did not end itself."""
    sessions: dict[str, list[Entry]] = {}
    for entry in ledger.entries.values():
        if entry.acknowledged and entry.event.get("test") is not True and entry.event["event_type"] != "error":
            sessions.setdefault(entry.event["session_id"], []).append(entry)
    return [found for entries in sessions.values() for found in _watch(entries, lease_us)]


def viewers_at(found: Iterable[Watch], at_us: int) -> Mapping[UUID, Bounds]:
    """Viewers by content at a moment, told to the millisecond; contents that nobody can be watching are left out."""
    counts: dict[UUID, Bounds] = {}
    for watch in found:
        if watch.most_us > at_us:
            so_far = counts.get(watch.content, NOTHING)
            counts[watch.content] = Bounds(so_far.least + (watch.least_us >= at_us + TOLD_US), so_far.most + 1)
    return counts


def streams_at(found: Iterable[Watch], profile: UUID, at_us: int) -> tuple[frozenset[UUID], frozenset[UUID]]:
    """The sessions of a profile that have to be its streams at a moment, and those that may be."""
    mine = [watch for watch in found if watch.profile == profile and watch.most_us > at_us]
    must = frozenset(watch.session for watch in mine if watch.least_us >= at_us + TOLD_US)
    return must, frozenset(watch.session for watch in mine)


def _watch(entries: list[Entry], lease_us: int) -> Iterator[Watch]:
    story = sorted(entries, key=_place)
    life = [entry for entry in story if entry.event["event_type"] in LIFE]
    states = [entry for entry in story if entry.event["event_type"] in STATES]
    if not life:
        return
    proof = life[-1]
    if states and states[-1].event["event_type"] != "play":
        if states[-1].event["event_type"] != "pause":
            return
        proof = states[-1]
    least_us, most_us = happened_us(proof)
    event = proof.event
    profile = UUID(event["profile_id"]) if event.get("profile_id") else None
    ends_us = least_us + lease_us, most_us + lease_us
    yield Watch(UUID(event["session_id"]), profile, UUID(event["content_id"]), *ends_us)


def _place(entry: Entry) -> Any:
    return entry.event["sequence"]


def happened_us(entry: Entry) -> tuple[int, int]:
    """The two ends of what its time may be: corrected, and no later than its receipt (epoch µs)."""
    occurred_us = epoch_us(entry.event["occurred_at"])
    tries = entry.attempts
    earliest_us = min(receipt_us(attempt)[0] for attempt in tries)
    latest_us = max(receipt_us(attempt)[1] for attempt in tries)
    if not any(clock_is_broken(attempt) for attempt in tries):
        return min(occurred_us, earliest_us), min(occurred_us, latest_us)
    ends = [corrected_us(occurred_us, attempt) for attempt in tries]
    return min(earliest_us, *(least for least, _ in ends)), min(latest_us, max(most for _, most in ends))
