"""The usual way: typed events straight into tuples. One pass, plain lookups, no work per event a batch could share.

An event this way does not vouch for (a bad uuid, a text too long, a time outside the window …) is left out and named by
its index only; the slow way says what is wrong with it, if anything is.
"""

import struct
from collections.abc import Sequence
from math import floor
from typing import Final

from msgspec import Struct

from config.limits import BIGINT_SAFE_MAX, INT4_MAX
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL
from ingest.decode import metadata
from ingest.decode.memo import Memo
from ingest.decode.request import Request, Window, window
from ingest.decode.time import RESTS, SECONDS, time_us
from ingest.decode.undecodable import Doubtful, Refused
from ingest.decode.uuid import uuid_bytes, uuid_field, uuids_bytes
from ingest.event import ABSENT_RAW, EVENT_TYPES, HEARTBEAT, PlaybackEvent
from ingest.identity import derived_event_id
from ingest.tuple import COLUMN_COUNT, NULL, POSTGRES_EPOCH_US

_LENGTH_8: Final = b"\x00\x00\x00\x08"
_LENGTH_16: Final = b"\x00\x00\x00\x10"
_HEAD: Final = COLUMN_COUNT.to_bytes(2, "big") + _LENGTH_16
_TIME: Final = struct.Struct(">iq").pack


class Encoded(Struct, gc=False):
    """Parallel lists, one entry an event; None and zeros where the event is doubtful."""

    tuples: list[bytes | None]
    times_us: list[int]
    """occurred_at as sent."""
    groups: list[int]
    """kind << 8 | flags."""
    doubtful: list[int]
    """Indices, ascending."""


def _sequence(value: int | None) -> bytes:
    if value is None or not 0 <= value <= BIGINT_SAFE_MAX:
        raise Doubtful
    return _LENGTH_8 + value.to_bytes(8, "big")


def _integer(value: int | None) -> bytes:
    if value is None or not 0 <= value <= INT4_MAX:
        raise Doubtful
    return b"\x00\x00\x00\x04" + value.to_bytes(4, "big")


def _text(length_max: int, entries_max: int, length_min: int = 0) -> Memo[str | None, bytes]:
    def field(text: str | None) -> bytes:
        if text is None or not length_min <= len(text) <= length_max or "\0" in text:
            raise Doubtful
        encoded = text.encode()
        return len(encoded).to_bytes(4, "big") + encoded

    return Memo(field, entries_max, {None: NULL})


_IDS: Final[Memo[str | None, bytes]] = Memo(uuid_field, 16_384)  # type: ignore[arg-type]  # None: AttributeError
_PROFILES: Final[Memo[str | None, bytes]] = Memo(uuid_field, 16_384, {None: NULL})  # type: ignore[arg-type]
_SEQUENCES: Final[Memo[int | None, bytes]] = Memo(_sequence, 16_384, {None: NULL})
_INTEGERS: Final[Memo[int | None, bytes]] = Memo(_integer, 32_768, {None: NULL})
_TEXTS_20, _TEXTS_50, _TEXTS_100 = _text(20, 1_024), _text(50, 4_096), _text(100, 4_096)
_COUNTRIES = _text(2, 1_024, length_min=2)
_TYPES: Final = {name: len(name).to_bytes(4, "big") + name.encode() for name in EVENT_TYPES}
_KINDS: Final = {name: (KIND_SIGNAL if name == HEARTBEAT else KIND_PLAYBACK) << 8 for name in EVENT_TYPES}
_TESTS: Final = {None: b"\x00\x00\x00\x01\x00", False: b"\x00\x00\x00\x01\x00", True: b"\x00\x00\x00\x01\x01"}
_ALL_TESTS: Final = dict.fromkeys(_TESTS, _TESTS[True])

_Tail = tuple[
    str | None,
    int | None,
    str | None,
    str | None,
    str | None,
    int | None,
    int | None,
    str | None,
    str | None,
    str | None,
]


def _tail(values: _Tail) -> bytes:
    """The columns from quality to app_version, which most events of a session share."""
    quality, bitrate, device, platform, edge, buffer_duration, startup, error_code, player, version = values
    return b"".join(
        (
            _TEXTS_20[quality],
            _INTEGERS[bitrate],
            _TEXTS_50[device],
            _TEXTS_50[platform],
            _TEXTS_100[edge],
            _INTEGERS[buffer_duration],
            _INTEGERS[startup],
            _TEXTS_50[error_code],
            _TEXTS_100[player],
            _TEXTS_50[version],
        )
    )


_TAILS: Final[Memo[_Tail, bytes]] = Memo(_tail, 4_096)


def encode(events: Sequence[PlaybackEvent], request: Request, common: Window) -> Encoded:
    """The tuples of `events`; `common` is the window of the envelope's sent_at. Never raises for what a client sent."""
    tuples: list[bytes | None] = []
    times_us: list[int] = []
    groups: list[int] = []
    doubtful: list[int] = []
    ids = uuids_bytes([event.event_id for event in events])  # type: ignore[misc]  # None among them: no list
    received = _TIME(8, request.received_at_us - POSTGRES_EPOCH_US)
    country = _COUNTRIES[request.country]
    tests = _ALL_TESTS if request.tests else _TESTS
    own: dict[str | int, Window] = {}
    seconds, rests, all_ids, integers, tails = SECONDS, RESTS, _IDS, _INTEGERS, _TAILS
    for index, event in enumerate(events):
        try:
            time = event.occurred_at
            if isinstance(time, str):
                occurred_us = seconds[time[:19]] + rests[time[19:]]
            else:
                occurred_us = time * 1_000  # type: ignore[operator]  # None: TypeError
            sent_at = event.sent_at
            if sent_at is None:
                earliest_us, latest_us, flags, sent = common
            else:
                if sent_at not in own:
                    own[sent_at] = window(time_us(sent_at, ""), request)
                earliest_us, latest_us, flags, sent = own[sent_at]
            if not earliest_us <= occurred_us <= latest_us:
                raise Doubtful
            position = event.position
            if isinstance(position, float):
                position = floor(position)
            duration = event.duration
            if isinstance(duration, float):
                duration = floor(duration)
            kind = event.event_type
            kind_field = _TYPES[kind]  # type: ignore[index]
            content = all_ids[event.content_id]
            session = all_ids[event.session_id]
            sequence_field = _SEQUENCES[event.sequence]
            position_field = integers[position]
            parts = (
                _HEAD,
                ids[index]
                if ids is not None
                else _event_id(event, request.owner, content, session, occurred_us, position),
                content,
                session,
                _TIME(8, occurred_us - POSTGRES_EPOCH_US),
                received,
                kind_field,
                tests[event.test],
                sent,
                sequence_field,
                position_field,
                integers[duration],
                _PROFILES[event.profile_id],
                tails[
                    event.quality,
                    event.bitrate,
                    event.device_type,
                    event.platform,
                    event.cdn_edge,
                    event.buffer_duration,
                    event.startup_ms,
                    event.error_code,
                    event.player,
                    event.app_version,
                ],
                country if event.country is None else _COUNTRIES[event.country],
                NULL if event.metadata is ABSENT_RAW else metadata.FIELDS[bytes(event.metadata)],
            )
            group = _KINDS[kind] | flags  # type: ignore[index]
        except (ValueError, LookupError, TypeError, AttributeError, Refused):
            tuples.append(None)
            times_us.append(0)
            groups.append(0)
            doubtful.append(index)
            continue
        tuples.append(b"".join(parts))
        times_us.append(occurred_us)
        groups.append(group)
    return Encoded(tuples, times_us, groups, doubtful)


def _event_id(
    event: PlaybackEvent, owner: bytes, content: bytes, session: bytes, occurred_us: int, position: int | None
) -> bytes:
    """The id as sent, or made of what was sent."""
    if event.event_id is not None:
        return uuid_bytes(event.event_id)
    if event.sequence is None and position is None:
        raise Doubtful
    assert event.event_type is not None
    return derived_event_id(owner, session[4:], event.sequence, event.event_type, content[4:], occurred_us, position)
