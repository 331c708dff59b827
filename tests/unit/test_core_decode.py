"""What the Rust core vouches for, the Python twin accepts, with the same frame bodies byte for byte.

The core refuses nothing: whatever it does not vouch for, the twin decides alone. So one equality holds both together,
over generated, mutated and truncated bodies, and over a corpus that says what is left to the twin.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest import tuple as copy
from ingest.batch import Batch
from ingest.core import chosen
from ingest.decode import Limits, Undecodable, decode
from ingest.decode.json import _decode, _vouched
from ingest.decode.request import Request
from ingest.event import EVENT_TYPES, FIELD_NAMES
from tests.builders import RECEIVED_AT_US, a_body, a_full_event, a_time, a_uuid, an_event
from tests.unit.test_decode_both_ways import LIMITS, MEDIA, THOROUGH, bodies

CORPUS = Path(__file__).with_name("decode_corpus.txt")


pytestmark = pytest.mark.usefixtures("rust_core")


def vouched(body: bytes, media: str = "json", limits: Limits = LIMITS, **request: Any) -> Batch | None:
    """By the Rust core."""
    return _vouched(body, media, Request(RECEIVED_AT_US, limits, **request))


def twin(body: bytes, media: str = "json", limits: Limits = LIMITS, **request: Any) -> Batch:
    """By Python's fast and slow way."""
    return _decode(body, media, Request(RECEIVED_AT_US, limits, **request), False, True)


def hold_together(body: bytes, media: str, **request: Any) -> bool:
    """Whether the core vouches; if so, it says the same as the twin."""
    found = vouched(body, media, **request)
    if found is not None:
        assert found == twin(body, media, **request)
    return found is not None


@settings(THOROUGH, max_examples=600)
@given(bodies(), MEDIA, st.sampled_from([None, "DE"]), st.sampled_from([b"", b"owner"]))
def test_the_core_vouches_for_nothing_that_the_twin_sees_otherwise(body, media, country, owner):
    hold_together(body, media, country=country, owner=owner)


@settings(THOROUGH, max_examples=300)
@given(bodies(faults=0), MEDIA, st.sampled_from([None, "DE"]))
def test_of_valid_events_both_make_the_same_frames(body, media, country):
    hold_together(body, media, country=country)


@settings(THOROUGH, max_examples=300)
@given(bodies(faults=1), st.data())
def test_a_body_cut_or_changed_anywhere_is_seen_alike(body, data):
    begin = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(begin, min(len(body), begin + 3)) | st.just(len(body)))
    changed = body[:begin] + data.draw(st.binary(max_size=3) | st.sampled_from([b"", b'"', b"\\", b"}"])) + body[end:]
    hold_together(changed, data.draw(MEDIA))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**19), 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**9), 10**9).map(lambda number: number / 1000)
    | st.text(max_size=12),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=6), values, max_size=4),
    max_leaves=12,
)


@settings(THOROUGH, max_examples=400)
@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=5), st.booleans(), st.booleans())
@example({"a": 123456789012345.5, "b": 0.001, "c": -0.25, "d": 100.0, "e": 1e15, "f": 999999999999999.0}, False, False)
@example({"a": 10**17, "b": -(10**17), "\x7f": "\x7f\u2028é😀", "c": [[], {}, [{}]]}, True, False)
def test_metadata_is_written_as_the_twin_writes_it(metadata, spaced, ascii_only):
    separators = (" , ", "\t: ") if spaced else (",", ":")
    text = json.dumps(metadata, separators=separators, ensure_ascii=ascii_only)
    body = json.dumps(an_event(metadata=0)).replace('"metadata": 0', f'"metadata": {text}')
    hold_together(body.encode("utf-8", "surrogatepass"), "json")


@THOROUGH
@given(st.decimals(0, 2**31, allow_nan=False, places=None).map(lambda number: f"{number:f}"))
@example("0.99999999999999999999")
@example("2147483647.99999999999999999")
@example("1.0000000000000000000000000000000000000001")
@example("4503599627.3704959999999999")
def test_seconds_are_rounded_down_alike(number):
    body = json.dumps(an_event(position=0)).replace('"position": 0', f'"position": {number}')
    hold_together(body.encode(), "json")


def corpus() -> list[Any]:
    """Each line: who decides, what becomes of it, the field, its value as JSON text."""
    cases = []
    for line in CORPUS.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            who, outcome, field, value = line.split(maxsplit=3)
            cases.append(pytest.param(who, outcome, field, value, id=f"{field}={value[:40]}"))
    return cases


COLUMNS = {"occurred_at": "occurred_at_us", "sent_at": "sent_at_us", "position": "position_s", "duration": "duration_s",
           "bitrate": "bitrate_kbps", "buffer_duration": "buffer_duration_ms"}  # fmt: skip


@pytest.mark.parametrize("who, outcome, field, value", corpus())
def test_the_corpus_says_who_decides_and_what(who, outcome, field, value):
    name, event = json.loads(f'"{field}"'), an_event(occurred_at=a_time(seconds=10))
    event.pop(name, None)
    text = json.dumps(event)[:-1] + f', "{field}": {value}}}'
    body = text.replace("\\x00", "\0").encode()
    assert hold_together(body, "json") == (who == "rust"), body
    batch = decode(body, "json", RECEIVED_AT_US, LIMITS)
    if batch.errors:
        assert batch.errors[0].code == outcome
        return
    (frame,) = batch.bodies
    row = copy.decode(frame.tuples[0])
    assert str(getattr(row, COLUMNS.get(name, name), "stored")).replace(" ", "\\x20") == outcome


@pytest.mark.parametrize("name", sorted(FIELD_NAMES))
def test_a_name_that_comes_twice_is_the_twins_who_takes_the_last(name):
    value = json.dumps(a_full_event()[name])
    for first, second in ((value, "null"), ("null", value), (value, value)):
        event = {key: member for key, member in a_full_event().items() if key != name}
        body = f'{json.dumps(event)[:-1]}, "{name}": {first}, "{name}": {second}}}'.encode()
        assert vouched(body) is None
        assert decode(body, "json", RECEIVED_AT_US).received == 1


def test_the_usual_body_of_any_shape_is_vouched_for():
    events = [a_full_event(event_type=kind) for kind in EVENT_TYPES]
    for shape, media in [("envelope", "json"), ("array", "text"), ("ndjson", "ndjson"), ("ndjson", "text")]:
        assert hold_together(a_body(events, shape), media), shape
    assert hold_together(a_body(events, sent_at=a_time(seconds=1)), "json")
    assert hold_together(a_body(events, sent_at=a_time(minutes=6)), "json"), "a broken clock"
    assert hold_together(b'{"events":' + a_body(events, "array") + b',"sent_at":null}', "json")
    for shape in ("object", "ndjson", "array"):
        assert hold_together(a_body([an_event(metadata=None)], shape), "text"), shape
    assert hold_together(a_body([an_event(event_id=None)]), "json", owner=b"me", country="DE"), "a derived id"
    assert hold_together(b" \r\n\t" + a_body([an_event()]) + b"\n", "json")
    assert hold_together(a_body([an_event()], "ndjson") * 2 + b"\r\n  \n", "ndjson")


def test_events_of_several_months_clocks_and_kinds_become_the_same_frames_in_the_same_order():
    times = [a_time(days=days) for days in (0, 30, 1, 22, 21.9)]
    events = [a_full_event(event_id=a_uuid(), occurred_at=time) for time in times]
    events += [event | {"event_id": a_uuid(), "event_type": "heartbeat"} for event in events]
    events += [event | {"event_id": a_uuid(), "sent_at": a_time(minutes=9)} for event in events[:2]]
    assert len(decode(a_body(events), "json", RECEIVED_AT_US).bodies) == 4
    assert hold_together(a_body(events), "json", limits=Limits())


@pytest.mark.parametrize("count", [2, 40, 41, 90])
def test_repeats_are_found_alike_in_small_and_large_requests(count):
    events = [an_event() for _ in range(count)]
    repeats = [events[0], events[-1] | {"position": 2}, events[1] | {"event_type": "heartbeat"}]
    repeats.append(events[0] | {"occurred_at": a_time(seconds=99)})
    body = a_body(events + repeats)
    assert hold_together(body, "json", limits=Limits())
    assert decode(body, "json", RECEIVED_AT_US).duplicates == 2


def test_large_bodies_are_read_alike_with_the_interpreter_let_go():
    body = a_body([a_full_event(event_id=a_uuid()) for _ in range(1_000)])
    assert len(body) > 64 * 1024 and hold_together(body, "json", limits=Limits())


@pytest.mark.parametrize("limits", [Limits(events_max=3), Limits(past_us=0), Limits(future_us=0), Limits(depth_max=15)])
def test_the_bounds_are_the_twins(limits):
    for events in ([an_event() for _ in range(4)], [an_event(occurred_at=a_time(days=-0.5))], [an_event()]):
        for shape in ("array", "ndjson", "envelope"):
            found = vouched(a_body(events, shape), "ndjson" if shape == "ndjson" else "json", limits)
            if limits.depth_max == 15:
                assert found is None
            elif found is not None:
                assert found == twin(a_body(events, shape), "ndjson" if shape == "ndjson" else "json", limits)
    too_many = a_body([an_event() for _ in range(4)])
    if limits.events_max == 3:
        assert vouched(too_many, limits=limits) is None
        with pytest.raises(Undecodable):
            decode(too_many, "json", RECEIVED_AT_US, limits)


def test_a_body_of_too_many_values_is_the_twins():
    event = json.dumps(an_event(metadata={"a": "x"}))
    body = f"[{event}{' ' * 65_536}]".encode()
    assert vouched(body) is not None
    assert vouched(body.replace(b'"x"', b"[" + b"0," * 66_000 + b"0]")) is None
    assert vouched(b"\n" * 66_000 + a_body([an_event()], "ndjson"), "ndjson") is None


def test_without_the_core_the_twin_does_it_alone():
    body, rust = a_body([an_event()]), chosen.rust
    with_rust = decode(body, "json", RECEIVED_AT_US)
    chosen.choose("python")
    try:
        assert chosen.name == "python" and vouched(body) is None
        assert decode(body, "json", RECEIVED_AT_US) == with_rust
    finally:
        chosen.rust = rust
