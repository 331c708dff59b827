"""Whom Redis itself has seated at a moment, so that a wrong number of viewers can be explained by name.

Nothing is judged by this: it is for people, beside a number that the ledger says is wrong. The names of keys and what a
session's string holds are those of the product's `storage/redis/key.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import Any, Final, NamedTuple
from uuid import UUID

from loadtests.ledger import Entry, Ledger
from loadtests.truth.viewers import Watch, happened_us

TAG: Final = "{ingest}:"
REGISTER: Final = Struct("<dBd16sd")
REGISTERS: Final = ("state by sequence", "life by sequence", "state by time", "life by time")
RANKS: Final = ("life", "play", "pause", "end")
SESSIONS_MAX: Final = 3  # told of each content: one too many is usually one


class Seat(NamedTuple):
    """Until when a session watches (epoch µs), and what is remembered of it."""

    until_us: int
    remembered: bytes


Seated = Mapping[UUID, Mapping[UUID, Seat]]
"""Content → session → its seat; contents that are live, leases that are over included."""


async def seated(store: Any) -> Seated:
    """As Redis has it now, of contents without a sample. Raises redis's errors."""
    contents = [UUID(name.decode()) for name in await store.zrange(TAG + "live", 0, -1)]
    async with store.pipeline(transaction=False) as pipeline:
        for content in contents:
            pipeline.zrange(f"{TAG}viewers:{content}", 0, -1, withscores=True)
        leases: list[list[tuple[bytes, float]]] = await pipeline.execute()
    names = [f"{TAG}session:".encode() + session for members in leases for session, _ in members]
    strings = iter(await store.mget(names) if names else ())
    return {
        content: {UUID(bytes=session): Seat(round(until_s * 1e6), next(strings) or b"") for session, until_s in members}
        for content, members in zip(contents, leases, strict=True)
    }


def told(ledger: Ledger, found: Iterable[Watch], there: Seated, content: UUID, at_us: int) -> str:
    """Who is seated and should not be, who should be and is not: what is remembered of each, and its ledger."""
    may = {watch.session for watch in found if watch.content == content and watch.most_us > at_us}
    must = {watch.session for watch in found if watch.content == content and watch.least_us > at_us}
    seats = {session: seat for session, seat in there.get(content, {}).items() if seat.until_us > at_us}
    odd = [(session, f"seated until {_ago(seats[session].until_us, at_us)}") for session in seats.keys() - may]
    odd += [(session, "not seated") for session in must - seats.keys()]
    lines = [f"{len(seats)} seated, by the ledger {len(must)} to {len(may)}"]
    for session, where in odd[:SESSIONS_MAX]:
        lines.append(f"session {session}: {where}")
        remembered = seats[session].remembered if session in seats else b""
        lines += [f"  remembered: {one}" for one in registers(remembered, at_us)]
        lines += [f"  {one}" for one in story(ledger, session, at_us)]
    return "".join(f"\n      {line}" for line in lines)


def registers(remembered: bytes, at_us: int) -> Iterator[str]:
    """What a session's string says, a line each."""
    mask, at = (remembered[0], 1) if remembered else (0, 0)
    for slot, name in enumerate(REGISTERS):
        if mask & 1 << slot:
            order, rank, base_us, content, time_us = REGISTER.unpack_from(remembered, at)
            at += REGISTER.size
            yield (
                f"{name}: {RANKS[int(rank)]} {order:.0f}, {_ago(round(time_us), at_us)}, "
                f"lease from {_ago(round(base_us), at_us)}, {UUID(bytes=content)}"
            )


def story(ledger: Ledger, session: UUID, at_us: int) -> list[str]:
    """Every event of a session in its order, with what became of each try; times from `at_us` on."""
    mine = [entry for entry in ledger.entries.values() if entry.event["session_id"] == str(session)]
    return [_line(entry, at_us) for entry in sorted(mine, key=lambda entry: int(entry.event["sequence"]))]


def _line(entry: Entry, at_us: int) -> str:
    event = entry.event
    fate = "acknowledged" if entry.acknowledged else "refused" if entry.refusals else "unanswered"
    tries = ", ".join(
        f"{_ago(one.begun_us, at_us)} to {'?' if one.ended_us is None else _ago(one.ended_us, at_us)}"
        + ("" if one.sent_at_us is None else f" sent_at {_ago(one.sent_at_us, at_us)}")
        for one in entry.attempts
    )
    happened = " to ".join(_ago(end_us, at_us) for end_us in happened_us(entry)) if entry.attempts else "never sent"
    test = " test" if event.get("test") is True else ""
    return f"{event['sequence']} {event['event_type']}{test}: {happened}; {fate}, tries {tries or 'none'}"


def _ago(time_us: int, at_us: int) -> str:
    return f"{(time_us - at_us) / 1e6:+.3f} s"
