"""What a batch of frames says about views and sessions, one entry each: Redis works by session, not by event. Pure.

A sign of life or of a state becomes a register: (order, rank, content, -base_us, time_us, heartbeat). Of two registers
the greater one, as tuples compare, is the newer: by order (the sequence, or the corrected time where there is none); of
an event that came twice, the one received first. `base_us` is where its lease begins: the corrected time, at most its
receipt, at most now; how long it is the class of its frame's players says, `heartbeat` (`config.heartbeat`).
`apply.lua` goes on from there with what Redis remembers, by the same comparison.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from config.heartbeat import INTERVALS_S
from ingest import core
from ingest.batch import HEARTBEAT_SHIFT, KIND_PLAYBACK, KIND_SIGNAL, SCHEMA_PLAYBACK
from ingest.core import RustCore
from ingest.spool.frame import Frame
from ingest.spool.run import Run
from ingest.tuple import CLOCK_TOLERANCE_US, COLUMN_COUNT, POSTGRES_EPOCH_US, corrected_us
from storage.redis.entry import POSITION, SINGLE, VIEW, EventIds, Register, Slots, packed_session
from storage.redis.key import HOUR_US
from storage.sink import Slice

LIFE: Final = 0
PLAY: Final = 1
PAUSE: Final = 2
END: Final = 3
RANKS: Final = {
    b"play": PLAY,
    b"heartbeat": LIFE,
    b"seek": LIFE,
    b"buffering": LIFE,
    b"quality_change": LIFE,
    b"pause": PAUSE,
    b"stop": END,
    b"completed": END,
}
"""At the same moment the end outranks the pause and the pause the play: players report both within a millisecond."""

BY_SEQUENCE: Final = 0
BY_TIME: Final = 2
STATE: Final = 0
"""Slots of a session's registers: BY_… + STATE, or + ALIVE."""
ALIVE: Final = 1

ENTRIES_MAX: Final = 500
"""Views and sessions of one script call, one frame more at most: it holds Redis for 5 ms, the largest frame for 20."""


class UnknownSchema(Exception):
    """Frames of a newer gateway: nothing is dropped, nothing is read."""


class Batch(NamedTuple):
    """What one script call does."""

    positions: bytes
    """POSITION, one behind the other."""
    views: bytes
    """VIEW, one behind the other; each session and content once."""
    sessions: bytes
    """SESSION with its registers, one behind the other."""
    rows: int
    signals: int
    tests: int
    """Of rows and signals, those in no number."""
    frames: int


class Signs(NamedTuple):
    """Rows of a store, as `Gathering.take` wants them."""

    rows: bytes
    ends: list[int]
    received_us: int
    """The latest receipt among them, microseconds since 1970."""


def _shapes(tail: str) -> list[Struct]:
    """By the length of event_type: end of event id, content, session, occurred, received, event_type, test, `tail`."""
    return [Struct(f">14x8s4x16s4x16s4xq4xq4x{length}s4xB{tail}") for length in range(51)]


STATES_BACK_S: Final = 900
"""How far back states of sessions are minded, however late they come: a pause lasts minutes, and heartbeats behind it
make no viewer. They are few beside heartbeats; those of who was offline for longer cost Redis nothing."""

MEMORY_INTERVALS: Final = 10
"""Of a class, for which its sessions are remembered at least: four leases of 2.5 (counters.MEMORY_LEASES)."""
PADDING_BYTES: Final = 16
"""Read beyond `sequence` where it or sent_at are NULL: a whole tuple has more columns there."""
_WITH_SENT: Final = _shapes("i q i q")  # sent_at's length and value, sequence's length and value
_WITHOUT_SENT: Final = _shapes("i i q")


class Gathering:
    """Signs of frames, coalesced. `now_us` is the time of reading. A sign of life older than `memory_us` moves no
    session, nor a state older than STATES_BACK_S: one that comes late still decides about the heartbeats behind it."""

    def __init__(self, now_us: int, memory_us: int) -> None:
        self.views: dict[bytes, int] = {}
        """Session and content → hour of the earliest play."""
        self.sessions: dict[bytes, Slots] = {}
        self.ids: dict[bytes, EventIds] = {}
        """Session → ids of its signs without a sequence."""
        self.profiles: dict[bytes, bytes] = {}
        """Session → the profile that it named first: another one is soon named again."""
        self.single: list[tuple[bytes, int, bytes, Register, bytes]] = []
        """Not coalesced, as Redis knows whether they were seen: session, rank, id, register, profile or nothing."""
        self.rows = self.signals = self.tests = self.frames = 0
        self._now_us = now_us
        self._memory_us = memory_us
        self._oldest_us = now_us - memory_us
        self._oldest_state_us = min(self._oldest_us, now_us - STATES_BACK_S * 1_000_000)

    @property
    def entries(self) -> int:
        return len(self.views) + len(self.sessions) + len(self.single)

    def add(self, frame: Frame) -> None:
        """Take a frame in. Raises UnknownSchema."""
        self.frames += 1
        if frame.kind == KIND_PLAYBACK:
            self.rows += frame.count
        elif frame.kind == KIND_SIGNAL:
            self.signals += frame.count
        else:
            return
        if frame.schema != SCHEMA_PLAYBACK:
            raise UnknownSchema(f"schema {frame.schema}, this gateway reads {SCHEMA_PLAYBACK}")
        self._take(frame)

    def add_run(self, run: Run, begin: int) -> int:
        """Take in frames of a run, from sequence `begin` on, until there are ENTRIES_MAX entries; the sequence of the
        next one. Raises UnknownSchema."""
        for frame in run.frames[begin - run.sequence :]:
            self.add(frame)
            if self.entries >= ENTRIES_MAX:
                return frame.sequence + 1
        return run.until

    def _take(self, frame: Frame) -> None:
        self.take(frame.rows, frame.ends, frame.flags >> HEARTBEAT_SHIFT)

    def take(self, rows: bytes, ends: Sequence[int], heartbeat: int = 0) -> None:
        """Take tuples in, one behind the other, each ending where `ends` says: any that begin with the columns up to
        `sequence`, with at least PADDING_BYTES behind the last; profiles are known of whole tuples alone. `heartbeat`:
        the class of their players."""
        views, sessions, profiles = self.views, self.sessions, self.profiles
        now_us, oldest_us, oldest_state_us = self._now_us, self._oldest_us, self._oldest_state_us
        if heartbeat and (memory_us := MEMORY_INTERVALS * INTERVALS_S[heartbeat] * 1_000_000) > self._memory_us > 0:
            oldest_us, oldest_state_us = now_us - memory_us, min(oldest_state_us, now_us - memory_us)
        begin = 0
        for end in ends:
            event, content, session, time_us, received_us, event_type, test, sent_length, sent_us, length, sequence = (
                _WITH_SENT[rows[begin + 89]].unpack_from(rows, begin)
            )
            broken = False
            if sent_length != 8:
                *_, length, sequence = _WITHOUT_SENT[rows[begin + 89]].unpack_from(rows, begin)
            elif not -CLOCK_TOLERANCE_US <= received_us - sent_us <= CLOCK_TOLERANCE_US:
                time_us = corrected_us(time_us, sent_us, received_us)
                broken = True
            here, begin = begin, end
            if test:
                self.tests += 1
                continue
            rank = RANKS.get(event_type)
            if rank is None:
                continue
            time_us += POSTGRES_EPOCH_US
            if rank == PLAY:
                hour = time_us // HOUR_US
                key = session + content
                if hour < views.get(key, hour + 1):
                    views[key] = hour
            if time_us < oldest_us and (rank == LIFE or time_us < oldest_state_us):
                continue
            base_us = min(time_us, received_us + POSTGRES_EPOCH_US, now_us)
            if length == 8:
                slot, register = BY_SEQUENCE, (sequence, rank, content, -base_us, time_us, heartbeat)
            else:
                slot, register = BY_TIME, (time_us, rank, content, -base_us, time_us, heartbeat)
                if broken:
                    self.single.append((session, rank, event, register, _profile(rows, here)))
                    continue
                self.ids.setdefault(session, []).append(event)
            slots = sessions.get(session)
            if slots is None:
                slots = sessions[session] = [None, None, None, None]
            place(slots, slot, rank, register)
            if session not in profiles and (profile := _profile(rows, here)):
                profiles[session] = profile

    def _packed(self) -> tuple[bytes, bytes]:
        """Views and sessions."""
        parts = []
        for session, slots in self.sessions.items():
            parts.append(packed_session(session, slots, 0, self.ids.get(session, []), self.profiles.get(session, b"")))
        for session, rank, event, register, profile in self.single:
            slots = [None, None, None, None]
            place(slots, BY_TIME, rank, register)
            parts.append(packed_session(session, slots, SINGLE, [event], profile))
        return b"".join([VIEW.pack(key, hour) for key, hour in self.views.items()]), b"".join(parts)

    def batch(self, positions: Sequence[tuple[str, int, int]]) -> Batch:
        """Packed for the script, which moves `positions`: incarnation, before, behind."""
        views, sessions = self._packed()
        return Batch(
            b"".join([POSITION.pack(name.encode("ascii"), before, behind) for name, before, behind in positions]),
            views,
            sessions,
            self.rows,
            self.signals,
            self.tests,
            self.frames,
        )


class RustGathering(Gathering):
    """The same by the Rust core, which keeps the entries to itself."""

    def __init__(self, rust: RustCore, now_us: int, memory_us: int) -> None:
        super().__init__(now_us, memory_us)
        self._signs = rust.Signs(now_us, memory_us)

    @property
    def entries(self) -> int:
        return int(self._signs.entries())

    def add_run(self, run: Run, begin: int) -> int:
        if run.packed is None:
            return super().add_run(run, begin)
        first = begin - run.sequence
        until, rows, signals, tests = self._signs.add_run(run.packed, first, ENTRIES_MAX)
        self.frames += until - first
        self.rows += rows
        self.signals += signals
        self.tests += tests
        if until < len(run.packed) and self.entries < ENTRIES_MAX:
            self.add(run.frames[until])  # of a schema that the core does not know: it is refused
        return run.sequence + int(until)

    def _take(self, frame: Frame) -> None:
        self.tests += self._signs.add(frame.rows, frame.ends_table, frame.flags >> HEARTBEAT_SHIFT)

    def _packed(self) -> tuple[bytes, bytes]:
        views, sessions = self._signs.packed()
        return views, sessions


def gathering_of(now_us: int, memory_us: int) -> Gathering:
    """By the core that was chosen."""
    rust = core.chosen.rust
    return Gathering(now_us, memory_us) if rust is None else RustGathering(rust, now_us, memory_us)


def place(slots: Slots, slot: int, rank: int, register: Register) -> None:
    """Put a register where it is the newest: a play is a state and a sign of life."""
    if rank != LIFE:
        known = slots[slot]
        if known is None or register > known:
            slots[slot] = register
    if rank <= PLAY:
        known = slots[slot + ALIVE]
        if known is None or register > known:
            slots[slot + ALIVE] = register


def _profile(rows: bytes, begin: int) -> bytes:
    """The profile of the tuple that begins there, 16 bytes, or none; of a store's, which is no whole one, none."""
    if rows[begin + 1] != COLUMN_COUNT:
        return b""
    at = begin + 95 + rows[begin + 89]
    at += 4 if rows[at] else 12  # sent_at
    at += 4 if rows[at] else 12  # sequence
    at += 4 if rows[at] else 8  # position
    at += 4 if rows[at] else 8  # duration
    return b"" if rows[at] else rows[at + 4 : at + 20]


def batches(slices: Sequence[Slice], now_us: int, memory_us: int) -> Iterator[Batch]:
    """Batches that together do what the slices say, cut between frames. UnknownSchema comes with the batch it is in."""
    gathering = gathering_of(now_us, memory_us)
    positions: list[tuple[str, int, int]] = []
    for piece in slices:
        begin = piece.begin
        for run in piece.runs:
            at = run.sequence
            while at < run.until:
                at = gathering.add_run(run, at)
                if gathering.entries >= ENTRIES_MAX:
                    yield gathering.batch([*positions, (piece.incarnation, begin, at)])
                    begin = at
                    gathering, positions = gathering_of(now_us, memory_us), []
        if piece.state.sequence > begin:
            positions.append((piece.incarnation, begin, piece.state.sequence))
    if positions:
        yield gathering.batch(positions)
