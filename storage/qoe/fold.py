"""All sessions: their signs put in order, those that are followed, those that fell silent. Pure.

Signs of a session are taken in the order of `sequence`, those without one by time. What follows on the last one is
taken at once, everything else WAIT_US after its receipt; what comes later still changes delivery loss and nothing else.

Time is that of the receipts that were read: a reader that is behind ends no session because of it. When there are more
sessions, or more signs a second, than are to be followed, only those are whose hash has `zero_bits` zeros at its head,
and each stands for 2^zero_bits.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Final

from storage.qoe.figures import MINUTE_US, RECEIVED, Minutes
from storage.qoe.session import BUFFERING, ERROR, NONE, PLAY, PLAYING, Session, Sign, advance, nothing_more

WAIT_US: Final = 5_000_000
MEMORY_US: Final = 15 * MINUTE_US
"""A session is known this long after its last sign; a sign that was older at its receipt is in no figure."""
AHEAD_MIN: Final = 6
"""Clocks that count as sane may be so many minutes ahead: what they say belongs to the running one."""
SWEEP_US: Final = 5_000_000
"""Between looks for sessions that fell silent."""
PACE_US: Final = 10_000_000
"""Signs a second are those of so long."""
CALM_PACES: Final = 6
"""So many of them with less than a third of what may be followed, and twice as many are."""
PENDING_MAX: Final = 256
"""Of one session; more are taken as they are."""
GAP_MAX: Final = 1_000
"""A sequence that leaps further has begun anew; nothing was lost."""
BEGINNINGS: Final = (PLAY, BUFFERING, ERROR)
"""Of a session without sequences, what is its first sign, and not that of one which we meet in its middle."""
IDS_MAX: Final = 32
SEEN_BITS: Final = 64
ALL_SEEN: Final = 2**SEEN_BITS - 1
MIX: Final = 0x9E37_79B9_7F4A_7C15

FollowedSign = tuple[bytes, Sign]
"""Session, sign."""


def is_followed(session: bytes, zero_bits: int) -> bool:
    """Whether a session (16 bytes) is one of those that stand for all."""
    mixed = int.from_bytes(session[:8], "little") ^ int.from_bytes(session[8:], "little")
    return (mixed * MIX & 2**64 - 1) >> (64 - zero_bits) == 0


class Fold:
    """The state; `minutes` is what comes of it."""

    def __init__(self, sessions_max: int, signs_per_s_max: int, leases_us: Sequence[int]) -> None:
        """`leases_us`: how long a session may be silent, by class of heartbeats."""
        self.sessions: dict[bytes, Session] = {}
        self.minutes = Minutes()
        self.zero_bits = 0
        self.clock_us = 0
        """The latest receipt, or now when there was nothing to read."""
        self.since_us = 0
        """Everything from then on was read; 0: nothing was."""
        self.late = 0
        """Signs that came too late for their place in the order."""
        self._sessions_max = sessions_max
        self._signs_max = signs_per_s_max * (PACE_US // 1_000_000)
        self._leases_us = leases_us
        self._waiting: list[tuple[int, bytes]] = []
        self._swept_us = self._paced_us = 0
        self._signs = self._calm = 0

    def take(self, signs: Iterable[FollowedSign]) -> None:
        """Signs of followed sessions, in the order in which they were received."""
        sessions, minutes, leases_us = self.sessions, self.minutes, self._leases_us
        minutes.weight = 1 << self.zero_bits
        touched = {}
        for session_id, sign in signs:
            self._signs += 1
            session = sessions.get(session_id)
            if session is None:
                session = sessions[session_id] = Session(sign.time_us, sign.received_us, sign.time_us)
            elif sign.received_us > session.received_us:
                session.received_us = sign.received_us
            if not session.pending and sign.sequence == session.highest + 1:
                _number(session, sign, minutes)
                advance(session, sign, minutes, leases_us[sign.heartbeat])
            else:
                session.pending.append(sign)
                touched[session_id] = session
        for session_id, session in touched.items():
            self._settle(session_id, session)
        if len(sessions) > self._sessions_max or self._signs > self._signs_max:
            self._follow_fewer()

    def tick(self, now_us: int) -> None:
        """Everything received before `now_us` was taken."""
        if now_us < self.clock_us - MEMORY_US:
            self._set_back(now_us)
        self.clock_us = max(self.clock_us, now_us)
        self.since_us = self.since_us or self.clock_us
        self.minutes.weight = 1 << self.zero_bits
        while self._waiting and self._waiting[0][0] <= self.clock_us:
            _, session_id = heappop(self._waiting)
            if (session := self.sessions.get(session_id)) is not None:
                self._settle(session_id, session)
        if self.clock_us - self._swept_us >= SWEEP_US:
            self._swept_us = self.clock_us
            self._sweep()
            self.minutes.forget(self.clock_us)
        if self.clock_us - self._paced_us >= PACE_US:
            self._pace()

    def wait_again(self) -> None:
        """Behind a restart: what was pending is."""
        for session_id, session in self.sessions.items():
            if session.pending:
                heappush(self._waiting, (_due_us(session), session_id))

    def _settle(self, session_id: bytes, session: Session) -> None:
        """Take what is in order, or has waited."""
        story = _in_order(session.pending)
        overdue_us = self.clock_us - WAIT_US
        last = max((at for at, sign in enumerate(story) if sign.received_us <= overdue_us), default=NONE)
        if len(story) > PENDING_MAX:
            last = len(story)
        for at, sign in enumerate(story):
            if at > last and sign.sequence != session.highest + 1 and not 0 <= sign.sequence <= session.highest:
                session.pending = story[at:]
                heappush(self._waiting, (_due_us(session), session_id))
                return
            self._take(session, sign)
        session.pending = []

    def _take(self, session: Session, sign: Sign) -> None:
        minutes = self.minutes
        if sign.sequence >= 0:
            if sign.sequence <= session.highest:
                self._take_late(session, sign)
                return
            _number(session, sign, minutes)
        else:
            if sign.event in session.ids:
                return
            session.ids = [*session.ids[1 - IDS_MAX :], sign.event]
            if sign.time_us < session.last_us and session.met:
                self.late += 1
                return
            if not session.met and sign.kind not in BEGINNINGS and sign.position_s != 0 and sign.startup_ms < 0:
                _meet_in_middle(session, sign)
        if not session.met:  # its first one in order
            session.last_us = session.first_us = sign.time_us
        advance(session, sign, minutes, self._leases_us[sign.heartbeat])

    def _take_late(self, session: Session, sign: Sign) -> None:
        bit = 1 << min(session.highest - sign.sequence, SEEN_BITS)
        if bit <= ALL_SEEN and not session.seen & bit:
            session.seen |= bit
            self.late += 1
            self.minutes.add(max(sign.time_us, session.first_us), session.place, RECEIVED)

    def _sweep(self) -> None:
        silent_us = [self.clock_us - lease_us - WAIT_US for lease_us in self._leases_us]
        forgotten_us = self.clock_us - MEMORY_US
        gone = []
        for session_id, session in self.sessions.items():
            if session.received_us < silent_us[session.heartbeat] and not session.pending:
                nothing_more(session, self.minutes)
                if session.received_us < forgotten_us:
                    gone.append(session_id)
        for session_id in gone:
            del self.sessions[session_id]

    def _set_back(self, now_us: int) -> None:
        """The clock of this machine was wrong: what is of a later time than now was never."""
        self.clock_us = self._swept_us = self._paced_us = now_us
        self.since_us = min(self.since_us, now_us)
        self.sessions = {name: one for name, one in self.sessions.items() if one.received_us <= now_us}
        self.minutes.forget_from(now_us + AHEAD_MIN * MINUTE_US)
        self._waiting = []
        self.wait_again()

    def _pace(self) -> None:
        """Follow more again after a while in which there was room for them."""
        calm = 3 * self._signs < self._signs_max and 3 * len(self.sessions) < self._sessions_max
        self._calm = self._calm + 1 if calm else 0
        if self._calm >= CALM_PACES and self.zero_bits > 0:
            self.zero_bits -= 1
            self._calm = 0
        self._signs, self._paced_us = 0, self.clock_us

    def _follow_fewer(self) -> None:
        self.zero_bits += 1
        self._signs //= 2
        self._calm = 0
        self.sessions = {
            session_id: session
            for session_id, session in self.sessions.items()
            if is_followed(session_id, self.zero_bits)
        }


def _due_us(session: Session) -> int:
    return min(sign.received_us for sign in session.pending) + WAIT_US


def _in_order(signs: list[Sign]) -> list[Sign]:
    """By sequence where both have it, else by time."""
    timed = sorted((sign for sign in signs if sign.sequence < 0), key=lambda sign: (sign.time_us, sign.kind))
    numbered = sorted((sign for sign in signs if sign.sequence >= 0), key=lambda sign: sign.sequence)
    if not timed:
        return numbered
    story: list[Sign] = []
    for sign in numbered:
        while timed and timed[0].time_us < sign.time_us:
            story.append(timed.pop(0))
        story.append(sign)
    return story + timed


def _number(session: Session, sign: Sign, minutes: Minutes) -> None:
    """The next one in order: what is missing between it and the last one did not arrive, yet."""
    gap = sign.sequence - session.highest
    if session.highest < 0:
        if sign.sequence > 1 and sign.startup_ms < 0 and not session.met:
            _meet_in_middle(session, sign)
        gap, session.seen = 1, ALL_SEEN
    elif gap > GAP_MAX:
        gap, session.seen = 1, ALL_SEEN
    else:
        session.seen = (session.seen << gap | 1) & ALL_SEEN
    session.highest = sign.sequence
    place = sign.place if not session.met else session.place
    at_us = max(sign.time_us, session.last_us)
    minutes.add_arrival(at_us, place, gap)


def _meet_in_middle(session: Session, sign: Sign) -> None:
    """Of how it began nothing is known, so nothing is said."""
    session.met_in_middle = session.started = True
    session.state, session.playing_since_us = PLAYING, sign.time_us
