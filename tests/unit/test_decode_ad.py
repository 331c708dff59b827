"""Ad events in a request's JSON: beside playback events, whole or refused, each by its own identity."""

import json
from typing import Any

import pytest

from config.settings import DoorSettings, Settings
from ingest import ad
from ingest.ad import EVENTS, AdRow
from ingest.batch import KIND_AD, KIND_PLAYBACK, MONTH_AD, SCHEMA_AD, SCHEMA_PLAYBACK, Batch
from ingest.decode import Limits
from ingest.decode.json import _vouched
from ingest.decode.request import Request
from tests.builders import CONTENT_ID, RECEIVED_AT_US, SESSION_ID, a_body, a_time, a_uuid, an_ad_event, an_event
from tests.decoding import decoded

pytestmark = pytest.mark.usefixtures("each_core")

SHAPES = ("envelope", "array", "ndjson")


def ads(batch: Batch) -> list[AdRow]:
    return [ad.decode(row) for frame in batch.bodies if frame.kind == KIND_AD for row in frame.tuples]


def taken(**changes: Any) -> AdRow:
    (row,) = ads(decoded(a_body([an_ad_event(**changes)])))
    return row


def refused(**changes: Any) -> tuple[str, str]:
    """(code, path); its neighbours, of either type, are taken."""
    batch = decoded(a_body([an_event(), an_ad_event(**changes), an_ad_event()]))
    assert batch.accepted == 2
    (error,) = batch.errors
    assert error.index == 1
    return error.code, error.path


def test_an_ad_event_becomes_a_frame_of_its_kind():
    batch = decoded(a_body([an_ad_event()]))
    (frame,) = batch.bodies
    assert frame[:5] == (KIND_AD, 0, SCHEMA_AD, MONTH_AD, 1)
    assert batch.accepted == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_playback_and_ad_events_mix_in_one_request(shape):
    batch = decoded(
        a_body([an_event(), an_ad_event(), an_event(), an_ad_event()], shape), "ndjson" if shape == "ndjson" else "json"
    )
    assert (batch.accepted, batch.rejected) == (4, 0)
    assert [(frame.kind, frame.schema, frame.count) for frame in batch.bodies] == [
        (KIND_PLAYBACK, SCHEMA_PLAYBACK, 2),
        (KIND_AD, SCHEMA_AD, 2),
    ]


def test_one_object_may_be_an_ad_event():
    assert decoded(a_body([an_ad_event()], "object")).accepted == 1


def test_every_field_arrives_in_its_column():
    row = taken(
        event="progress", progress_offset="25%", campaign_id=CONTENT_ID, creative_id="cr-é", content_id=CONTENT_ID,
        profile_id=SESSION_ID, session_id=SESSION_ID, error_code="405", duration=29.97, test=True, sent_at=a_time(),
    )  # fmt: skip
    assert (row.event, row.progress_offset, row.creative_id, row.error_code, row.duration_ms, row.test) == (
        "progress", "25%", "cr-é", "405", 29_970, True,
    )  # fmt: skip
    assert str(row.campaign_id) == str(row.content_id) == CONTENT_ID
    assert str(row.profile_id) == str(row.session_id) == SESSION_ID
    assert (row.occurred_at_us, row.received_at_us) == (RECEIVED_AT_US - 10_000_000, RECEIVED_AT_US)


def test_null_and_empty_texts_are_absent():
    row = taken(event="progress", progress_offset="", campaign_id=None, creative_id="", error_code="", sent_at=None)
    assert row[6:] == (None,) * 7
    assert row.progress_offset is None


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_known_in_any_case(name):
    assert taken(event=name.upper()).event == name


def test_an_offset_says_nothing_of_another_event():
    assert taken(event="start", progress_offset="00:00:05").progress_offset is None


def test_an_event_told_twice_in_one_request_is_a_repeat_only_if_it_is_told_alike():
    impression = a_uuid()
    same = {"impression_id": impression, "event": "progress"}
    events = [
        an_ad_event(impression_id=impression, event="clickTracking", creative_id="first"),
        an_ad_event(impression_id=impression, event="CLICK", creative_id="again", occurred_at=a_time(seconds=3)),
        an_ad_event(impression_id=impression, event="start"),
        an_ad_event(**same, progress_offset="10%"),
        an_ad_event(**same, progress_offset="20%"),
        an_ad_event(**same, progress_offset="10%"),
        an_ad_event(**same),
        an_event(event_id=impression),
    ]
    batch = decoded(a_body(events))
    assert (batch.received, batch.accepted, batch.duplicates) == (8, 7, 1)
    assert [(row.event, row.progress_offset, row.creative_id) for row in ads(batch)] == [
        ("click", None, "first"), ("click", None, "again"), ("start", None, None), ("progress", "10%", None),
        ("progress", "20%", None),
        ("progress", None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("field, value, code", [
    ("event", "impresion", "unknown_event"), ("event", None, "missing_field"), ("event", 7, "invalid_type"),
    ("impression_id", None, "missing_field"), ("impression_id", "[IMPRESSION_ID]", "invalid_uuid"),
    ("occurred_at", None, "missing_field"), ("occurred_at", "yesterday", "invalid_time"),
    ("occurred_at", a_time(days=36), "too_old"), ("occurred_at", a_time(days=-2), "too_new"),
    ("campaign_id", "7", "invalid_uuid"), ("creative_id", "x" * 101, "too_long"), ("creative_id", "\0", "invalid_text"),
    ("content_id", 1, "invalid_type"), ("profile_id", "", "invalid_uuid"), ("session_id", "x", "invalid_uuid"),
    ("progress_offset", "x" * 33, "too_long"), ("error_code", "\ud800", "invalid_text"),
    ("duration", -1, "out_of_range"), ("duration", 2_147_484, "out_of_range"), ("duration", "30", "invalid_type"),
    ("duration", True, "invalid_type"), ("test", 1, "invalid_type"), ("sent_at", "now", "invalid_time"),
])  # fmt: skip
def test_a_bad_value_refuses_its_event_alone(field, value, code):
    assert refused(**{field: value}) == (code, f"$.{field}")


def test_a_refused_ad_event_is_named_by_its_impression():
    event = an_ad_event(event="nap")
    (error,) = decoded(a_body([event])).errors
    assert error.id == event["impression_id"]


def test_another_type_is_refused():
    (error,) = decoded(a_body([an_ad_event(type="advert")])).errors
    assert (error.code, error.path) == ("unsupported_type", "$.type")


@pytest.mark.parametrize("own", [True, False], ids=["its own", "the envelope's"])
def test_a_broken_clock_is_corrected_at_once(own):
    sent = {"sent_at": a_time(days=400)}
    event = an_ad_event(occurred_at=a_time(days=400, seconds=42), **(sent if own else {}))
    (row,) = ads(decoded(a_body([event], **({} if own else sent))))
    assert row.occurred_at_us == RECEIVED_AT_US - 42_000_000


def test_a_corrected_time_is_held_to_the_door_s_limits():
    sent_at = a_time(days=400)
    assert refused(sent_at=sent_at, occurred_at=a_time(days=436)) == ("too_old", "$.occurred_at")
    assert refused(sent_at=sent_at, occurred_at=a_time(days=398)) == ("too_new", "$.occurred_at")


def test_a_sane_clock_is_believed():
    assert taken(sent_at=a_time(seconds=200)).occurred_at_us == RECEIVED_AT_US - 10_000_000


def test_the_door_s_limits_are_settings():
    limits = Limits.of(Settings(door=DoorSettings(past_s=5)))
    assert decoded(a_body([an_ad_event()]), limits=limits).rejected_by_code == {"too_old": 1}


def test_ads_of_a_crawler_are_tests():
    (row,) = ads(decoded(a_body([an_ad_event(test=False)]), tests=True))
    assert row.test


def test_unknown_fields_of_an_ad_event_are_ignored_and_counted():
    batch = decoded(a_body([an_ad_event(foo=1, position=3), an_event()]), dry_run=True)
    assert (batch.accepted, batch.unknown_fields, batch.unknown_names) == (2, 2, ("foo", "position"))


@pytest.mark.parametrize("shape", [*SHAPES, "object"])
@pytest.mark.usefixtures("rust_core")
def test_the_rust_core_leaves_every_ad_event_to_the_twin(shape):
    media = "ndjson" if shape == "ndjson" else "json"
    events = [an_ad_event()] if shape == "object" else [an_event(), an_ad_event()]
    assert _vouched(a_body(events, shape), media, Request(RECEIVED_AT_US, Limits())) is None
    assert _vouched(json.dumps([an_event(type="ad")]).encode(), "json", Request(RECEIVED_AT_US, Limits())) is None
