"""What is counted of a request, and how its rows are framed."""

import pytest

from config.limits import ERRORS_SHOWN_MAX
from ingest import codes
from ingest import tuple as copy
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL, MONTH_UNSETTLED, SCHEMA_PLAYBACK
from tests.builders import (
    SESSION_ID,
    a_body,
    a_time,
    an_event,
)
from tests.decoding import SURPLUS, decoded, rows

pytestmark = pytest.mark.usefixtures("each_core")

NOVEMBER_2026 = 2026 * 12 + 10


def test_of_repeats_within_a_request_the_first_is_accepted():
    event = an_event(position=1)
    batch = decoded(a_body([event, an_event(), event | {"position": 2}, event]))
    assert (batch.received, batch.accepted, batch.duplicates, batch.rejected) == (4, 2, 2, 0)
    assert [row.position_s for row in rows(batch)] == [1, 61]


def test_an_id_at_another_time_is_another_event():
    event = an_event()
    assert decoded(a_body([event, event | {"occurred_at": a_time(seconds=11)}])).accepted == 2


def test_a_refused_event_makes_no_repeat_of_the_next():
    event = an_event()
    batch = decoded(a_body([event | {"bitrate": -1}, event]))
    assert (batch.accepted, batch.duplicates, batch.rejected) == (1, 0, 1)


def test_a_heartbeat_never_displaces_a_row():
    event = an_event()
    assert decoded(a_body([event | {"event_type": "heartbeat"}, event])).duplicates == 0


def test_one_bad_event_harms_only_itself():
    events = [an_event() for _ in range(20)]
    events[3]["bitrate"] = -1
    batch = decoded(a_body(events))
    assert (batch.accepted, batch.rejected, batch.rejected_by_code) == (19, 1, {"out_of_range": 1})
    (error,) = batch.errors
    assert (error.index, error.id) == (3, events[3]["event_id"])
    assert (error.code, error.path) == ("out_of_range", "$.bitrate")
    assert "2147483647" in error.message


def test_all_refusals_are_counted_and_the_first_hundred_named():
    batch = decoded(a_body([an_event(test=1)] + [an_event(bitrate=-1) for _ in range(150)]))
    assert (batch.rejected, batch.rejected_by_code) == (151, {"invalid_type": 1, "out_of_range": 150})
    assert [error.index for error in batch.errors] == list(range(ERRORS_SHOWN_MAX))


@pytest.mark.parametrize("event_id, shown", [
    ("x" * 64, "x" * 64), ("x" * 65, None), (7, None), (None, None), ("a\0b", None), ("\ud800", None),
])  # fmt: skip
def test_a_refused_event_is_named_by_its_id_as_sent(event_id, shown):
    (error,) = decoded(a_body([an_event(event_id=event_id, event_type="zap")])).errors
    assert error.id == shown


@pytest.mark.parametrize("other", [an_event(), an_event(bitrate=1.5), an_event(metadata={"a": "\ud800"})])
def test_unknown_fields_are_ignored_and_counted_exactly(other):
    events = [an_event(foo=1, bar={"deep": [1]}), other, an_event(foo=None)]
    batch = decoded(a_body(events, surplus=1), dry_run=True)
    assert (batch.accepted, batch.unknown_fields, batch.unknown_names) == (
        3 - batch.rejected,
        4,
        ("bar", "foo", "surplus"),
    )
    assert decoded(a_body(events, surplus=1)).unknown_names == ()


def test_unknown_names_are_shown_short_printable_and_at_most_a_hundred():
    names = decoded(a_body([an_event(**{f"{number:03d}" + "\ud800" * 200: 1 for number in range(150)})]), dry_run=True)
    assert (names.unknown_fields, len(names.unknown_names)) == (150, 100)
    assert max(map(len, names.unknown_names)) == 100
    "".join(names.unknown_names).encode("ascii")


def test_a_request_is_one_frame():
    batch = decoded(a_body([an_event(), an_event(event_type="stop")]))
    (frame,) = batch.bodies
    assert frame[:4] == (KIND_PLAYBACK, 0, SCHEMA_PLAYBACK, NOVEMBER_2026)
    assert frame.rows_hash == sum(map(copy.row_hash, frame.tuples)) % 2**64


def test_heartbeats_are_signals():
    batch = decoded(a_body([an_event(event_type="heartbeat"), an_event(), an_event(event_type="heartbeat")]))
    assert [(frame.kind, frame.month, len(frame.tuples)) for frame in batch.bodies] == [
        (KIND_SIGNAL, MONTH_UNSETTLED, 2),
        (KIND_PLAYBACK, NOVEMBER_2026, 1),
    ]


def test_each_utc_month_is_a_frame_in_order_of_appearance():
    times = ["2026-11-01T00:30:00+01:00", "2026-11-01T00:00:00Z", "2026-10-31T23:59:59.999999Z", "2026-11-05T00:00:00Z"]
    batch = decoded(a_body([an_event(occurred_at=time) for time in times]))
    assert [(frame.month, len(frame.tuples)) for frame in batch.bodies] == [(NOVEMBER_2026 - 1, 2), (NOVEMBER_2026, 2)]


@SURPLUS
@pytest.mark.parametrize("header, own, stored", [
    ("DE", None, "DE"), ("DE", "FR", "FR"), ("T1", None, "T1"), (None, None, None), ("DEU", None, None),
    ("", None, None),
    ("\0\0", None, None), ("é1", None, None),
])  # fmt: skip
def test_the_header_stands_for_events_that_name_no_country(surplus, header, own, stored):
    (row,) = rows(decoded(a_body([an_event(country=own, **surplus)]), country=header))
    assert row.country == stored


def test_codes_keep_their_index_for_ever():
    """Append to this list; never change it."""
    assert [code.name for code in codes.CODES] == [
        "invalid_json", "empty_body", "too_deep", "too_many_events", "body_too_large", "corrupt_encoding",
        "unsupported_encoding", "missing_field", "invalid_type", "invalid_text", "too_long", "too_short",
        "out_of_range",
        "invalid_uuid", "invalid_time", "unknown_event_type", "unsupported_type", "no_identity", "too_old", "too_new",
        "too_many_values", "unknown_event", "cmcd_no_session", "cmcd_unreadable", "cmcd_version",
    ]  # fmt: skip


def test_a_derived_id_depends_on_the_owner():
    body = a_body([an_event(event_id=None)])
    ids = {rows(decoded(body, owner=owner))[0].event_id for owner in (b"", b"a", b"b")}
    assert len(ids) == 3
    assert SESSION_ID not in map(str, ids)
