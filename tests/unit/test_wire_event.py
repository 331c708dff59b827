"""What was stored can be posted again: the event that is shown decodes to the tuple it was made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.wire_event import NotAnEvent, event_of, row_of, sent_at_now, time_text
from ingest import ad
from ingest import tuple as copy_tuple
from ingest.batch import FLAG_CLOCK_BROKEN
from ingest.decode import Limits, decode
from ingest.tuple import NULL, TIME_MAX_US, Row
from tests.ads import an_ad
from tests.builders import RECEIVED_AT_US, a_body, a_full_event, a_time, a_uuid, an_ad_event, an_event
from tests.spooled import a_row

LATER_US = RECEIVED_AT_US + 7 * 3_600_000_000

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
changes = st.fixed_dictionaries(
    {},
    optional={
        "event_type": st.sampled_from(["play", "heartbeat", "stop"]),
        "occurred_at": st.integers(-86_400 * 30, 3_600).map(lambda s: a_time(seconds=-s)),
        "sequence": st.none() | st.integers(0, 2**53 - 1),
        "position": st.none() | st.integers(0, 2**31 - 1) | st.floats(0, 1e6),
        "bitrate": st.none() | st.integers(0, 2**31 - 1),
        "quality": st.none() | texts,
        "player": st.none() | texts,
        "country": st.none() | st.sampled_from(["DE", "ÜÜ"]),
        "test": st.none() | st.booleans(),
        "metadata": st.none() | st.dictionaries(texts, values, max_size=4),
        "sent_at": st.none() | st.integers(-86_400, 86_400).map(lambda s: a_time(seconds=-s)),
        "event_id": st.none() | st.uuids().map(str),
    },
)


def accepted(event: dict[str, Any], at_us: int) -> tuple[bytes, int]:
    """The tuple and its flags as the door makes them."""
    batch = decode(a_body([event]), "json", at_us, Limits())
    assert batch.errors == [], batch.errors
    (body,) = batch.bodies
    return body.tuples[0], body.flags


@given(st.builds(lambda changes: a_full_event(**changes), changes))
def test_an_event_posted_again_is_the_same_row_but_for_when_it_was_received_and_sent(event: dict[str, Any]) -> None:
    assume(len(json.dumps(event["metadata"])) < 2_000)
    assume(any(event[name] is not None for name in ("event_id", "sequence", "position")))
    first, flags = accepted(event, RECEIVED_AT_US)
    row = row_of(first, 1)
    assert isinstance(row, Row)
    again = event_of(row)
    assert again.keys() <= event.keys() | {"event_id"}
    if row.sent_at_us is not None:
        again["sent_at"] = sent_at_now(row, LATER_US)
    second, flags_again = accepted(again, LATER_US)
    assert flags_again == flags, "a clock is broken by as much as it was"
    told = copy_tuple.decode(second)
    assert told == row._replace(received_at_us=LATER_US, sent_at_us=told.sent_at_us)
    if row.sent_at_us is not None:
        assert told.sent_at_us is not None
        assert told.sent_at_us - LATER_US == row.sent_at_us - RECEIVED_AT_US


def test_an_ad_event_posted_again_is_the_same_but_for_when_it_was_received() -> None:
    said = {"event": "progress", "progress_offset": "00:00:05", "duration": 15.25, "test": True, "creative_id": "7"}
    first, flags = accepted(an_ad_event(campaign_id=a_uuid(), error_code="303", **said), RECEIVED_AT_US)
    again = event_of(row_of(first, 2))
    assert again.items() >= said.items() and again["type"] == "ad"
    second, flags_again = accepted(again, LATER_US)
    assert flags == flags_again == 0
    assert ad.decode(second) == ad.decode(first)._replace(received_at_us=LATER_US)


@pytest.mark.parametrize("cut", [0, 1, 2, 22, 30, -1])
def test_a_tuple_of_an_ad_event_cut_short_is_no_event(cut: int) -> None:
    whole = ad.encode(an_ad(event="start"))
    assert event_of(row_of(whole, 2))["event"] == "start"
    for poison in (whole[:cut], whole.replace(b"start", b"st\xffrt"), whole[:2] + NULL + whole[22:]):
        with pytest.raises(NotAnEvent):
            event_of(row_of(poison, 2))


def test_an_event_that_waited_with_its_old_stamp_would_be_one_of_a_broken_clock() -> None:
    row, flags = accepted(an_event(sent_at=a_time(seconds=1)), RECEIVED_AT_US)
    assert flags == 0
    assert accepted(event_of(row_of(row, 1)), LATER_US)[1] == FLAG_CLOCK_BROKEN


def test_a_clock_at_the_end_of_time_stays_within_it() -> None:
    row = copy_tuple.decode(a_row(sent_at_us=TIME_MAX_US - 5))
    assert sent_at_now(row, LATER_US) == "2100-12-31T23:59:59.999999Z"
    assert sent_at_now(row._replace(sent_at_us=0), RECEIVED_AT_US - 10**15) == "1970-01-01T00:00:00.000000Z"
    assert sent_at_now(row._replace(sent_at_us=None), LATER_US) is None


def test_what_a_tuple_does_not_say_the_event_does_not_say() -> None:
    assert event_of(row_of(a_row(), 1)).keys() == {"event_id", "event_type", "content_id", "session_id", "occurred_at"}


@pytest.mark.parametrize(
    "poison",
    [
        lambda row: row[:-1],
        lambda row: row + b"\0",
        lambda row: b"",
        lambda row: row[:2] + NULL + row[22:],
        lambda row: row.replace(b"\x00\x00\x00\x04play", b"\x00\x00\x00\x04pl\xffy"),
        lambda row: row[:-4] + b"\x00\x00\x00\x01{",
        lambda row: row[:66] + b"\x7f" + b"\xff" * 7 + row[74:],
        lambda row: row[:62] + b"\x00\x00\x00\x07" + row[67:],
        lambda row: row[:2] + b"\x00\x00\x00\x0f" + row[7:],
    ],
    ids=["cut", "longer", "nothing", "no id", "utf-8", "metadata", "time", "seven bytes of time", "short id"],
)
def test_bytes_that_are_no_event_are_told_and_never_half_an_event(poison: Any) -> None:
    with pytest.raises(NotAnEvent):
        event_of(row_of(poison(a_row()), 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_not_and_nothing_else_is_raised(data: bytes) -> None:
    for row in (data, b"\x00\x18" + data, a_row()[: len(data)] + data):
        try:
            event_of(row_of(row, 1))
        except NotAnEvent:
            pass


def test_a_schema_of_another_release_is_named() -> None:
    with pytest.raises(NotAnEvent, match="schema 7"):
        row_of(a_row(), 7)


@pytest.mark.parametrize("us", [0, 1, TIME_MAX_US, -1])
def test_times_keep_their_microsecond(us: int) -> None:
    assert time_text(us).endswith(f"{us % 1_000_000:06d}Z")
