"""Metadata, and names in an event."""

import json

import pytest

from ingest import tuple as copy
from tests.builders import (
    an_event,
)
from tests.decoding import as_json, refused, verdict_of_text

pytestmark = pytest.mark.usefixtures("each_core")


@pytest.mark.parametrize("value", ["{}", 5, True, [], [{}], ""])
def test_metadata_is_an_object(value):
    assert refused(metadata=value) == ("invalid_type", "$.metadata")


@pytest.mark.parametrize("sent, stored", [
    ("{}", "{}"), ('{ "a" : [ 1 , 2.50 ] }', '{"a":[1,2.5]}'), (r'{"\u0061":"\u00e9\/\n"}', '{"a":"é/\\n"}'),
    ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'), ('{"a":18446744073709551615}', '{"a":18446744073709551615}'),
    ('{"a":-9223372036854775808}', '{"a":-9223372036854775808}'), ('{"a":"1234567890123456789012"}',
    '{"a":"1234567890123456789012"}'),
    (r'{"a":"\\u0000"}', r'{"a":"\\u0000"}'), (r'{"a":"\ud83d\ude00"}', '{"a":"😀"}'), ('{"a":null,"b":false}',
    '{"a":null,"b":false}'),
    (r'{"a":"\u0001\u007f"}', '{"a":"\\u0001\x7f"}'),
])  # fmt: skip
def test_metadata_is_encoded_anew(sent, stored):
    assert verdict_of_text(as_json("metadata", sent)).metadata == stored


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "18446744073709551616", "-9223372036854775809", "1" * 5_00, "9" * 1_900]
)
def test_numbers_in_metadata_fit_64_bits(number):
    assert verdict_of_text(as_json("metadata", '{"a":[' + number + "]}")) == ("out_of_range", "$.metadata")


def test_metadata_is_measured_in_bytes_as_sent():
    def sized(length_bytes, filler):
        return '{"a":"' + filler * ((length_bytes - 8) // len(filler.encode())) + '"}'

    for filler in ("x", "é", " "):
        assert isinstance(verdict_of_text(as_json("metadata", sized(2_048, filler))), copy.Row)
        too_long = sized(2_048, filler)[:-1] + " }"
        assert verdict_of_text(as_json("metadata", too_long)) == ("too_long", "$.metadata")
    spaces = "{" + " " * 2_047 + "}"
    assert verdict_of_text(as_json("metadata", spaces)) == ("too_long", "$.metadata")
    assert verdict_of_text(as_json("metadata", "1" * 3_000)) == ("invalid_type", "$.metadata")


def test_of_doubled_names_the_last_stands():
    text = json.dumps(an_event())
    doubled = text[:-1] + ',"position":"x","position":9,"metadata":[],"metadata":{"a":1}}'
    row = verdict_of_text(doubled)
    assert (row.position_s, row.metadata) == (9, '{"a":1}')
    assert verdict_of_text(text[:-1] + ',"position":9,"position":"x"}') == ("invalid_type", "$.position")


def test_a_name_may_be_written_with_escapes():
    text = json.dumps(an_event(position=5)).replace('"position"', r'"\u0070osition"')
    assert verdict_of_text(text).position_s == 5
    assert verdict_of_text('{"\\u0065vents":[' + text + "]}").position_s == 5


def test_the_first_fault_in_the_order_of_the_table_is_named():
    assert refused(bitrate=-1, event_type="x", metadata=5) == ("unknown_event_type", "$.event_type")
    assert refused(bitrate=-1, metadata=5) == ("out_of_range", "$.bitrate")
    assert refused(occurred_at=0, metadata=5) == ("invalid_type", "$.metadata")  # time's window comes last
