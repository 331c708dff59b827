"""A seeded viewing: what a player hands over is told by its seed alone, and is what real players send, faults too."""

from __future__ import annotations

import zlib
from collections import Counter

import orjson
import pytest

from loadtests.body import FORMS, FORMS_WITH_SENT_AT, body
from loadtests.catalogue import CONTENTS_COUNT, catalogue, content_for
from loadtests.ledger import epoch_us, identity
from loadtests.viewing import HEARTBEAT_S, INT32_MAX, Viewing, viewing, wire_time

START_MS = 1_795_000_000_000
WIRE_NAMES = {
    *("event_id", "event_type", "content_id", "profile_id", "session_id", "sequence", "occurred_at", "position"),
    *("duration", "quality", "bitrate", "device_type", "platform", "cdn_edge", "buffer_duration", "startup_ms"),
    *("error_code", "player", "app_version", "country", "metadata", "test"),
}
EVENT_TYPES = {"play", "pause", "seek", "buffering", "error", "completed", "heartbeat", "stop", "quality_change"}
COLUMN_CHARACTERS = {"quality": 20, "device_type": 50, "platform": 50, "cdn_edge": 100, "player": 100, "country": 2}


@pytest.fixture(scope="module")
def crowd() -> list[Viewing]:
    return [viewing(7, index, START_MS, 10) for index in range(600)]


def test_the_same_arguments_tell_the_same_viewing() -> None:
    assert viewing(3, 14, START_MS, 5) == viewing(3, 14, START_MS, 5)


@pytest.mark.parametrize("other", [(4, 14, START_MS), (3, 15, START_MS), (3, 14, START_MS + 1)])
def test_another_seed_index_or_start_shares_no_identity(other: tuple[int, int, int]) -> None:
    one = {identity(step.event) for step in viewing(3, 14, START_MS).steps}
    assert one
    assert not one & {identity(step.event) for step in viewing(*other).steps}


def test_events_carry_the_names_of_the_wire_and_no_other(crowd: list[Viewing]) -> None:
    for told in crowd:
        for step in told.steps:
            assert step.event.keys() <= WIRE_NAMES
            assert step.event.keys() >= {"event_type", "content_id", "session_id", "sequence", "occurred_at"}
            assert step.event["event_type"] in EVENT_TYPES


def test_a_crowd_shows_every_kind_of_event_and_of_fault(crowd: list[Viewing]) -> None:
    events = [step.event for told in crowd for step in told.steps]
    assert {event["event_type"] for event in events} == EVENT_TYPES
    assert any("event_id" not in event for event in events)
    assert any("profile_id" not in event for event in events)
    assert any(event.get("test") for event in events)
    assert any(event["bitrate"] > INT32_MAX for event in events)
    assert any(isinstance(event["position"], float) for event in events)
    assert {type(event["occurred_at"]) for event in events} == {int, str}
    assert any(epoch_us(event["occurred_at"]) < 86_400 * 10**6 for event in events), "nobody lives in 1970"
    assert any(epoch_us(event["occurred_at"]) > START_MS * 1000 + 86_400 * 10**6 for event in events), "nobody is ahead"
    counted = Counter(identity(event) for event in events)
    assert any(times > 1 for times in counted.values()), "nobody sends twice"


def test_what_fits_its_column_is_meant_to_and_what_does_not_is_rare(crowd: list[Viewing]) -> None:
    events = [step.event for told in crowd for step in told.steps]
    for event in events:
        assert all(len(event.get(name, "")) <= characters for name, characters in COLUMN_CHARACTERS.items())
        assert 0 <= event["position"] <= INT32_MAX
    assert sum(event["bitrate"] > INT32_MAX for event in events) < len(events) * 0.01


def test_an_event_without_an_id_is_told_apart_by_its_place_in_the_session(crowd: list[Viewing]) -> None:
    for told in crowd:
        bodies: dict[object, dict[str, object]] = {}
        for step in told.steps:
            assert bodies.setdefault(identity(step.event), step.event) == step.event


def test_steps_come_in_the_order_of_their_time(crowd: list[Viewing]) -> None:
    for told in crowd:
        due = [step.due_ms for step in told.steps]
        assert due == sorted(due)
        assert all(at >= START_MS for at in due)


def test_a_broken_clock_shows_in_every_event_and_asks_for_sent_at(crowd: list[Viewing]) -> None:
    broken = [told for told in crowd if told.needs_sent_at]
    assert 0 < len(broken) < len(crowd) / 5
    for told in broken:
        first = {identity(step.event): step for step in reversed(told.steps)}  # a resend comes later
        for step in first.values():
            ago_ms = int(step.event.get("buffer_duration", 0))  # a stall is told when it is over, as of its begin
            happened_ms = epoch_us(step.event["occurred_at"]) // 1000 - told.skew_ms
            assert step.due_ms - ago_ms <= happened_ms <= step.due_ms
            assert ago_ms or happened_ms == step.due_ms


def test_late_events_are_days_old_at_most_and_under_a_sane_clock(crowd: list[Viewing]) -> None:
    late = [
        told
        for told in crowd
        if not told.needs_sent_at and told.steps and epoch_us(told.steps[0].event["occurred_at"]) // 1000 < START_MS
    ]
    assert late
    for told in late:
        assert epoch_us(told.steps[0].event["occurred_at"]) // 1000 > START_MS - 14 * 86_400_000


def test_pace_compresses_time_and_not_the_film() -> None:
    slow, fast = viewing(7, 3, START_MS, 1), viewing(7, 3, START_MS, 20)
    assert [step.event["event_type"] for step in slow.steps] == [step.event["event_type"] for step in fast.steps]
    assert slow.steps[-1].event["position"] == fast.steps[-1].event["position"]
    slow_ms, fast_ms = slow.steps[-1].due_ms - START_MS, fast.steps[-1].due_ms - START_MS
    assert slow_ms > HEARTBEAT_S * 1000
    assert abs(slow_ms / 20 - fast_ms) <= 1


def test_popularity_falls_with_rank() -> None:
    chosen = Counter(content_for(7, chance / 10_000).content_id for chance in range(10_000))
    ranked = [chosen[content.content_id] for content in catalogue(7)]
    assert len(ranked) == CONTENTS_COUNT
    assert ranked[0] > 5 * ranked[9] > 0
    assert min(ranked) > 0


@pytest.mark.parametrize("form", ["utc", "epoch_ms", "offset", "micro"])
@pytest.mark.parametrize("epoch_ms", [0, 1, 999, 1_795_000_000_123, 2_147_483_647_000])
def test_every_way_of_writing_a_time_means_the_same_time(form: str, epoch_ms: int) -> None:
    assert epoch_us(wire_time(epoch_ms, form)) == epoch_ms * 1000


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_body_says_what_it_is(form: str) -> None:
    event = viewing(7, 3, START_MS).steps[0].event
    written = body(form, [event], START_MS)
    encoding = written.headers.get("Content-Encoding")
    # 47: zlib finds out by itself whether it is gzip or deflate
    said = orjson.loads(zlib.decompress(written.data, 47) if encoding else written.data)
    if form in FORMS_WITH_SENT_AT:
        assert said == {"sent_at": START_MS, "events": [event]}
    else:
        assert said == ([event] if form == "array" else event)
