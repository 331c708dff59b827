"""Frames of signs, and what they must come to: a model of DESIGN §3 and §4, with nothing of the product's counting."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from struct import pack
from uuid import UUID

from config.settings import RedisSettings
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL
from ingest.clock import SystemClock
from ingest.spool.frame import Frame, MonthTotals, Totals
from ingest.spool.incarnation import State
from ingest.spool.run import Run
from ingest.tuple import Row, encode
from storage.sink import Slice
from tests.builders import RECEIVED_AT_US

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
LEASE = 25 * SECOND
LEASES = RedisSettings().leases_us
NOW = RECEIVED_AT_US + 30 * 60 * SECOND
INCARNATION = "5b" * 16

_numbers = count(1)


@dataclass(frozen=True)
class Sign:
    """One event as a player sent it; times in microseconds since 1970."""

    kind: str
    occurred_us: int
    received_us: int
    session: int = 1
    content: int = 1
    sequence: int | None = None
    sent_us: int | None = None
    test: bool = False
    event: int = 0
    profile: int | None = None
    position_s: int | None = 7
    duration_s: int | None = None


def a_sign(kind: str = "play", ago: int = SECOND, **changes: object) -> Sign:
    """A sign from `ago` microseconds before NOW, received a tenth of a second later, of an event of its own."""
    sign = Sign(kind, NOW - ago, NOW - ago + SECOND // 10, event=next(_numbers))
    return replace(sign, **changes)  # type: ignore[arg-type]


def session_of(number: int) -> UUID:
    return UUID(int=0x5E550000_0000_4000_8000_000000000000 + number)


def content_of(number: int) -> UUID:
    return UUID(int=0xC0FF0000_0000_4000_8000_000000000000 + number)


def profile_of(number: int) -> UUID:
    return UUID(int=0x9A0F_0000_0000_4000_8000_000000000000 + number)


def row(sign: Sign) -> bytes:
    """The sign as its tuple."""
    return encode(
        Row(
            event_id=UUID(int=0xE7_0000_0000 + sign.event),
            content_id=content_of(sign.content),
            session_id=session_of(sign.session),
            occurred_at_us=sign.occurred_us,
            received_at_us=sign.received_us,
            event_type=sign.kind,
            test=sign.test,
            sent_at_us=sign.sent_us,
            sequence=sign.sequence,
            position_s=sign.position_s,
            duration_s=sign.duration_s,
            profile_id=None if sign.profile is None else profile_of(sign.profile),
            device_type="tv",
        )
    )


def frames(signs: Sequence[Sign], begin: int = 0, size: int = 20, flags: int = 0) -> list[Frame]:
    """Frames of up to `size` signs in this order, heartbeats in frames of their own."""
    result: list[Frame] = []
    for first in range(0, len(signs), size):
        part = signs[first : first + size]
        for kind, of_kind in (
            (KIND_PLAYBACK, [sign for sign in part if sign.kind != "heartbeat"]),
            (KIND_SIGNAL, [sign for sign in part if sign.kind == "heartbeat"]),
        ):
            if of_kind:
                result.append(a_frame(list(map(row, of_kind)), begin + len(result), kind, flags=flags))
    return result


def a_frame(rows: list[bytes], sequence: int, kind: int = KIND_PLAYBACK, schema: int = 1, flags: int = 0) -> Frame:
    """As the spool's reader yields it; running totals play no part here."""
    return Frame(
        kind=kind,
        flags=flags,
        schema=schema,
        count=len(rows),
        sequence=sequence,
        received_at_us=NOW,
        month=0,
        rows_hash=0,
        month_totals=MonthTotals(),
        totals=Totals(),
        rejected_by_code=(),
        ends_table=pack(f"<{len(rows)}I", *accumulate(map(len, rows))),
        rows=b"".join(rows),
    )


def a_slice(of: Sequence[Frame], begin: int = 0, incarnation: str = INCARNATION) -> Slice:
    """What moves the position from `begin` to behind the last frame."""
    until = of[-1].sequence + 1 if of else begin
    return Slice(incarnation, begin, [Run.of(of)] if of else [], State(until, Totals(), {}, ()), [])


class StoppedClock(SystemClock):
    """A wall clock that stands, at NOW until it is set."""

    def __init__(self, now_us: int = NOW) -> None:
        self.wall_us = now_us

    def now_us(self) -> int:
        return self.wall_us


# ── the model ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def happened_us(sign: Sign) -> int:
    """Corrected time: counted back from the receipt when the player's clock is off, a day ahead of it at most."""
    if sign.sent_us is not None and abs(sign.received_us - sign.sent_us) > 300 * SECOND:
        return min(sign.received_us - sign.sent_us + sign.occurred_us, sign.received_us + DAY)
    return sign.occurred_us


def expected_views(signs: Iterable[Sign], now_us: int = NOW) -> dict[tuple[UUID, int], int]:
    """(content, hour) → views, of the hours that are kept."""
    plays: dict[tuple[int, int], list[int]] = {}
    for sign in signs:
        if sign.kind == "play" and not sign.test:
            plays.setdefault((sign.session, sign.content), []).append(happened_us(sign))
    result: dict[tuple[UUID, int], int] = {}
    for (_, content), times_us in plays.items():
        hour = min(times_us) // HOUR
        if hour >= now_us // HOUR - 31 * 24:
            result[content_of(content), hour] = result.get((content_of(content), hour), 0) + 1
    return result


def expected_viewers(signs: Iterable[Sign], now_us: int = NOW) -> dict[UUID, set[UUID]]:
    """Content → sessions that watch it, for sessions whose signs all have a sequence, or none has.

    The first receipt of each event stands for it. Of a session in order, the last sign of life says where and until
    when, unless the last word on its state is a pause or an end of the same content, or a later one of another content.
    """
    sessions: dict[int, dict[int, Sign]] = {}
    for sign in signs:
        if not sign.test and sign.kind != "error":
            events = sessions.setdefault(sign.session, {})
            known = events.get(sign.event)
            if known is None or sign.received_us < known.received_us:
                events[sign.event] = sign
    result: dict[UUID, set[UUID]] = {}
    for session, events in sessions.items():
        seat = _seat(list(events.values()))
        if seat is not None and seat[1] + LEASE > now_us:
            result.setdefault(content_of(seat[0]), set()).add(session_of(session))
    return result


LIFE = ("play", "heartbeat", "seek", "buffering", "quality_change")
STATES = ("play", "pause", "stop", "completed")


def _seat(signs: list[Sign]) -> tuple[int, int] | None:
    """The content that a session's story ends with and the last moment that proves it."""
    story = sorted(signs, key=_order)
    life = [sign for sign in story if sign.kind in LIFE]
    states = [sign for sign in story if sign.kind in STATES]
    if not life:
        return None
    proof = life[-1]
    if states and states[-1].kind != "play":
        state = states[-1]
        if state.content != proof.content:
            if _order(state) > _order(proof):
                return None
        elif state.kind == "pause":
            proof = state
        else:
            return None
    return proof.content, min(happened_us(proof), proof.received_us)


def _order(sign: Sign) -> tuple[int, int]:
    """Within a session; at one moment the end is said last, the pause before it, then play."""
    tie = {"play": 1, "pause": 2, "stop": 3, "completed": 3}.get(sign.kind, 0)
    return (happened_us(sign) if sign.sequence is None else sign.sequence, tie)
