"""The ledger's side of `./gw truth`, on stories short enough to be told by hand."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from loadtests.expectation import Bounds, Views
from loadtests.ledger import Attempt, Entry, Ledger, identity
from loadtests.truth import evening
from loadtests.truth.hotness import Hotness, windows, wrong
from loadtests.truth.progress import Place, expected_progress
from loadtests.truth.seated import REGISTER, Seat, told
from loadtests.truth.verdict import Verdict
from loadtests.truth.viewers import streams_at, viewers_at, watches

NOW_S = 1_800_000_000
LEASE_US = 25_000_000
CONTENT = UUID(int=7)
PROFILE = UUID(int=8)


def a_ledger(*said: tuple[str, int], **more: Any) -> Ledger:
    """One session that says each event type so many seconds ago, acknowledged within 10 ms of happening."""
    session, entries = str(uuid4()), {}
    for sequence, (kind, ago_s) in enumerate(said):
        at_us = (NOW_S - ago_s) * 1_000_000
        event: dict[str, Any] = {
            "event_id": str(uuid4()),
            "session_id": session,
            "content_id": str(CONTENT),
            "event_type": kind,
        }
        event |= {"sequence": sequence, "occurred_at": at_us // 1_000, "position": sequence * 10.5, "duration": 100}
        event |= {"profile_id": str(PROFILE), **more}
        entries[identity(event)] = Entry(event, [Attempt(at_us, at_us + 10_000, None, acknowledged=True)])
    return Ledger(entries)


@pytest.mark.parametrize(
    ("said", "watches_still"),
    [
        ([("play", 30), ("heartbeat", 20)], 1),
        ([("play", 30), ("heartbeat", 26)], 0),
        ([("play", 20), ("stop", 10)], 0),
        ([("play", 20), ("completed", 10), ("heartbeat", 5)], 0),
        ([("play", 20), ("pause", 10), ("heartbeat", 5)], 1),
        ([("play", 60), ("pause", 30), ("heartbeat", 5)], 0),
        ([("play", 60), ("stop", 30), ("play", 5)], 1),
        ([("error", 5)], 0),
    ],
)
def test_who_watches_is_said_by_the_last_word_and_the_last_sign_of_life(
    said: list[tuple[str, int]], watches_still: int
) -> None:
    found = viewers_at(watches(a_ledger(*said), LEASE_US), NOW_S * 1_000_000)
    assert found.get(CONTENT, Bounds(0, 0)) == Bounds(watches_still, watches_still)


def test_a_profiles_streams_are_its_sessions_that_watch() -> None:
    first, second = a_ledger(("play", 5)), a_ledger(("play", 20), ("stop", 3))
    found = watches(Ledger(first.entries | second.entries), LEASE_US)
    (session,) = {UUID(entry.event["session_id"]) for entry in first.entries.values()}
    nobody, mine = frozenset[UUID](), frozenset({session})
    assert streams_at(found, PROFILE, NOW_S * 1_000_000) == (mine, mine)
    assert streams_at(found, UUID(int=9), NOW_S * 1_000_000) == (nobody, nobody)
    assert streams_at(found, PROFILE, NOW_S * 1_000_000 + LEASE_US - 5_000_500) == (nobody, mine)


def test_of_a_wrong_number_it_is_told_who_is_seated_and_what_its_ledger_says() -> None:
    gone, here = a_ledger(("play", 30), ("stop", 9)), a_ledger(("play", 5))
    ledger = Ledger(gone.entries | here.entries)
    (left,) = {UUID(entry.event["session_id"]) for entry in gone.entries.values()}
    at_us = NOW_S * 1_000_000
    remembered = b"\x01" + REGISTER.pack(0, 1, at_us - 3e6, CONTENT.bytes, at_us - 3e6)
    there = {CONTENT: {left: Seat(at_us + 22_000_000, remembered), UUID(int=1): Seat(at_us - 1, b"")}}
    text = told(ledger, watches(ledger, LEASE_US), there, CONTENT, at_us)
    assert f"session {left}: seated until +22.000 s" in text
    assert "remembered: state by sequence: play 0, -3.000 s, lease from -3.000 s" in text
    assert "1 stop: -9.000 s to -9.000 s; acknowledged, tries -9.000 s to -8.990 s" in text
    assert text.count("not seated") == 1  # who should be
    assert str(UUID(int=1)) not in text  # its lease is over


def test_a_test_is_in_no_number() -> None:
    ledger = a_ledger(("play", 5), test=True)
    assert not watches(ledger, LEASE_US)
    assert not expected_progress(ledger)


def test_the_newest_sign_is_where_a_profile_is_and_95_percent_are_all() -> None:
    assert expected_progress(a_ledger(("play", 30), ("seek", 20), ("pause", 10))) == {
        (PROFILE, CONTENT): {Place(21, 100, completed=False)}
    }
    late = a_ledger(("play", 30), position=95)
    assert expected_progress(late) == {(PROFILE, CONTENT): {Place(95, 100, completed=True)}}


def test_windows_hold_whole_hours_and_the_running_one() -> None:
    at = {hour: Bounds(1, 1) for hour in (0, -1, -23, -24, -167, -168, -719, -720, 1)}
    views = Views({(CONTENT, 1_000 + hour): one for hour, one in at.items()}, {})
    assert windows(views, CONTENT, 1_000) == (Bounds(3, 3), Bounds(5, 5), Bounds(7, 7))


def test_a_hotness_is_wrong_by_its_views_its_score_and_its_tier() -> None:
    exactly = [(Bounds(10, 10), Bounds(20, 20), Bounds(30, 30))]
    right = Hotness((10, 20, 30), 17 / 10_000, 3, 3_600)
    assert wrong(right, exactly, 10_000) == ""
    assert "views" in wrong(right._replace(views=(10, 20, 31)), exactly, 10_000)
    assert "score" in wrong(right._replace(score=0.5), exactly, 10_000)
    assert "tier" in wrong(right._replace(tier=1), exactly, 10_000)


def test_a_verdict_without_a_number_does_not_hold_nor_one_with_a_wrong_one() -> None:
    verdict, wrong_one = Verdict(), Verdict()
    for one in (verdict, wrong_one):
        one.number("viewers", "all", 3, Bounds(3, 3))
    wrong_one.number("viewers", "all", 4, Bounds(3, 3))
    assert (verdict.holds, wrong_one.holds) == (True, False)
    assert "all: 4, expected 3 to 3" in wrong_one.text()


def test_an_evening_crosses_midnights_and_is_the_same_for_the_same_seed_and_moment() -> None:
    now_ms = NOW_S * 1_000
    told = list(evening.past(5, 300, now_ms))
    assert told == list(evening.past(5, 300, now_ms))
    cut = evening.requests(5, told)
    assert sum(len(request.events) for request in cut) == sum(len(one.steps) for one in told)
    days = {step.due_ms // 86_400_000 for one in told for step in one.steps}
    assert len(days) >= 2
    assert {request.needs_sent_at for request in cut} == {True, False}
