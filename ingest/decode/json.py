"""A body of JSON or NDJSON → Batch: the fast way first, the slow way for what it doubts."""

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from config.limits import ERRORS_SHOWN_MAX
from ingest import codes, core
from ingest.batch import Batch, EventError, FrameBody
from ingest.decode import ad, fast
from ingest.decode.bundle import bundle
from ingest.decode.envelope import WHITESPACE, Piece, Pieces, are_lines, metadata_of, pieces, split_lines
from ingest.decode.limits import Limits
from ingest.decode.metadata import FAST_DEPTH_MAX
from ingest.decode.request import Request, trusted_country, window
from ingest.decode.skeleton import deeper_than, more_values_than
from ingest.decode.time import time_us
from ingest.decode.undecodable import Refused, Undecodable
from ingest.decode.verdict import judge
from ingest.event import FIELD_NAMES, PlaybackEvent, StrictPlaybackEvent

_NAMES_MAX: Final = 100
"""Unknown names reported, and characters of each."""
_ENVELOPE_NAMES: Final = frozenset(("events", "sent_at"))
_ID_MAX_CHARS: Final = 64
_DEFAULT: Final = Limits()


class _Envelope(Struct, gc=False):
    events: list[PlaybackEvent]
    sent_at: str | int | None = None


class _StrictEnvelope(Struct, gc=False, forbid_unknown_fields=True):
    events: list[StrictPlaybackEvent]
    sent_at: str | int | None = None


class _Readers(NamedTuple):
    """Typed decoders of the shapes a body has."""

    envelope: "Decoder[_Envelope | _StrictEnvelope]"
    array: "Decoder[list[PlaybackEvent]]"
    event: "Decoder[PlaybackEvent]"


_STRICT: Final = _Readers(Decoder(_StrictEnvelope), Decoder(list[StrictPlaybackEvent]), Decoder(StrictPlaybackEvent))
_TOLERANT: Final = _Readers(Decoder(_Envelope), Decoder(list[PlaybackEvent]), Decoder(PlaybackEvent))
_UNTYPED: Final[Decoder[Any]] = Decoder()
_NOT_TYPED: Final = (DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what was asked for."""


class _Typed(Struct, gc=False):
    """All events of a body, typed in one go."""

    events: Sequence[PlaybackEvent]
    sent_at: str | int | None = None
    unknown: Sequence[str] = ()
    """Names outside the vocabulary, one for each time they were met."""


def decode(
    body: bytes,
    media_type: str,
    received_at_us: int,
    limits: Limits = _DEFAULT,
    owner: bytes = b"",
    country: str | None = None,
    tests: bool = False,
    dry_run: bool = False,
    by_twin: bool = False,
    heartbeat: int = 0,
) -> Batch:
    """The rows and verdicts of one request's body, inflated already.

    media_type: 'json', 'ndjson', or 'text', which may be either. received_at_us: since 1970, by the collector's clock.
    owner: of the API key. country: the header of a trusted CDN, for events without one. tests: every event is test
    traffic, whatever it says. dry_run: name unknown fields. by_twin: the Rust core does not vouch for this body, or
    shall not be asked; with `tests` it never is. heartbeat: class of the API key's interval.
    Raises Undecodable when the body as a whole is refused, and nothing else, whatever the bytes.
    """
    request = Request(received_at_us, limits, owner, trusted_country(country), tests, heartbeat)
    batch = None if by_twin or tests else _vouched(body, media_type, request)
    return batch if batch is not None else _decode(body, media_type, request, dry_run, fast_way=True)


def door_of(limits: Limits, owner: bytes = b"", heartbeat: int = 0) -> core.DoorLimits | None:
    """For decoding by the Rust core; None without that core, and where it cannot vouch for any body."""
    rust = core.chosen.rust
    if rust is None or limits.depth_max < FAST_DEPTH_MAX + 4:
        return None
    return rust.Door(limits.past_us, limits.future_us, limits.events_max, limits.values_max, owner, heartbeat)


def _vouched(body: bytes, media_type: str, request: Request) -> Batch | None:
    """By the Rust core: a body with nothing wrong or unusual in it; None for any other, and without that core."""
    rust, door = core.chosen.rust, door_of(request.limits, request.owner, request.heartbeat)
    if rust is None or door is None:
        return None
    found = rust.decode(door, body, media_type, request.received_at_us, request.country)
    if found is None:
        return None
    received, duplicates, bodies = found
    return Batch(received, received - duplicates, duplicates, 0, [], {}, [FrameBody(*one) for one in bodies], 0)


def _decode(body: bytes, media_type: str, request: Request, dry_run: bool, fast_way: bool) -> Batch:
    limits = request.limits
    if more_values_than(body, limits.values_max):
        raise Undecodable(codes.TOO_MANY_VALUES, values_max=limits.values_max)
    lines = media_type == "ndjson"
    typed = _typed(body, lines, _STRICT) if fast_way and limits.depth_max >= FAST_DEPTH_MAX + 4 else None
    if typed is None:
        if media_type == "text" and are_lines(body):
            lines = True
            typed = _typed(body, lines, _STRICT) if fast_way and limits.depth_max >= FAST_DEPTH_MAX + 4 else None
        if typed is None and fast_way:
            typed = _with_unknown(body, lines, limits)
    if typed is not None:
        if len(typed.events) > limits.events_max:
            raise Undecodable(codes.TOO_MANY_EVENTS, events_max=limits.events_max)
        sent_us = _sent_us(typed.sent_at)
        encoded = fast.encode(typed.events, request, window(sent_us, request))
        if not encoded.doubtful:
            return _batch(encoded, [], typed.unknown, dry_run)
        return _batch(encoded, _judged(encoded, pieces(body, lines, limits), request, sent_us), typed.unknown, dry_run)
    found = pieces(body, lines, limits)
    sent_us = _sent_us(found.sent_at)
    events = [_typed_piece(piece) if fast_way else _DOUBTFUL for piece in found.events]
    encoded = fast.encode(events, request, window(sent_us, request))
    return _batch(encoded, _judged(encoded, found, request, sent_us), _unknown(found), dry_run)


def _typed(body: bytes, lines: bool, readers: _Readers) -> _Typed | None:
    """The events as typed by `readers`; None when they are not of these types, or not JSON.

    Strict readers also vouch for depth and UTF-8: only metadata is not looked into, and that is decoded later.
    """
    try:
        if lines:
            return _typed_lines(body, readers)
        first = body[:1]
        if first in (b" ", b"\t", b"\r", b"\n"):
            first = body.lstrip(WHITESPACE)[:1]
        if first == b"[":
            return _Typed(readers.array.decode(body))
        if b'"events"' not in body:
            return _Typed((readers.event.decode(body),))
        envelope = readers.envelope.decode(body)
        return _Typed(envelope.events, envelope.sent_at)
    except _NOT_TYPED:
        return None


def _typed_lines(body: bytes, readers: _Readers) -> _Typed | None:
    """The same of NDJSON. msgspec reads value after value and does not insist on lines; these checks do.

    Every line runs from brace to brace, so no value spans two lines (between } and { it would lack a comma), and with
    as many values as lines each line is one.
    """
    rows = split_lines(body)
    if any(row[0] != 0x7B or row[-1] != 0x7D for row in rows):
        return None
    events = readers.event.decode_lines(body)
    return _Typed(events) if rows and len(events) == len(rows) else None


def _with_unknown(body: bytes, lines: bool, limits: Limits) -> _Typed | None:
    """Typed events that have fields outside the vocabulary, which a second, untyped look counts (and checks UTF-8)."""
    typed = _typed(body, lines, _TOLERANT)
    if typed is None or deeper_than(body, limits.depth_max):
        return None
    try:
        value = _UNTYPED.decode_lines(body) if lines else _UNTYPED.decode(body)
    except _NOT_TYPED:
        return None
    unknown: list[str] = []
    if isinstance(value, dict) and "events" in value:
        unknown.extend(value.keys() - _ENVELOPE_NAMES)
        value = value["events"]
    for event in value if isinstance(value, list) else (value,):
        unknown.extend(event.keys() - FIELD_NAMES)
    typed.unknown = unknown
    return typed


_DOUBTFUL: Final = PlaybackEvent()
"""Stands for an event that cannot be typed: without a time, the fast way doubts it."""


def _typed_piece(piece: Piece) -> PlaybackEvent:
    """One event typed by itself, when its neighbours are not what they should be."""
    try:
        return _TOLERANT.event.decode(piece.text)
    except _NOT_TYPED:
        return _DOUBTFUL


def _sent_us(sent_at: object) -> int | None:
    """The envelope's sent_at; a bad one refuses the request, for it would stand for every event."""
    if sent_at is None:
        return None
    try:
        return time_us(sent_at, "$.sent_at")
    except Refused as refused:
        raise Undecodable(refused.code, refused.message, path=refused.path) from None


def _judged(encoded: fast.Encoded, found: Pieces, request: Request, sent_us: int | None) -> list[EventError]:
    """Settles every doubtful event: its tuple goes into `encoded`, or its fault into the list."""
    assert len(encoded.tuples) == len(found.events)
    errors: list[EventError] = []
    for index in encoded.doubtful:
        piece = found.events[index]
        try:
            if piece.refusal is not None:
                raise piece.refusal
            if ad.is_ad(piece.value):
                verdict = ad.judge(piece.value, request, sent_us)
            else:
                verdict = judge(piece.value, metadata_of(piece), request, sent_us)
        except Refused as refused:
            errors.append(EventError(index, _shown_id(piece.value), refused.code, refused.path, refused.message))
            continue
        encoded.tuples[index] = verdict.row
        encoded.times_us[index] = verdict.occurred_us
        encoded.groups[index] = verdict.group
    return errors


def _shown_id(event: object) -> str | None:
    """Of an ad event, the impression's."""
    event_id = event.get("impression_id" if ad.is_ad(event) else "event_id") if isinstance(event, dict) else None
    if not isinstance(event_id, str) or len(event_id) > _ID_MAX_CHARS:
        return None
    return event_id if event_id.isprintable() else None  # a lone surrogate would spoil the answer


def _unknown(found: Pieces) -> list[str]:
    """Names outside the vocabulary; events of another type have another vocabulary."""
    unknown = list(found.unknown)
    for piece in found.events:
        if ad.is_ad(piece.value):
            unknown.extend(piece.value.keys() - ad.FIELD_NAMES)
        elif isinstance(piece.value, dict) and piece.value.get("type") in (None, "playback"):
            unknown.extend(piece.value.keys() - FIELD_NAMES)
    return unknown


def _batch(encoded: fast.Encoded, errors: list[EventError], unknown: Sequence[str], dry_run: bool) -> Batch:
    tuples, times_us, groups = encoded.tuples, encoded.times_us, encoded.groups
    received = len(tuples)
    if errors:
        kept = [row is not None for row in tuples]
        tuples, times_us = list(compress(tuples, kept)), list(compress(times_us, kept))
        groups = list(compress(groups, kept))
    bodies, duplicates = bundle(tuples, times_us, groups)  # type: ignore[arg-type]  # none is None any more
    return Batch(
        received,
        received - duplicates - len(errors),
        duplicates,
        len(errors),
        errors[:ERRORS_SHOWN_MAX],
        Counter(error.code for error in errors) if errors else {},
        bodies,
        len(unknown),
        _shown_names(unknown) if dry_run else (),
    )


def _shown_names(unknown: Sequence[str]) -> tuple[str, ...]:
    """Each name once, sorted, short and printable."""
    names = {name.encode("ascii", "backslashreplace").decode()[:_NAMES_MAX] for name in unknown}
    return tuple(sorted(names)[:_NAMES_MAX])
