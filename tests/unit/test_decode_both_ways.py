"""The fast way and the slow way are one function: same tuples byte for byte, same verdicts, for any bytes."""

import json
from datetime import UTC, datetime, timedelta
from math import floor
from uuid import UUID

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest import tuple as copy
from ingest.batch import FLAG_CLOCK_BROKEN, KIND_PLAYBACK, KIND_SIGNAL, MONTH_UNSETTLED, Batch
from ingest.decode import Limits, Undecodable, decode
from ingest.decode.json import _decode
from ingest.decode.request import Request
from ingest.event import EVENT_TYPES
from tests.builders import CONTENT_ID, RECEIVED_AT, RECEIVED_AT_US, SESSION_ID

LIMITS = Limits(events_max=12)
MEDIA = st.sampled_from(["json", "ndjson", "text"])
THOROUGH = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def verdict(body, media, fast_way, country=None):
    """Everything an answer and a frame are made of."""
    request = Request(RECEIVED_AT_US, LIMITS, b"", country)
    try:
        return _decode(body, media, request, True, fast_way)
    except Undecodable as error:
        return error.code, error.status, error.message, error.details


# Events as JSON text, so that what a dict cannot say (doubled names, escapes, 1.0 beside 1) is said too.

UUIDS = st.uuids().map(str)
VALID_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def _rfc3339(moment, offset_minutes, digits, letters):
    local = moment + timedelta(minutes=offset_minutes)
    fraction = f"{moment.microsecond:06d}"[: min(digits, 6)].ljust(digits, "3") if digits else ""
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    offset = letters[1] if offset_minutes == 0 else f"{sign}{hours:02d}:{minutes:02d}"
    return f"{local:%Y-%m-%d}{letters[0]}{local:%H:%M:%S}{'.' + fraction if digits else ''}{offset}"


NEAR = st.datetimes(
    RECEIVED_AT.replace(tzinfo=None) - timedelta(days=36), RECEIVED_AT.replace(tzinfo=None) + timedelta(days=2)
)
NOW = st.datetimes(
    RECEIVED_AT.replace(tzinfo=None) - timedelta(minutes=6), RECEIVED_AT.replace(tzinfo=None) + timedelta(minutes=6)
)


def times(moments):
    texts = st.builds(
        _rfc3339, moments, st.just(0) | st.integers(-1439, 1439), st.integers(0, 9), st.sampled_from(["TZ", "tz"])
    )
    return texts | moments.map(lambda moment: int(moment.replace(tzinfo=UTC).timestamp() * 1000))


INTEGERS = st.integers(0, 2**31 - 1)
SECONDS = INTEGERS | st.floats(0, 2**31, exclude_max=True)
VALUES = {
    "type": st.just("playback"),
    "event_id": UUIDS
    | UUIDS.map(lambda text: text.replace("-", "").upper())
    | st.sampled_from([SESSION_ID, CONTENT_ID]),
    "event_type": st.sampled_from(EVENT_TYPES),
    "content_id": st.just(CONTENT_ID) | UUIDS,
    "session_id": st.just(SESSION_ID) | UUIDS,
    "occurred_at": times(NEAR),
    "sent_at": times(NOW),
    "sequence": st.integers(0, 2**53 - 1),
    "position": SECONDS,
    "duration": SECONDS,
    "test": st.booleans(),
    "profile_id": UUIDS,
    **dict.fromkeys(
        ["quality", "device_type", "platform", "cdn_edge", "error_code", "player", "app_version"], VALID_TEXT
    ),
    "country": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=2, max_size=2),
    **dict.fromkeys(["bitrate", "buffer_duration", "startup_ms"], INTEGERS),
    "metadata": st.dictionaries(
        VALID_TEXT, st.integers() | st.floats(allow_nan=False, allow_infinity=False) | VALID_TEXT | st.lists(st.none())
    ),
}
REQUIRED = ["event_type", "content_id", "session_id", "occurred_at", "event_id"]
VALID = st.fixed_dictionaries(
    {name: VALUES[name] for name in REQUIRED},
    optional={name: values for name, values in VALUES.items() if name not in REQUIRED},
)
_NASTY_TEXTS = r"""
    null true false 0 -0 -0.0 1.0 1.5 -1 5e0 1e2 1e999 -1e999 2147483647 2147483647.9 2147483648
    9007199254740991 9007199254740992 18446744073709551615 18446744073709551616 0.1e-999
    "" "a" "play" "playback" "ad" "\u0000" "a\u0000b"
    "\ud800" "\udc00\ud800" "\ud83d\ude00" "\u00e9" "e\u0301" {} [] [1] {"a":1}
    {"a":"\u0000"} {"\u0000":1} {"a":"\ud800"}
    {"a":1e999} {"a":1,"a":2} {"a":18446744073709551616} {"a":-9223372036854775809} {"a":1e400} {"n":"\u0041\/\b"}
    "0001-01-01T00:00:00Z" "9999-12-31T23:59:59Z" "0000-02-29T00:00:00Z" "1969-12-31T23:59:59.999999Z"
    "1970-01-01T00:00:00Z" "2100-12-31T23:59:59.9999999Z" "2101-01-01T00:00:00Z"
    "2026-02-29T00:00:00Z"
    "2026-11-22T20:00:60Z" "2026-11-22T24:00:00Z" "2026-11-22T20:00:00" "2026-11-22T20:00:00.Z"
    "2026-11-22T20:00:00+24:00"
    "2026-11-22T20:00:00.1234567890123456789+00:00" "2026-11-22T20:00:00-00:00" "١٩٧٠-01-01T00:00:00Z"
    1795377600000 1795377600000.0 -1795377600000 4133980799999 4133980800000
    "5e551011-1111-4222-8333-44445555666" "5e551011-1111-4222-8333-4444555566666" "5e5510111111422283334444555566-6"
    "5e551011111142228333444455556666" "{5e551011-1111-4222-8333-444455556666}" "5E551011-1111-4222-8333-444455556666"
"""
NASTY = st.sampled_from(
    _NASTY_TEXTS.split()
    + ['"' + "x" * length + '"' for length in (20, 21, 50, 51, 100, 101)]
    + ['"2026-11-22 20:00:00Z"', '"5e551011 1111 4222 8333 444455556666"', '" e551011-1111-4222-8333-444455556666"']
    + ["1" * 400, "1" * 5_000, "[" * 12 + "]" * 12, "[" * 14 + "]" * 14, '{"a":' * 12 + "1" + "}" * 12]
    + ['{"a":"' + "x" * length + '"}' for length in (2_040, 2_041)]
    + ['"' + "é" * 20 + '"', '"' + "😀" * 21 + '"', '{"' + '":{"'.join("abcdefghijkl") + '":1' + "}" * 12]
    + ['{"a":"' + "é" * 1_020 + '"}', '{"a":"' + "é" * 1_021 + '"}', '{ "a" :\n1 }', '{"a":[[[["]]]]"]]]]}']
)
UNKNOWN_NAMES = st.sampled_from(["foo", "Event_id", "events", "sent_At", "\ud800", "é", ""])


@st.composite
def event_texts(draw, faults=2):
    """One event as JSON text, with up to `faults` members replaced, doubled, added or left out."""
    members = [(json.dumps(name), json.dumps(value)) for name, value in draw(VALID).items()]
    for _ in range(draw(st.integers(0, faults))):
        name = json.dumps(draw(st.sampled_from(list(VALUES)) | UNKNOWN_NAMES))
        member = (name, draw(NASTY))
        if draw(st.booleans()):
            members = [(other, value) for other, value in members if other != name]
        if draw(st.integers(0, 3)):
            members.insert(draw(st.integers(0, len(members))), member)
    space = draw(st.sampled_from(["", "", " ", "\t", "\r"]))
    return "{" + ("," + space).join(f"{name}:{space}{value}" for name, value in members) + "}"


@st.composite
def bodies(draw, faults=2):
    """A body of such events in every shape, and now and then damaged."""
    events = draw(st.lists(event_texts(faults) | NASTY if faults else event_texts(0), max_size=6))
    if events and draw(st.booleans()):
        events.append(draw(st.sampled_from(events)))  # a repeat
    shape = draw(st.sampled_from(["envelope", "array", "object", "lines"]))
    if shape == "lines":
        text = draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(events)
    elif shape == "array":
        text = "[" + ",".join(events) + "]"
    elif shape == "object" and events:
        text = events[0]
    else:
        sent_at = draw(st.none() | times(NOW).map(json.dumps) | (NASTY if faults else st.nothing()))
        members = ['"events":[' + ",".join(events) + "]"] + ([] if sent_at is None else ['"sent_at":' + sent_at])
        if faults and draw(st.integers(0, 5)) == 0:
            members.append(json.dumps(draw(UNKNOWN_NAMES)) + ":" + draw(NASTY))
        text = "{" + ",".join(draw(st.permutations(members))) + "}"
    body = text.encode()
    if faults and draw(st.integers(0, 9)) == 0 and body:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.binary(max_size=2)) + body[at + draw(st.integers(0, 2)) :]
    return body


@THOROUGH
@given(bodies(), MEDIA, st.sampled_from([None, "DE"]))
def test_both_ways_say_the_same_of_valid_and_damaged_events(body, media, country):
    assert verdict(body, media, True, country) == verdict(body, media, False, country)


@settings(THOROUGH, max_examples=80)
@given(bodies(faults=0), st.sampled_from([None, "DE"]))
def test_both_ways_make_the_same_tuples_of_valid_events(body, country):
    assert verdict(body, "text", True, country) == verdict(body, "text", False, country)


@settings(THOROUGH, max_examples=400)
@given(st.binary(max_size=60) | st.text('[]{}",:\\ \n0123eEtrufalsn.-+', max_size=30).map(str.encode), MEDIA)
@example(b"", "json")
@example(b" \n", "ndjson")
@example(b"[" * 100_000, "json")
@example(b'{"a":' * 100_000, "text")
@example(b'{"metadata":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "ndjson")
@example(b'[{"zzz":' + b"[" * 10_000 + b"]" * 10_000 + b"}]", "json")
@example(b"\xef\xbb\xbf[]", "json")
@example(b"NaN", "json")
@example(b"[NaN]", "json")
@example(b'{}\n{"a":\n1}', "ndjson")
@example(b"{}{}\n{}", "ndjson")
@example(b'{"a":[{}\n{}]}\n{} {}', "ndjson")
def test_any_bytes_are_a_batch_or_undecodable(body, media):
    for fast_way in (True, False):
        outcome = verdict(body, media, fast_way)
        if isinstance(outcome, Batch):
            assert outcome.received == outcome.accepted + outcome.duplicates + outcome.rejected
        else:
            assert outcome[1] in (400, 413)
    assert verdict(body, media, True) == verdict(body, media, False)


@THOROUGH
@given(bodies(), MEDIA)
def test_every_event_is_accounted_for(body, media):
    try:
        batch = decode(body, media, RECEIVED_AT_US, LIMITS)
    except Undecodable:
        return
    assert batch.received == batch.accepted + batch.duplicates + batch.rejected
    assert batch.rejected == sum(batch.rejected_by_code.values()) == len(batch.errors)
    rows = [row for frame in batch.bodies for row in frame.tuples]
    assert len(rows) == batch.accepted
    keys = {(frame.kind, copy.event_key(row)) for frame in batch.bodies for row in frame.tuples}
    assert len(keys) == batch.accepted
    for frame in batch.bodies:
        assert frame.rows_hash == sum(map(copy.row_hash, frame.tuples)) % 2**64
        for row in map(copy.decode, frame.tuples):
            broken = copy.clock_is_broken(row.sent_at_us, row.received_at_us)
            signal = row.event_type == "heartbeat"
            assert frame.flags == (FLAG_CLOCK_BROKEN if broken else 0)
            assert frame.kind == (KIND_SIGNAL if signal else KIND_PLAYBACK)
            assert frame.month == (MONTH_UNSETTLED if broken or signal else copy.month_of(row.occurred_at_us))


def _expected_us(sent):
    """A second opinion on times, from the standard library."""
    if isinstance(sent, int):
        return sent * 1000
    whole, dot, rest = sent.upper().partition(".")
    if dot:
        digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
        sent = whole + "." + digits[:6].ljust(6, "0") + rest[len(digits) :]
    moment = datetime.fromisoformat(sent.upper())
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


RENAMED = {"position": "position_s", "duration": "duration_s", "bitrate": "bitrate_kbps"}


@settings(THOROUGH, max_examples=80)
@given(st.lists(VALID, min_size=1, max_size=4, unique_by=lambda event: UUID(event["event_id"])))
def test_what_is_accepted_decodes_back_to_what_was_sent(events):
    batch = decode(json.dumps(events).encode(), "json", RECEIVED_AT_US, LIMITS)
    rows = {row.event_id: row for frame in batch.bodies for row in map(copy.decode, frame.tuples)}
    refused = {error.index: error for error in batch.errors}
    for index, event in enumerate(events):
        if index in refused:
            assert refused[index].code in ("too_old", "too_new") or refused[index].path == "$.metadata"
            continue
        row = rows.pop(UUID(event["event_id"]))._asdict()
        assert row.pop("received_at_us") == RECEIVED_AT_US
        assert row.pop("occurred_at_us") == _expected_us(event["occurred_at"])
        sent_at = event.get("sent_at")
        assert row.pop("sent_at_us") == (None if sent_at is None else _expected_us(sent_at))
        for name in ("event_id", "content_id", "session_id", "profile_id"):
            assert row.pop(name) == (UUID(event[name]) if name in event else None)
        for name in ("position", "duration"):
            assert row.pop(name + "_s") == (floor(event[name]) if name in event else None)
        metadata = row.pop("metadata")
        assert (None if metadata is None else json.loads(metadata)) == event.get("metadata")
        assert row.pop("test") == event.get("test", False)
        assert row.pop("bitrate_kbps") == event.get("bitrate")
        assert row.pop("buffer_duration_ms") == event.get("buffer_duration")
        assert row == {name: event.get(name) for name in row}
    assert not rows
