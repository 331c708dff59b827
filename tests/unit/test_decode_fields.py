"""Each rule of the field table in `ingest.event`, as a sentence; times and metadata have files of their own."""

from uuid import UUID

import pytest

from ingest import tuple as copy
from ingest.decode import decode
from ingest.event import EVENT_TYPES, FIELD_NAMES
from ingest.identity import derived_event_id
from tests.builders import (
    CONTENT_ID,
    RECEIVED_AT_US,
    SESSION_ID,
    a_body,
    a_full_event,
    a_time,
    an_event,
)
from tests.decoding import as_json, refused, taken, verdict, verdict_of_text

pytestmark = pytest.mark.usefixtures("each_core")

TEXT_LENGTHS = {
    "quality": 20, "device_type": 50, "platform": 50, "cdn_edge": 100, "error_code": 50, "player": 100,
    "app_version": 50,
}  # fmt: skip
INTEGERS = ("bitrate", "buffer_duration", "startup_ms")
SECONDS = ("position", "duration")
UUIDS = ("event_id", "content_id", "session_id", "profile_id")
TEXTS = (*TEXT_LENGTHS, "country", "event_type", "type", *UUIDS, "occurred_at", "sent_at")
NUMBERS = (*INTEGERS, *SECONDS, "sequence")


def test_the_vocabulary_is_the_columns_without_the_receive_time():
    names = {column.name for column in copy.COLUMNS}
    assert names - {"received_at"} | {"type"} == FIELD_NAMES


@pytest.mark.parametrize("name", ["event_type", "content_id", "session_id", "occurred_at"])
def test_a_required_field_that_is_absent_or_null_is_missing(name):
    assert refused(**{name: None}) == ("missing_field", f"$.{name}")
    event = an_event()
    del event[name]
    assert verdict(event) == ("missing_field", f"$.{name}")


@pytest.mark.parametrize("name", sorted(FIELD_NAMES - {"event_type", "content_id", "session_id", "occurred_at"}))
def test_any_other_field_may_be_absent_or_null(name):
    event = a_full_event(**{name: None})
    row = verdict(event)
    del event[name]
    if name == "event_id":
        assert verdict(event).event_id == row.event_id
    else:
        assert verdict(event) == row


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, False, "5", "", {}, []])
def test_a_number_is_neither_truth_nor_text(name, value):
    assert refused(**{name: value}) == ("invalid_type", f"$.{name}")


@pytest.mark.parametrize("name", [*INTEGERS, "sequence"])
@pytest.mark.parametrize("text", ["1.5", "1.0", "5e0", "-0.0", "1e999"])
def test_an_integer_refuses_fractions_and_exponents(name, text):
    assert verdict_of_text(as_json(name, text)) == ("invalid_type", f"$.{name}")


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("text, seconds", [
    ("1.5", 1), ("1.999999", 1), ("5.0", 5), ("5e1", 50), ("-0.0", 0), ("-0", 0), ("0.1e-999", 0), ("2147483647.9",
    2**31 - 1),
])  # fmt: skip
def test_position_and_duration_round_down(name, text, seconds):
    assert getattr(verdict_of_text(as_json(name, text)), name + "_s") == seconds


@pytest.mark.parametrize(
    "name, value_max", [(name, 2**31 - 1) for name in (*INTEGERS, *SECONDS)] + [("sequence", 2**53 - 1)]
)
def test_a_number_is_within_its_column(name, value_max):
    assert value_max in taken(**{name: value_max})
    assert 0 in taken(**{name: 0})
    for value in (value_max + 1, -1, 2**64, -(2**63), 10**400, -(10**400), 10**4_999):
        text = as_json(name, "1" + "0" * 4_999 if value == 10**4_999 else str(value))
        assert verdict_of_text(text) == ("out_of_range", f"$.{name}")


@pytest.mark.parametrize("text", ["-0.5", "-1.0", "2147483648.0", "1e300", "1e999", "-1e999"])
def test_seconds_beyond_the_column_are_out_of_range(text):
    assert verdict_of_text(as_json("position", text)) == ("out_of_range", "$.position")


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [1.5, True, {}, ["x"]])
def test_a_text_is_nothing_else(name, value):
    assert refused(**{name: value}) == ("invalid_type", f"$.{name}")


@pytest.mark.parametrize("name", sorted({*TEXTS} - {"occurred_at", "sent_at"}))
def test_a_text_is_no_integer(name):
    assert refused(**{name: 5}) == ("invalid_type", f"$.{name}")


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("bad", [r'"a\u0000"', r'"\ud800"', r'"x\udc00\ud800y"', r'"\ud83d"'])
def test_nul_and_lone_surrogates_are_refused_in_every_text(name, bad):
    assert verdict_of_text(as_json(name, bad)) == ("invalid_text", f"$.{name}")


@pytest.mark.parametrize("bad", [
    r'{"a":"\u0000"}', r'{"\u0000":1}', r'{"a":[{"b":"x\u0000"}]}', r'{"a":"\ud800"}', r'{"\udc00":1}',
    r'{"a":["\ud83d\u0041"]}',
])  # fmt: skip
def test_nul_and_lone_surrogates_are_refused_in_metadata(bad):
    assert verdict_of_text(as_json("metadata", bad)) == ("invalid_text", "$.metadata")


@pytest.mark.parametrize("name, length", TEXT_LENGTHS.items())
def test_a_text_is_measured_in_characters_and_refused_when_too_long(name, length):
    for character in ("x", "é", "😀", '"', "\x7f"):
        assert getattr(taken(**{name: character * length}), name) == character * length
        assert refused(**{name: character * (length + 1)}) == ("too_long", f"$.{name}")


@pytest.mark.parametrize("name", TEXT_LENGTHS)
def test_values_beyond_the_schemas_lists_are_stored_as_sent(name):
    for value in ("1440p", "", " x ", "a\nb\t\x01"):
        assert getattr(taken(**{name: value}), name) == value


def test_a_country_has_two_characters():
    assert taken(country="DE").country == "DE"
    assert taken(country="éß").country == "éß"
    assert refused(country="DEU") == ("too_long", "$.country")
    assert refused(country="D") == refused(country="") == ("too_short", "$.country")


def test_event_types_are_a_closed_list():
    assert len(EVENT_TYPES) == 9
    for event_type in EVENT_TYPES:
        assert taken(event_type=event_type).event_type == event_type
    for event_type in ("Play", "play ", "", "x" * 1_000, "impression"):
        assert refused(event_type=event_type) == ("unknown_event_type", "$.event_type")


def test_an_event_is_of_a_known_type():
    assert taken(type="playback") and taken(type=None)
    for other in ("Ad", "Playback", "", "cmcd"):
        assert refused(type=other) == ("unsupported_type", "$.type")
    assert verdict({"type": "advert", "impression_id": 1}) == ("unsupported_type", "$.type")


@pytest.mark.parametrize("name", UUIDS)
def test_a_uuid_is_hexadecimal_in_groups_or_in_one(name):
    canonical = "9A0f11e0-1111-4222-8333-444455556666"
    for text in (canonical, canonical.upper(), canonical.lower(), canonical.replace("-", "")):
        assert getattr(taken(**{name: text}), name) == UUID(canonical)
    for text in (
        "", "x", canonical[:-1], canonical + "0", "{" + canonical + "}",
        "urn:uuid:" + canonical, canonical.replace("-", " "),
        canonical.replace("1", "١"), " " + canonical[1:], canonical[:-1] + "g", canonical.replace("-1", "1-", 1),
        canonical.replace("-", "")[:-1] + "-", canonical.replace("-", "")[:-2] + "  ",
        "-" * 36, " " * 32, canonical + "\n",
    ):  # fmt: skip
        assert refused(**{name: text}) == ("invalid_uuid", f"$.{name}")


@pytest.mark.parametrize("value", [0, 1, "true", "", {}])
def test_test_is_true_or_false(value):
    assert refused(test=value) == ("invalid_type", "$.test")
    assert (taken(test=True).test, taken(test=False).test, taken().test) == (True, False, False)


def test_without_an_event_id_sequence_or_position_makes_one():
    for changes in ({}, {"sequence": None}, {"position": None}, {"position": 61.9}):
        row = taken(event_id=None, **changes)
        session, content = UUID(SESSION_ID).bytes, UUID(CONTENT_ID).bytes
        made = derived_event_id(b"", session, row.sequence, "play", content, row.occurred_at_us, row.position_s)
        assert row.event_id.bytes == made
    assert refused(event_id=None, sequence=None, position=None) == ("no_identity", "$")


def test_a_derived_id_is_the_same_for_a_resend():
    event = an_event(event_id=None)
    resend = event | {"sent_at": a_time(seconds=2), "occurred_at": event["occurred_at"].replace("Z", "+00:00")}
    assert verdict(event).event_id == verdict(resend).event_id
    batch = decode(a_body([event, resend, event | {"bitrate": 1, "foo": 1}]), "json", RECEIVED_AT_US)
    assert (batch.accepted, batch.duplicates) == (1, 2)
