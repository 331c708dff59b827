"""Times as sent, and which of them an event may carry."""

import pytest

from config.settings import HttpSettings, Settings
from ingest import tuple as copy
from ingest.batch import FLAG_CLOCK_BROKEN, KIND_PLAYBACK, KIND_SIGNAL, MONTH_UNSETTLED, SCHEMA_PLAYBACK
from ingest.decode import Limits, decode
from ingest.decode.time import text_us
from tests.builders import (
    RECEIVED_AT_US,
    a_body,
    a_time,
    an_event,
)
from tests.decoding import SURPLUS, decoded, refused, rows, taken

pytestmark = pytest.mark.usefixtures("each_core")

T0_US = 1_795_377_600_000_000


@pytest.mark.parametrize("name", ["occurred_at", "sent_at"])
@pytest.mark.parametrize("value, us", [
    ("2026-11-22T20:00:00Z", T0_US), ("2026-11-22t20:00:00z", T0_US), ("2026-11-22T20:00:00.5Z", T0_US + 500_000),
    ("2026-11-22T20:00:00.123456Z", T0_US + 123_456), ("2026-11-22T20:00:00.1234569Z", T0_US + 123_456),
    ("2026-11-22T20:00:00.000000999999Z", T0_US), ("2026-11-22T22:00:00+02:00", T0_US),
    ("2026-11-22T14:30:00-05:30", T0_US),
    ("2026-11-22T20:00:00-00:00", T0_US), ("2026-11-23T19:59:00.25+23:59", T0_US + 250_000),
    (1_795_377_600_001, T0_US + 1_000),
])  # fmt: skip
def test_a_time_is_rfc_3339_or_milliseconds(name, value, us):
    assert getattr(taken(**{name: value}), name + "_us") == us


@pytest.mark.parametrize("name", ["occurred_at", "sent_at"])
@pytest.mark.parametrize("value", [
    "", "now", "2026-11-22", "2026-11-22T20:00:00", "2026-11-22 20:00:00Z", "2026-11-22T20:00Z",
    "2026-11-22T20:00:00.Z",
    "2026-11-22T20:00:00,5Z", "2026-11-22T20:00:00+0200", "2026-11-22T20:00:00+02", "2026-11-22T20:00:00+24:00",
    "2026-11-22T20:00:00+02:60", "2026-11-22T24:00:00Z", "2026-11-22T20:60:00Z", "2026-11-22T20:00:60Z",
    "2016-12-31T23:59:60Z",
    "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-31T00:00:00Z",
    "2026-11-00T00:00:00Z",
    "20261122T200000Z", "+2026-11-22T20:00:00Z", "02026-11-22T20:00:00Z", "٢٠٢٦-11-22T20:00:00Z",
    "2026-11-22T20:00:00Z ",
    " 2026-11-22T20:00:00Z", "2026-11-22T20:00:00Z\n", "1795377600000", "2026-11-22T20:00:00." + "1" * 50 + "Z",
    "2026-11-22T20:00:00ZZ", "0000-02-30T00:00:00Z", "Sun, 22 Nov 2026 20:00:00 GMT",
])  # fmt: skip
def test_anything_else_is_no_time(name, value):
    assert refused(**{name: value}) == ("invalid_time", f"$.{name}")


@pytest.mark.parametrize("name", ["occurred_at", "sent_at"])
@pytest.mark.parametrize("value", [
    "0001-01-01T00:00:00Z", "0000-02-29T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:59:59+01:00", "2101-01-01T00:00:00Z", "2100-12-31T23:59:59-00:01", -1, 4_133_980_800_000,
    10**30, -(10**30),
])  # fmt: skip
def test_years_outside_1970_to_2100_are_out_of_range(name, value):
    assert refused(**{name: value}) == ("out_of_range", f"$.{name}")


def test_year_zero_is_the_leap_year_before_year_one():
    assert text_us("0001-01-01T00:00:00Z") - text_us("0000-01-01T00:00:00Z") == 366 * 86_400_000_000


def test_any_length_of_fraction_up_to_sixty_four_characters_is_taken():
    assert taken(occurred_at="2026-11-22T20:00:00." + "1" * 43 + "Z").occurred_at_us == T0_US + 111_111


@SURPLUS
@pytest.mark.parametrize("sent_at", [None, a_time(seconds=0), a_time(minutes=5), a_time(minutes=-5)])
@pytest.mark.parametrize("before, code", [
    ({"days": 35}, None), ({"days": 35, "milliseconds": 1}, "too_old"),
    ({"days": -1}, None), ({"days": -1, "milliseconds": -1}, "too_new"),
])  # fmt: skip
def test_under_a_sane_clock_times_are_held_to_the_door(surplus, sent_at, before, code):
    batch = decoded(a_body([an_event(occurred_at=a_time(**before), **surplus)], sent_at=sent_at))
    assert [(error.code, error.path) for error in batch.errors] == ([] if code is None else [(code, "$.occurred_at")])
    assert [frame.flags for frame in batch.bodies] == [0] * batch.accepted


@SURPLUS
@pytest.mark.parametrize("sent_at", [a_time(minutes=5, milliseconds=1), a_time(minutes=-6), "1970-01-01T00:00:00Z", 0])
@pytest.mark.parametrize("occurred_at", ["1970-01-01T00:00:00Z", "2038-01-19T03:14:08Z", "2100-12-31T23:59:59.999999Z"])
def test_under_a_broken_clock_any_time_is_kept_as_sent_for_the_drain_to_settle(surplus, sent_at, occurred_at):
    batch = decoded(a_body([an_event(occurred_at=occurred_at, **surplus)], sent_at=sent_at))
    (frame,) = batch.bodies
    assert frame[:4] == (KIND_PLAYBACK, FLAG_CLOCK_BROKEN, SCHEMA_PLAYBACK, MONTH_UNSETTLED)
    (row,) = rows(batch)
    assert copy.clock_is_broken(row.sent_at_us, row.received_at_us)


@pytest.mark.parametrize("occurred_at", ["1969-12-31T23:59:59.999Z", "2101-01-01T00:00:00Z"])
@pytest.mark.parametrize("sent_at", [None, "1970-01-01T00:00:00Z"])
def test_outside_1970_to_2100_no_clock_is_believed(occurred_at, sent_at):
    batch = decoded(a_body([an_event(occurred_at=occurred_at)], sent_at=sent_at))
    assert batch.rejected_by_code == {"out_of_range": 1}


@SURPLUS
def test_a_gateway_whose_own_clock_is_off_keeps_to_1970_all_the_same(surplus):
    batch = decode(a_body([an_event(occurred_at=-1, **surplus), an_event(occurred_at=0, **surplus)]), "json", 0)
    assert (batch.accepted, batch.rejected_by_code) == (1, {"out_of_range": 1})


def test_an_events_own_sent_at_goes_before_the_envelopes():
    events = [an_event(sent_at="1970-01-02T00:00:00Z", occurred_at="1970-01-01T00:00:00Z"), an_event()]
    batch = decoded(a_body(events, sent_at=a_time(seconds=1)))
    assert [frame.flags for frame in batch.bodies] == [FLAG_CLOCK_BROKEN, 0]
    assert [row.sent_at_us for row in rows(batch)] == [86_400_000_000, RECEIVED_AT_US - 1_000_000]


@pytest.mark.parametrize("shape, media", [("array", "json"), ("object", "json"), ("ndjson", "ndjson")])
def test_without_an_envelope_an_event_brings_its_own_sent_at(shape, media):
    event = an_event(sent_at=86_400_000, occurred_at=5)
    (row,) = rows(decoded(a_body([event], shape), media))
    assert (row.sent_at_us, row.occurred_at_us) == (86_400_000_000, 5_000)


def test_a_heartbeat_of_a_broken_clock_is_a_signal_with_the_flag():
    (frame,) = decoded(a_body([an_event(event_type="heartbeat", occurred_at=5)], sent_at=0)).bodies
    assert frame[:4] == (KIND_SIGNAL, FLAG_CLOCK_BROKEN, SCHEMA_PLAYBACK, MONTH_UNSETTLED)


def test_the_bounds_are_settings():
    limits = Limits.of(Settings(http=HttpSettings(events_max=1, depth_max=5)))
    assert (limits.events_max, limits.depth_max, limits.past_us) == (1, 5, 35 * 86_400_000_000)
