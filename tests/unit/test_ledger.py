"""The crowd's ledger believes answers alone, and its comparison finds whatever a store does wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from loadtests.expectation import HOUR_US, INTEGER_COLUMNS, TEXT_COLUMNS, UUID_COLUMNS, Bounds, expected_views
from loadtests.ledger import EPOCH, Ledger, LedgerFile, Verdict, epoch_us, identity, verdict
from loadtests.reconcile import Report, compare_rows, compare_views, own_faults
from loadtests.viewing import viewing

NOW_US = 1_795_000_000 * 1_000_000
MINUTE_US = 60_000_000
CONTENT = "6b2f0f0e-7d0f-4f0e-9a55-0000000000c1"
SESSION = "6b2f0f0e-7d0f-4f0e-9a55-0000000000a1"
HOUR = NOW_US // HOUR_US

Row = dict[str, Any]
Write = Callable[..., int]


def an_event(**changes: object) -> dict[str, Any]:
    """A valid event with a new id; a change to None leaves the field out."""
    event = {
        "event_id": str(uuid4()),
        "event_type": "play",
        "content_id": CONTENT,
        "session_id": SESSION,
        "sequence": 1,
        "occurred_at": NOW_US // 1000,
        "position": 12.7,
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def row_of(event: dict[str, Any], *, received_us: int = NOW_US + 1000, sent_at_us: int | None = None) -> Row:
    """The row that a right store makes of an event under a sane clock."""
    at = {
        name: None if us is None else EPOCH + timedelta(microseconds=us)
        for name, us in (
            ("occurred_at", epoch_us(event["occurred_at"])),
            ("received_at", received_us),
            ("sent_at", sent_at_us),
        )
    }
    return {
        **{name: event.get(name) for name in TEXT_COLUMNS},
        **{name: math.floor(event[name]) if name in event else None for name in INTEGER_COLUMNS},
        **{name: UUID(event[name]) if name in event else None for name in UUID_COLUMNS},
        **at,
        "event_id": UUID(event["event_id"]) if "event_id" in event else uuid4(),
        "test": event.get("test", False),
        "metadata": orjson.dumps(event["metadata"]).decode() if "metadata" in event else None,
    }


@pytest.fixture
def file(tmp_path: Path) -> LedgerFile:
    return LedgerFile(tmp_path / "a.ledger")


def read(file_or_directory: Path) -> Ledger:
    return Ledger.read(sorted(file_or_directory.glob("*.ledger")))


def answered(
    file: LedgerFile,
    events: list[dict[str, Any]],
    *,
    status: int = 200,
    said: Verdict | None = None,
    sent_at_us: int | None = None,
    at_us: int = NOW_US,
) -> int:
    number = file.post(events)
    file.attempt(number, at_us, sent_at_us)
    file.answer(number, at_us + 2000, status, said or Verdict())
    return number


def report_of(ledger: Ledger, rows: list[Row]) -> Report:
    report = Report()
    compare_rows(ledger, rows, report)
    return report


# What an answer says


def test_200_takes_all_but_the_indices_it_refuses() -> None:
    answer = {"accepted": 1, "duplicates": 1, "rejected": 1, "errors": [{"index": 2, "code": "too_long"}]}
    assert verdict(200, orjson.dumps(answer), 3) == Verdict(refused=(2,))


def test_204_takes_all() -> None:
    assert verdict(204, b"", 3) == Verdict()


def test_a_400_with_counts_refuses_each_and_one_without_refuses_the_whole_body() -> None:
    answer = {"accepted": 0, "duplicates": 0, "rejected": 1, "errors": [{"index": 0}]}
    assert verdict(400, orjson.dumps(answer), 1) == Verdict(refused=(0,))
    assert verdict(400, b'{"error":"invalid_json","message":"","offset":3}', 2) == Verdict(refused=(0, 1))


def test_refusals_beyond_the_first_hundred_are_known_by_number_only() -> None:
    answer = {"accepted": 0, "duplicates": 0, "rejected": 103, "errors": [{"index": i} for i in range(100)]}
    assert verdict(400, orjson.dumps(answer), 103).unlisted == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'{"ok":true}',
        b'{"accepted":1,"duplicates":0,"rejected":0}',
        b'{"accepted":2,"duplicates":0,"rejected":0,"errors":[{"index":1}]}',
        b'{"accepted":1,"duplicates":0,"rejected":1,"errors":[{"index":2}]}',
        b'{"accepted":1,"duplicates":0,"rejected":1}',
    ],
)
def test_an_answer_that_contradicts_itself_is_no_promise(answer: bytes) -> None:
    assert verdict(200, answer, 2).odd


def test_a_500_is_a_fault_and_a_503_is_none(file: LedgerFile, tmp_path: Path) -> None:
    answered(file, [an_event()], status=503)
    assert own_faults(read(tmp_path)) == []
    answered(file, [an_event()], status=500)
    assert own_faults(read(tmp_path)) == ["1 answers of 500"]


# What the ledger knows


def test_only_what_an_answer_took_is_acknowledged(file: LedgerFile, tmp_path: Path) -> None:
    taken, refused, unheard, silent = (an_event() for _ in range(4))
    answered(file, [taken, refused], said=Verdict(refused=(1,)))
    answered(file, [unheard], status=503)
    number = file.post([silent])
    file.attempt(number, NOW_US, None)
    file.lost(number, NOW_US, "reset")
    ledger = read(tmp_path)
    acknowledged = [entry.event for entry in ledger.entries.values() if entry.acknowledged]
    assert acknowledged == [taken]
    assert [entry.event for entry in ledger.unanswered()] == [unheard, silent]
    assert ledger.statuses == {200: 1, 503: 1}
    assert ledger.lost == 1


def test_a_resend_is_the_same_event_whoever_writes_it_down(tmp_path: Path) -> None:
    event = an_event()
    first, second = LedgerFile(tmp_path / "a.ledger"), LedgerFile(tmp_path / "b.ledger")
    answered(first, [event], status=503)
    answered(second, [event])
    ledger = read(tmp_path)
    assert len(ledger.entries) == 1
    assert ledger.acknowledged_rows() == 1


def test_a_line_cut_short_is_left_out_and_its_post_may_be_kept(file: LedgerFile, tmp_path: Path) -> None:
    answered(file, [an_event()])
    path = tmp_path / "a.ledger"
    whole = path.read_bytes()
    last_line = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last_line, len(whole)):
        path.write_bytes(whole[:cut])
        ledger = read(tmp_path)
        assert ledger.acknowledged_rows() == 0
        assert len(ledger.unanswered()) == 1


def test_an_answer_with_unlisted_refusals_promises_nothing(file: LedgerFile, tmp_path: Path) -> None:
    answered(file, [an_event(), an_event()], said=Verdict(unlisted=1))
    assert read(tmp_path).acknowledged_rows() == 0


def test_a_heartbeat_is_acknowledged_and_is_no_row(file: LedgerFile, tmp_path: Path) -> None:
    beat = an_event(event_type="heartbeat")
    answered(file, [beat])
    ledger = read(tmp_path)
    assert ledger.entries[identity(beat)].acknowledged
    assert ledger.acknowledged_rows() == 0
    assert report_of(ledger, [row_of(beat)]).foreign


# The ledger against rows


def test_rows_as_they_were_sent_are_equal(file: LedgerFile, tmp_path: Path) -> None:
    events = [
        an_event(metadata={"a": [1, 2.5, "ü"]}, country="DE", test=True),
        an_event(event_id=None, occurred_at="2026-11-18T06:13:20.123456+05:30"),
        an_event(event_type="seek", position=None, sequence=None),
    ]
    answered(file, events)
    report = report_of(read(tmp_path), [row_of(event) for event in events])
    assert report.equal, report.text()


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_crowd_stored_rightly_is_equal_and_one_row_less_is_named(seed: int, tmp_path: Path) -> None:
    file = LedgerFile(tmp_path / "a.ledger")
    stored: dict[Any, Row] = {}
    for index in range(40):
        told = viewing(seed, index, NOW_US // 1000)
        events = [step.event for step in told.steps if step.event["bitrate"] < 2**31 and told.skew_ms == 0]
        answered(file, events)
        stored |= {identity(e): row_of(e) for e in events if e["event_type"] != "heartbeat"}
    ledger = read(tmp_path)
    assert report_of(ledger, list(stored.values())).equal
    lost = next(iter(stored))
    report = report_of(ledger, [row for key, row in stored.items() if key != lost])
    assert report.missing == [lost]
    assert not report.equal


def test_a_row_twice_a_row_too_many_and_a_refused_row_are_found(file: LedgerFile, tmp_path: Path) -> None:
    twice, stranger, refused = an_event(), an_event(), an_event()
    answered(file, [twice, refused], said=Verdict(refused=(1,)))
    report = report_of(read(tmp_path), [row_of(twice), row_of(twice), row_of(stranger), row_of(refused)])
    assert report.doubled == [identity(twice)]
    assert [row[0] for row in report.foreign] == [stranger["event_id"], refused["event_id"]]


def test_what_was_never_answered_may_be_stored_or_not(file: LedgerFile, tmp_path: Path) -> None:
    event = an_event()
    answered(file, [event], status=503)
    assert report_of(read(tmp_path), []).equal
    assert report_of(read(tmp_path), [row_of(event)]).equal


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("position", 13),
        ("bitrate", 1),
        ("test", True),
        ("country", "DE"),
        ("profile_id", uuid4()),
        ("content_id", uuid4()),
        ("metadata", "{}"),
        ("event_type", "pause"),
        ("occurred_at", EPOCH + timedelta(microseconds=NOW_US + 1)),
        ("received_at", EPOCH + timedelta(microseconds=NOW_US - 1)),
        ("sent_at", EPOCH + timedelta(microseconds=NOW_US)),
    ],
)
def test_every_altered_column_is_named(column: str, value: object, file: LedgerFile, tmp_path: Path) -> None:
    event = an_event()
    answered(file, [event])
    report = report_of(read(tmp_path), [{**row_of(event), column: value}])
    assert [(key, list(different)) for key, different in report.altered] == [(identity(event), [column])]


def test_a_clock_of_1970_is_stored_at_the_first_receipt_and_nowhere_else(file: LedgerFile, tmp_path: Path) -> None:
    event = an_event(occurred_at=5_000)
    answered(file, [event], sent_at_us=65_000_000)
    row = {**row_of(event, sent_at_us=65_000_000), "occurred_at": EPOCH + timedelta(microseconds=NOW_US + 1000)}
    assert report_of(read(tmp_path), [row]).equal
    raw = {**row, "occurred_at": EPOCH + timedelta(microseconds=5_000_000)}
    assert "occurred_at" in report_of(read(tmp_path), [raw]).altered[0][1]


def test_a_clock_twenty_minutes_ahead_is_stored_as_it_was_sent(file: LedgerFile, tmp_path: Path) -> None:
    ahead_us = NOW_US + 20 * MINUTE_US
    event = an_event(occurred_at=ahead_us // 1000)
    answered(file, [event], sent_at_us=ahead_us)
    assert report_of(read(tmp_path), [row_of(event, sent_at_us=ahead_us)]).equal


# The ledger against views


def views_of(tmp_path: Path) -> dict[tuple[UUID, int], Bounds]:
    return dict(expected_views(read(tmp_path)).by_hour)


def test_a_view_is_counted_once_in_the_hour_of_its_earliest_play(file: LedgerFile, tmp_path: Path) -> None:
    resumed, earlier = an_event(), an_event(occurred_at=(NOW_US - HOUR_US) // 1000)
    answered(file, [resumed])
    answered(file, [earlier, an_event(event_type="pause")])
    assert views_of(tmp_path) == {(UUID(CONTENT), HOUR - 1): Bounds(1, 1)}


def test_sessions_count_apart_and_test_events_not_at_all(file: LedgerFile, tmp_path: Path) -> None:
    answered(file, [an_event(), an_event(session_id=str(uuid4())), an_event(session_id=str(uuid4()), test=True)])
    assert views_of(tmp_path) == {(UUID(CONTENT), HOUR): Bounds(2, 2)}


def test_a_refused_play_is_no_view_and_an_unanswered_one_may_be(file: LedgerFile, tmp_path: Path) -> None:
    answered(file, [an_event()], status=400, said=Verdict(refused=(0,)))
    answered(file, [an_event(session_id=str(uuid4()))], status=503)
    assert views_of(tmp_path) == {(UUID(CONTENT), HOUR): Bounds(0, 1)}


def test_a_broken_clock_is_counted_by_the_time_of_receipt(file: LedgerFile, tmp_path: Path) -> None:
    answered(file, [an_event(occurred_at=5_000)], sent_at_us=6_000_000)
    assert views_of(tmp_path) == {(UUID(CONTENT), (NOW_US - 1_000_000) // HOUR_US): Bounds(1, 1)}


def test_a_receipt_about_the_full_hour_may_count_in_either_but_only_once(file: LedgerFile, tmp_path: Path) -> None:
    full_hour_us = (HOUR + 1) * HOUR_US
    answered(file, [an_event(occurred_at=0)], sent_at_us=0, at_us=full_hour_us - 1000)
    expected = expected_views(read(tmp_path))
    content = UUID(CONTENT)
    assert expected.by_hour == {(content, HOUR): Bounds(0, 1), (content, HOUR + 1): Bounds(0, 1)}
    for counted, equal in (
        ({(content, HOUR): 1}, True),
        ({(content, HOUR + 1): 1}, True),
        ({(content, HOUR): 1, (content, HOUR + 1): 1}, False),
        ({}, False),
    ):
        report = Report()
        compare_views(expected, counted, report)
        assert report.equal == equal


def test_views_that_nobody_had_and_views_that_are_missing_are_named(file: LedgerFile, tmp_path: Path) -> None:
    answered(file, [an_event()])
    expected = expected_views(read(tmp_path))
    for counted in ({}, {(UUID(CONTENT), HOUR): 2}, {(UUID(CONTENT), HOUR): 1, (uuid4(), HOUR): 1}):
        report = Report()
        compare_views(expected, counted, report)
        assert report.miscounted
