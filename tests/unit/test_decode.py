"""What a body may be, and when all of it is refused."""

import json
import tracemalloc

import pytest

from ingest.decode import Limits
from tests.builders import (
    a_body,
    a_full_event,
    a_uuid,
    an_event,
)
from tests.decoding import SURPLUS, decoded, rows, undecodable

pytestmark = pytest.mark.usefixtures("each_core")

# What a body may be


@pytest.mark.parametrize("shape, media", [
    ("envelope", "json"), ("array", "json"), ("object", "json"), ("ndjson", "ndjson"),
    ("envelope", "text"), ("array", "text"), ("object", "text"), ("ndjson", "text"),
])  # fmt: skip
@SURPLUS
def test_an_event_is_the_same_row_in_every_shape(shape, media, surplus):
    event = a_full_event(**surplus)
    batch = decoded(a_body([event], shape), media)
    assert (batch.received, batch.accepted, batch.unknown_fields) == (1, 1, len(surplus))
    assert batch.bodies == decoded(a_body([a_full_event(event_id=event["event_id"])])).bodies


def test_lines_and_text_hold_several_events():
    events = [an_event(), an_event(event_type="pause")]
    for media in ("ndjson", "text"):
        batch = decoded(a_body(events, "ndjson"), media)
        assert [row.event_type for row in rows(batch)] == ["play", "pause"]


def test_whitespace_around_a_body_and_empty_lines_are_nothing():
    assert decoded(b"\r\n \t" + a_body([an_event()]) + b"\n\n").accepted == 1
    assert (
        decoded(
            b"\n\r\n" + a_body([an_event()], "ndjson") + b"\r\n \n" + a_body([an_event()], "ndjson"), "ndjson"
        ).accepted
        == 2
    )


@pytest.mark.parametrize("body", [b"[]", b'{"events":[]}', b'{"events":[],"sent_at":1795377600000}', b" [ ] "])
def test_no_events_are_an_empty_batch(body):
    batch = decoded(body)
    assert (batch.received, batch.accepted, batch.bodies) == (0, 0, [])


@pytest.mark.parametrize("media", ["json", "ndjson", "text"])
@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t\n"])
def test_an_empty_body_is_refused(body, media):
    error = undecodable(body, media)
    assert (error.code, error.status) == ("empty_body", 400)


@pytest.mark.parametrize("body", [b"1", b'"text"', b"null", b"true", b"-0.5e3"])
def test_a_scalar_is_no_body(body):
    assert (undecodable(body).code, undecodable(body).details) == ("invalid_type", {"path": "$"})


@pytest.mark.parametrize("events", ["null", "1", "{}", '"[]"'])
def test_events_are_an_array(events):
    error = undecodable(f'{{"events":{events}}}'.encode())
    assert (error.code, error.details) == ("invalid_type", {"path": "$.events"})


def test_events_that_are_no_objects_are_refused_one_by_one():
    batch = decoded(json.dumps([1, an_event(), None, [an_event()], "x"]).encode())
    assert batch.accepted == 1
    assert [(error.index, error.code, error.path, error.id) for error in batch.errors] == [
        (index, "invalid_type", "$", None) for index in (0, 2, 3, 4)
    ]


def test_in_lines_one_broken_line_is_that_lines_error():
    good = a_body([an_event()], "ndjson")
    lines = [b'{"event_id":', b"{}{}", b"\xff{}", b'{"a":NaN}', b'{"a":' * 16 + b"{}" + b"}" * 16, b"[]", b"{} x"]
    batch = decoded(good + b"\n".join(lines) + b"\n" + a_body([an_event()], "ndjson"), "ndjson")
    assert (batch.received, batch.accepted, batch.rejected) == (9, 2, 7)
    assert [error.code for error in batch.errors] == [
        "invalid_json", "invalid_json", "invalid_json", "invalid_json", "too_deep", "invalid_type", "invalid_json",
    ]  # fmt: skip
    assert [error.index for error in batch.errors] == [1, 2, 3, 4, 5, 6, 7]


def test_lines_are_told_from_values_that_span_or_share_them():
    one, two = (a_body([an_event()], "ndjson").strip() for _ in range(2))
    spanning = one.replace(b", ", b",\n", 1)
    for body, accepted in (
        (one + b" " + two, 0), (one + two + b"\n" + one, 1), (spanning + b"\n" + one + b" " + two, 0),
        (one + b"\r\n" + two, 2),
    ):  # fmt: skip
        assert decoded(body, "ndjson").accepted == accepted


def test_an_object_over_two_lines_is_two_broken_lines():
    assert decoded(b'{"events":[]\n}', "ndjson").rejected_by_code == {"invalid_json": 2}
    assert decoded(b'{"events":[]\n}', "text").received == 0  # JSON first


def test_text_is_lines_even_when_its_first_line_is_broken():
    batch = decoded(b'{"event_id":}\n' + a_body([an_event()], "ndjson"), "text")
    assert (batch.accepted, batch.rejected_by_code) == (1, {"invalid_json": 1})


# When all of it is refused


@pytest.mark.parametrize("body, offset", [
    (b'{"events":[}', 11), (b"[1,]", 3), (b"[", 1), (b'{"a":1', 6), ('["é" 1]'.encode(), 6), (b'[{"a":01}]', 7),
    (b"[] []", 3), (b'["\\q"]', 2), (b'["\x01"]', 2), (b"{1:2}", 1), (b'{"a" 1}', 5), (b'[{"a":1}}', 8),
    (b"\xef\xbb\xbf[]", 0),
])  # fmt: skip
def test_broken_json_is_refused_where_it_breaks(body, offset):
    error = undecodable(body)
    assert (error.code, error.status, error.details["offset"]) == ("invalid_json", 400, offset), error.message


@pytest.mark.parametrize("body", [b"NaN", b"[NaN]", b"[Infinity]", b'[{"metadata":{"a":-Infinity}}]'])
def test_numbers_that_are_no_numbers_are_not_json(body):
    assert undecodable(body).code == "invalid_json"


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"])
@pytest.mark.parametrize("place", ["player", "foo", "metadata"])
def test_bytes_that_are_not_utf_8_are_refused_wherever_they_are(bad, place):
    event = an_event(**{place: {"a": "@"} if place == "metadata" else "@"})
    body = a_body([event]).replace(b"@", bad)
    error = undecodable(body)
    assert (error.code, error.details) == ("invalid_json", {"offset": body.index(bad)})


@pytest.mark.parametrize("place", ["player", "foo", "metadata"])
def test_nesting_is_counted_over_the_whole_body_unknown_fields_included(place):
    def body(depth):
        value = "[" * depth + "]" * depth
        return a_body([an_event(**{place: "@"})]).replace(b'"@"', f'{{"a":{value}}}'.encode())

    assert decoded(body(12)).received == 1  # envelope, array, event, object, and twelve
    error = undecodable(body(13))
    assert (error.code, error.status, error.details) == ("too_deep", 400, {"depth_max": 16})
    assert undecodable(body(10_000)).code == "too_deep"


def test_ten_thousand_open_arrays_are_too_deep():
    assert undecodable(b"[" * 10_000).code == "too_deep"
    assert undecodable(b'{"events":' * 10_000, "text").code == "too_deep"


def test_brackets_in_texts_do_not_nest():
    assert decoded(a_body([an_event(player="[" * 50, foo='"[{' * 50, metadata={"a": '\\"' + "{[" * 50})])).accepted == 1


HOSTILE = {
    "events": b"[" + b"{}," * 2_000_000 + b"{}]",
    "events of an envelope": b'{"events":[' + b"{}," * 2_000_000 + b"{}]}",
    "lines": b"{}\n" * 2_000_000,
    "empty lines": b"\n" * 8_000_000,
    "arrays in an unknown field": b'{"foo":[' + b"[]," * 2_000_000 + b"[]]}",
    "unknown fields": b"{" + b",".join(b'"%06d":1' % number for number in range(700_000)) + b"}",
    "numbers": b"[" + b"1.5," * 2_000_000 + b"1]",
    "texts": b"[" + b'"ab",' * 1_500_000 + b"1]",
    "open arrays": b"[" * 8_000_000,
}


@pytest.mark.parametrize("media", ["json", "ndjson", "text"])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_body_that_is_small_when_deflated_costs_little(body, media):
    tracemalloc.start()
    try:
        error = undecodable(body, media)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (error.code, error.status, error.details) == ("too_many_values", 413, {"values_max": 128_000})
    assert peak_bytes < 40 << 20


@pytest.mark.parametrize("place", ["foo", "metadata"])
def test_values_are_counted_outside_texts(place):
    events = [an_event(**{place: {"a": '[{,\\"' * 280}}) for _ in range(200)]
    assert decoded(a_body(events)).accepted == 200
    assert undecodable(a_body([an_event(foo=[1] * 128_000)])).code == "too_many_values"
    assert decoded(a_body([an_event(foo=[1] * 127_900)])).accepted == 1


def test_a_smaller_depth_is_kept_to():
    assert undecodable(a_body([an_event()]), limits=Limits(depth_max=2)).code == "too_deep"
    assert decoded(a_body([an_event()]), limits=Limits(depth_max=3)).accepted == 1


@pytest.mark.parametrize("shape, media", [("envelope", "json"), ("array", "json"), ("ndjson", "ndjson")])
@pytest.mark.parametrize("changes", [{}, {"foo": 1}, {"bitrate": 1.5}], ids=["valid", "unknown field", "invalid"])
def test_a_thousand_events_fit_and_no_more(shape, media, changes):
    events = [an_event(event_id=a_uuid(), **changes) for _ in range(1_001)]
    assert decoded(a_body(events[:1_000], shape), media).received == 1_000
    error = undecodable(a_body(events, shape), media)
    assert (error.code, error.status, error.details) == ("too_many_events", 413, {"events_max": 1_000})


@pytest.mark.parametrize("sent_at, code", [
    ("yesterday", "invalid_time"), (1.5, "invalid_type"), (True, "invalid_type"), ({}, "invalid_type"),
    ("0001-01-01T00:00:00Z", "out_of_range"), ("9999-12-31T23:59:59Z", "out_of_range"), (-1, "out_of_range"),
    (10**400, "out_of_range"), ("\ud800", "invalid_time"),
])  # fmt: skip
def test_a_bad_sent_at_of_the_envelope_refuses_the_request(sent_at, code):
    error = undecodable(a_body([an_event()], sent_at=sent_at))
    assert (error.code, error.status, error.details) == (code, 400, {"path": "$.sent_at"})
