"""An event that cannot be taken is named, with its code and its field, and nothing of it is kept."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.acceptance.door import NDJSON, an_event, assert_nothing_stored, post, text_of
from tests.acceptance.gateway_process import Gateway

pytestmark = pytest.mark.usefixtures("nothing_traced")

BAD_FIELDS: Final = [
    ({"event_type": None}, "missing_field", "$.event_type"),
    ({"content_id": None}, "missing_field", "$.content_id"),
    ({"session_id": None}, "missing_field", "$.session_id"),
    ({"occurred_at": None}, "missing_field", "$.occurred_at"),
    ({"event_type": "rewind"}, "unknown_event_type", "$.event_type"),
    ({"event_type": 7}, "invalid_type", "$.event_type"),
    ({"event_id": "7"}, "invalid_uuid", "$.event_id"),
    ({"content_id": "tt0111161"}, "invalid_uuid", "$.content_id"),
    ({"session_id": "z" * 36}, "invalid_uuid", "$.session_id"),
    ({"profile_id": ""}, "invalid_uuid", "$.profile_id"),
    ({"event_id": None, "sequence": None, "position": None}, "no_identity", "$"),
    ({"bitrate": 2**31}, "out_of_range", "$.bitrate"),
    ({"bitrate": -1}, "out_of_range", "$.bitrate"),
    ({"bitrate": 1.5}, "invalid_type", "$.bitrate"),
    ({"bitrate": "1200"}, "invalid_type", "$.bitrate"),
    ({"bitrate": True}, "invalid_type", "$.bitrate"),
    ({"bitrate": 10**400}, "out_of_range", "$.bitrate"),
    ({"position": -1}, "out_of_range", "$.position"),
    ({"position": 2**31}, "out_of_range", "$.position"),
    ({"position": [1]}, "invalid_type", "$.position"),
    ({"duration": 1e300}, "out_of_range", "$.duration"),
    ({"buffer_duration": 2**63}, "out_of_range", "$.buffer_duration"),
    ({"startup_ms": 1795369265869}, "out_of_range", "$.startup_ms"),
    ({"sequence": 2**53}, "out_of_range", "$.sequence"),
    ({"sequence": 2.5}, "invalid_type", "$.sequence"),
    ({"test": "yes"}, "invalid_type", "$.test"),
    ({"quality": "x" * 21}, "too_long", "$.quality"),
    ({"device_type": "x" * 51}, "too_long", "$.device_type"),
    ({"cdn_edge": "ü" * 101}, "too_long", "$.cdn_edge"),
    ({"error_code": "x" * 100_000}, "too_long", "$.error_code"),
    ({"country": "DEU"}, "too_long", "$.country"),
    ({"player": "a\0b"}, "invalid_text", "$.player"),
    ({"platform": "\ud800"}, "invalid_text", "$.platform"),
    ({"metadata": {"a": "\0"}}, "invalid_text", "$.metadata"),
    ({"metadata": {"\udfff": 1}}, "invalid_text", "$.metadata"),
    ({"metadata": [1]}, "invalid_type", "$.metadata"),
    ({"metadata": {"a": "x" * 2048}}, "too_long", "$.metadata"),
    ({"occurred_at": "0001-01-01T00:00:00Z"}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": "9999-12-31T23:59:59Z"}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": "0000-01-01T00:00:00Z"}, "", "$.occurred_at"),
    ({"occurred_at": 10**15}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": -(10**15)}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": 10**400}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": "yesterday"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": "2026-11-22T10:00:00"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": "2026-02-30T10:00:00Z"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": "2026-11-22T10:00:60Z"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": {}}, "invalid_type", "$.occurred_at"),
    ({"occurred_at": "2001-01-01T00:00:00Z"}, "too_old", "$.occurred_at"),
    ({"occurred_at": "2038-01-19T03:14:07Z"}, "too_new", "$.occurred_at"),
    ({"type": "ad", "impression_id": str(uuid4()), "event": "begin"}, "unknown_event", "$.event"),
    ({"type": "ad", "impression_id": "[IMPRESSION]", "event": "start"}, "invalid_uuid", "$.impression_id"),
    ({"type": "signal"}, "unsupported_type", "$.type"),
]


@pytest.mark.parametrize(("changes", "code", "path"), BAD_FIELDS)
def test_a_bad_field_is_named(changes: dict[str, Any], code: str, path: str, gateway: Gateway) -> None:
    event = an_event(**changes)
    answer = post(gateway, text_of(event))
    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert error["index"] == 0
    assert code in ("", error["code"]), error
    assert error["path"].startswith(path)
    assert error["message"]
    assert (answer.body["accepted"], answer.body["rejected"]) == (0, 1)


def test_the_answer_names_the_event_and_only_the_first_hundred(gateway: Gateway) -> None:
    events = [an_event(bitrate=-1) for _ in range(150)]
    answer = post(gateway, json.dumps({"events": events}).encode())
    assert answer.status == 400
    assert answer.body["rejected"] == 150
    assert [error["index"] for error in answer.body["errors"]] == list(range(100))
    assert [error["id"] for error in answer.body["errors"]] == [event["event_id"] for event in events[:100]]


def test_in_ndjson_a_broken_line_is_that_lines_error(gateway: Gateway) -> None:
    answer = post(gateway, b"{\n" + text_of(an_event(bitrate=-1)) + b"\nnonsense\n", NDJSON)
    assert answer.status == 400
    assert [(error["index"], error["code"]) for error in answer.body["errors"]] == [
        (0, "invalid_json"),
        (1, "out_of_range"),
        (2, "invalid_json"),
    ]


@pytest.mark.parametrize("sent_at", ["yesterday", [], 10**400, "0001-01-01T00:00:00Z"])
def test_a_bad_sent_at_of_the_envelope_refuses_the_request(sent_at: Any, gateway: Gateway) -> None:
    answer = post(gateway, json.dumps({"sent_at": sent_at, "events": [an_event()]}).encode())
    assert answer.status == 400
    assert answer.body["error"] in {"invalid_time", "invalid_type", "out_of_range"}


def test_after_all_of_it_the_stores_are_empty(gateway: Gateway) -> None:
    assert_nothing_stored(gateway)
