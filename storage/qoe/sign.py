"""What the tuples of a run say about the quality of experience: signs of the sessions that are followed. Pure.

By the Rust core the tuples stay where they are, and what is not followed costs next to nothing.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from ingest import core
from ingest.batch import HEARTBEAT_SHIFT, KIND_PLAYBACK, KIND_SIGNAL, SCHEMA_PLAYBACK
from ingest.spool.frame import Frame
from ingest.spool.run import Run
from ingest.tuple import CLOCK_TOLERANCE_US, COLUMNS, CORRECTED_AHEAD_MAX_US, POSTGRES_EPOCH_US, walk
from storage.qoe.figures import NOT_TOLD, Place
from storage.qoe.fold import MEMORY_US, FollowedSign, is_followed
from storage.qoe.session import BUFFERING, KINDS, NONE, Sign

PACKED: Final = Struct("<16s8sBqqqiiiiBI")
"""Session · event · kind · sequence · time_us · received_us · position_s · kbps · buffer_ms · startup_ms · class
of heartbeats · number of the place; as native/src/quality.rs packs them."""
AT: Final = {column.name: number for number, column in enumerate(COLUMNS)}
SEQUENCE, POSITION, BITRATE = AT["sequence"], AT["position"], AT["bitrate"]
BUFFER_DURATION, STARTUP_MS = AT["buffer_duration"], AT["startup_ms"]
PLATFORM, CDN_EDGE, COUNTRY = AT["platform"], AT["cdn_edge"], AT["country"]


class UnknownSchema(Exception):
    """Frames of a newer gateway: nothing is dropped, nothing is read."""


class Reading(NamedTuple):
    """What a run says."""

    signs: Iterator[FollowedSign]
    """Of followed sessions, by session and sequence: what was read at once is best taken in order."""
    old: int
    """Events, of followed sessions, that were older than MEMORY_US when they were received."""


def read(run: Run, zero_bits: int) -> Reading:
    """Without test traffic, and what is no playback. Raises UnknownSchema, ValueError for what is no whole tuple."""
    rust = core.chosen.rust
    if rust is None or run.packed is None:
        signs, old = read_frames(run.frames, zero_bits)
        return Reading(iter(signs), old)
    packed, places, old, until = rust.quality_signs(run.packed, zero_bits, MEMORY_US)
    if until < len(run.packed):
        _check_schema(run.frames[until])
    return Reading(_unpacked(packed, places), old)


def read_frames(frames: list[Frame], zero_bits: int) -> tuple[list[FollowedSign], int]:
    """The twin: signs, and how many events were too old."""
    signs: list[FollowedSign] = []
    old = 0
    for frame in frames:
        if frame.kind not in (KIND_PLAYBACK, KIND_SIGNAL):
            continue
        _check_schema(frame)
        for row in frame.tuples():
            found = _sign(row, zero_bits, frame.flags >> HEARTBEAT_SHIFT)
            if found is None:
                continue
            if found[1].received_us - found[1].time_us > MEMORY_US:
                old += 1
            else:
                signs.append((found[0], _over(found[1])))
    signs.sort(key=lambda one: (one[0], one[1].sequence))
    return signs, old


def _check_schema(frame: Frame) -> None:
    if frame.schema != SCHEMA_PLAYBACK:
        raise UnknownSchema(f"schema {frame.schema}, this gateway reads {SCHEMA_PLAYBACK}")


def _unpacked(packed: bytes, places: list[Place]) -> Iterator[FollowedSign]:
    make = tuple.__new__
    for session, *told, heartbeat, place in PACKED.iter_unpack(packed):
        yield session, make(Sign, (*told, places[place], heartbeat))


def _sign(row: bytes, zero_bits: int, heartbeat: int) -> FollowedSign | None:
    session = row[46:62]
    if not is_followed(session, zero_bits):
        return None
    event, content, _, occurred, received, event_type, test, sent, *_ = values = walk(row)
    kind = KINDS.get(event_type or b"")
    if test != b"\0" or kind is None or event is None or content is None:
        return None
    time_us, received_us, sent_us = _integer(occurred), _integer(received), _integer(sent, NONE)
    if sent is not None and abs(received_us - sent_us) > CLOCK_TOLERANCE_US:
        time_us = received_us + min(time_us - sent_us, CORRECTED_AHEAD_MAX_US)
    if time_us > received_us + CLOCK_TOLERANCE_US:  # a clock of which nobody knows that it is ahead
        time_us = received_us
    place = content, values[PLATFORM] or NOT_TOLD, values[CDN_EDGE] or NOT_TOLD, values[COUNTRY] or NOT_TOLD
    return session, Sign(
        event[8:],
        kind,
        _integer(values[SEQUENCE], NONE),
        time_us + POSTGRES_EPOCH_US,
        received_us + POSTGRES_EPOCH_US,
        _integer(values[POSITION], NONE),
        _integer(values[BITRATE], NONE),
        _integer(values[BUFFER_DURATION], NONE),
        _integer(values[STARTUP_MS], NONE),
        place,
        heartbeat,
    )


def _over(sign: Sign) -> Sign:
    """A stall that is told with its duration, and as of its begin, is a sign of when it was over."""
    if sign.kind != BUFFERING or sign.buffer_ms <= 0:
        return sign
    over_us = min(sign.time_us + sign.buffer_ms * 1_000, sign.received_us)
    return sign._replace(time_us=max(sign.time_us, over_us))


def _integer(value: bytes | None, absent: int = 0) -> int:
    return absent if value is None else int.from_bytes(value, "big", signed=True)
