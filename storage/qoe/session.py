"""One session: what a sign says of the time since the one before it. Pure.

    STARTING ─▶ PLAYING ◀─▶ PAUSED          STALLED   buffering, until something plays
                 ▲ │ ▲                      FAILING   an error, until something plays (then it was none) or nothing does
                 │ ▼ └──▶ FAILING ─┐        ENDED     stop, completed, failed; a play goes on with the session
                STALLED            ▼
                                 ENDED

Players tell of a stall in two ways, and both are one stall: when it begins, or when it is over, with its duration.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from storage.qoe.figures import (
    EXITS,
    FAILURES,
    KEPT_MIN,
    MINUTE_US,
    NOWHERE,
    RATED,
    RATED_US,
    STALLED_US,
    STALLS,
    STARTS,
    TOTAL,
    WATCHED_US,
    Minutes,
    Place,
)

PLAY: Final = 1
HEARTBEAT: Final = 2
QUALITY_CHANGE: Final = 3
SEEK: Final = 4
BUFFERING: Final = 5
ERROR: Final = 6
PAUSE: Final = 7
COMPLETED: Final = 8
STOP: Final = 9
"""Of signs of one moment without a sequence, the lower ones come first: the end is the last word."""
KINDS: Final = {
    b"play": PLAY,
    b"pause": PAUSE,
    b"seek": SEEK,
    b"buffering": BUFFERING,
    b"error": ERROR,
    b"completed": COMPLETED,
    b"heartbeat": HEARTBEAT,
    b"stop": STOP,
    b"quality_change": QUALITY_CHANGE,
}

STARTING: Final = 0
PLAYING: Final = 1
PAUSED: Final = 2
STALLED: Final = 3
FAILING: Final = 4
ENDED: Final = 5

SEEK_SETTLES_US: Final = 2_000_000
"""Buffering that begins so soon behind a seek belongs to it."""
STARTUP_WATCHED_MAX_MS: Final = 120_000
"""Of a start-up, what counts as watched: beyond it nobody waits, and the number is rather wrong."""
KBPS_MAX: Final = 1_000_000
"""No bitrate is above it."""
NEVER: Final = -(2**62)
NONE: Final = -1
"""Of a number that the player did not tell."""


class Sign(NamedTuple):
    """An event, as far as it matters here; NONE is absent. Times are corrected, microseconds since 1970 UTC; that of a
    stall with its duration is when it was over."""

    event: bytes
    """The last 8 bytes of its id."""
    kind: int
    sequence: int
    time_us: int
    received_us: int
    position_s: int
    kbps: int
    buffer_ms: int
    startup_ms: int
    place: Place
    heartbeat: int = 0
    """Class of its player's interval (`config.heartbeat`)."""


class Session(Struct, array_like=True, gc=False):
    """What is known of one. It is kept in the state file as it is."""

    last_us: int
    """Of its last sign."""
    received_us: int
    """The latest receipt of a sign."""
    first_us: int
    state: int = STARTING
    place: Place = NOWHERE
    started: bool = False
    startup_told: bool = False
    failed: bool = False
    left: bool = False
    """Before the start."""
    met_in_middle: bool = False
    error_us: int = NEVER
    mark_s: int = NONE
    """Where it was when it stalled, paused, failed; or was put since."""
    playing_since_us: int = NEVER
    stalled_until_us: int = NEVER
    seek_us: int = NEVER
    kbps: int = NONE
    met: list[int] = []
    """By dimension: the minute in which it was there last."""
    highest: int = NONE
    """Sequence of its last sign."""
    seen: int = 0
    """Bit n: highest - n was there."""
    ids: list[bytes] = []
    """Of signs without a sequence, the latest ones."""
    pending: list[Sign] = []
    """Not in order yet."""
    heartbeat: int = 0
    """Of its last sign."""


def advance(session: Session, sign: Sign, minutes: Minutes, lease_us: int) -> None:
    """Add to `minutes` what `sign`, the next one of `session`, says."""
    _, kind, _, time_us, _, position_s, kbps, buffer_ms, startup_ms, place, session.heartbeat = sign
    last_us, state = session.last_us, session.state
    at_us = max(time_us, last_us)
    goes_on = _plays(session, kind, position_s)
    stall_us = _stall_us(session, at_us, buffer_ms) if kind == BUFFERING and state == PLAYING else 0
    if state == PLAYING:
        _watch(session, minutes, at_us, stall_us, lease_us)
    elif at_us - last_us <= lease_us:
        if state == STARTING or (state == FAILING and goes_on):
            minutes.add_span(last_us, at_us, session.place, False, state == FAILING, session.kbps)
        elif state == STALLED:
            minutes.add_span(last_us, at_us, session.place, True, False, NONE)
    else:
        nothing_more(session, minutes)
    session.last_us = at_us
    if state == FAILING and not goes_on and at_us - session.error_us > lease_us:
        nothing_more(session, minutes)
    if place != session.place:
        _move(session, place)
    _meet(session, minutes, at_us)
    if 0 <= kbps <= KBPS_MAX:
        session.kbps = kbps
    if startup_ms >= 0 and not session.startup_told:
        _told_startup(session, minutes, at_us, startup_ms)
        goes_on = goes_on or state == STARTING
    if goes_on and state != PLAYING:
        if not session.started:
            _start(session, minutes, at_us, state)
        if state == STALLED:
            session.stalled_until_us = at_us
        elif state != FAILING:
            session.playing_since_us = at_us
        state = session.state = PLAYING
    _change(session, minutes, kind, state, at_us, position_s, buffer_ms, stall_us)


def nothing_more(session: Session, minutes: Minutes) -> None:
    """For a lease, or for ever: what was open is a failure, or an exit before the start; each once in a session."""
    if session.state == FAILING:
        if not session.failed:
            session.failed = True
            minutes.add(session.error_us, session.place, FAILURES)
    elif not (session.started or session.left):
        session.left = True
        minutes.add(session.last_us, session.place, EXITS)


def _plays(session: Session, kind: int, position_s: int) -> bool:
    """Whether the sign shows that something plays."""
    if kind == PLAY:
        return True
    state, mark_s = session.state, session.mark_s
    if kind == HEARTBEAT:
        if state == STARTING:
            return position_s > 0
        if state == PAUSED:  # that it goes on was lost; of one that just stopped, the position is rounded
            return mark_s >= 0 and position_s > mark_s + 1
        return state != ENDED and (position_s < 0 or mark_s < 0 or position_s > mark_s)
    if kind in (PAUSE, STOP, COMPLETED, BUFFERING):
        return state == FAILING and 0 <= mark_s < position_s
    return False


def _stall_us(session: Session, at_us: int, buffer_ms: int) -> int:
    """How long a stall that is over was; 0 for one that begins. Below 0: it is none."""
    begun_us = at_us - max(buffer_ms, 0) * 1_000
    if begun_us < session.seek_us + SEEK_SETTLES_US:
        return NONE
    return at_us - max(begun_us, session.playing_since_us, session.stalled_until_us)


def _watch(session: Session, minutes: Minutes, at_us: int, stall_us: int, lease_us: int) -> None:
    """Time in which something played, the last `stall_us` of it stalled."""
    last_us, place, kbps = session.last_us, session.place, session.kbps
    begun_us = at_us - max(stall_us, 0)
    if 0 < begun_us - last_us <= lease_us:
        minutes.add_span(last_us, begun_us, place, False, True, kbps)
    if stall_us <= 0:
        return
    minutes.add_span(max(begun_us, last_us), at_us, place, True, False, NONE)
    if (before_us := last_us - begun_us) > 0:  # it began before the last sign: that time was taken for playing
        minutes.add(last_us, place, STALLED_US, before_us)
        if kbps >= 0:
            minutes.add(last_us, place, RATED_US, -before_us)
            minutes.add(last_us, place, RATED, -(before_us * kbps // 1_000))


def _change(
    session: Session,
    minutes: Minutes,
    kind: int,
    state: int,
    at_us: int,
    position_s: int,
    buffer_ms: int,
    stall_us: int,
) -> None:
    """What the sign itself is, besides of time that passed."""
    if kind == BUFFERING:
        if state == STALLED and buffer_ms > 0:
            session.state, session.stalled_until_us = PLAYING, at_us
        elif state == PLAYING and stall_us >= 0 and (buffer_ms <= 0 or stall_us > 0):
            minutes.add(at_us, session.place, STALLS)
            session.stalled_until_us, session.mark_s = at_us, position_s
            if buffer_ms <= 0:
                session.state = STALLED
    elif kind == SEEK:
        session.seek_us, session.mark_s = at_us, position_s
        if state == STALLED:
            session.state, session.stalled_until_us = PLAYING, at_us
    elif kind == PAUSE:
        if state in (STARTING, PLAYING, STALLED):
            session.state, session.mark_s = PAUSED, position_s
    elif kind == ERROR:
        if state not in (FAILING, ENDED):
            session.state, session.error_us, session.mark_s = FAILING, at_us, position_s
    elif kind in (STOP, COMPLETED):
        if state != ENDED:
            nothing_more(session, minutes)
        session.state = ENDED


def _move(session: Session, place: Place) -> None:
    """What a sign does not tell stays as it was."""
    was = session.place
    now = tuple(new or old for new, old in zip(place, was, strict=True))
    if now != was:
        session.place = now  # type: ignore[assignment]
        for number, (new, old) in enumerate(zip(now, was, strict=True)):
            if new != old and session.met:
                session.met[number] = NEVER


def _meet(session: Session, minutes: Minutes, at_us: int) -> None:
    """It is there in this minute."""
    minute = at_us // MINUTE_US
    met = session.met
    if not met:
        met = session.met = [NEVER] * (TOTAL + 1)
    if min(met) == minute:
        return
    groups = minutes.groups(minute, session.place)
    for number, before in enumerate(met):
        if before != minute:
            groups[number].met(min(minute - before, KEPT_MIN + 1), minutes.weight)
            met[number] = minute


def _start(session: Session, minutes: Minutes, at_us: int, state: int) -> None:
    """Something plays for the first time; without `startup_ms` it took since the session's first sign, unless it was
    paused, silent or failing between."""
    session.started = True
    minutes.add(at_us, session.place, STARTS)
    if not session.startup_told and at_us > session.first_us and state == STARTING and not session.left:
        session.startup_told = True
        minutes.add_startup(at_us, session.place, (at_us - session.first_us) // 1_000)


def _told_startup(session: Session, minutes: Minutes, at_us: int, startup_ms: int) -> None:
    session.startup_told = True
    minutes.add_startup(at_us, session.place, startup_ms)
    if session.met_in_middle:
        return
    begun_us = session.playing_since_us if session.started else at_us
    known_us = max(begun_us, session.first_us) - session.first_us
    before_us = min(startup_ms, STARTUP_WATCHED_MAX_MS) * 1_000 - known_us
    if before_us > 0:
        minutes.add(at_us, session.place, WATCHED_US, before_us)
