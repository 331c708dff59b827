"""A live final as its viewers tell it: one content, everybody pauses at once, comes back and is gone in a minute."""

from __future__ import annotations

from collections import Counter

import pytest

from loadtests.ledger import identity
from loadtests.live_viewing import live_content, live_viewing
from loadtests.models import Match
from loadtests.viewing import HEARTBEAT_S, Viewing

BEGUN_MS = 1_795_000_000_000
MATCH = Match(300)
VIEWERS = 400
LOST_MOST = 0.02  # some beacons never leave
PACE = 5


def told_by(index: int, came_s: float, pace: float = PACE) -> Viewing:
    return live_viewing(7, index, BEGUN_MS + int(came_s * 1000), MATCH, BEGUN_MS, pace)


@pytest.fixture(scope="module")
def crowd() -> list[Viewing]:
    """Everybody who comes before the kick-off."""
    return [told_by(index, MATCH.kick_off_s * index / VIEWERS) for index in range(VIEWERS)]


def seconds(told: Viewing, *event_types: str) -> list[float]:
    """When these were said for the first time, in seconds of the run."""
    first = {identity(step.event): step for step in reversed(told.steps)}
    at_s = [(step.due_ms - BEGUN_MS) / 1000 for step in first.values() if step.event["event_type"] in event_types]
    return sorted(at_s)


def test_the_same_arguments_tell_the_same_viewing() -> None:
    assert told_by(3, 2) == told_by(3, 2)
    assert {identity(step.event) for step in told_by(3, 2).steps}.isdisjoint(
        identity(step.event) for step in told_by(4, 2).steps
    )


def test_everybody_watches_one_live_content(crowd: list[Viewing]) -> None:
    content = live_content(7)
    assert {told.content_id for told in crowd} == {content.content_id}
    assert {step.event["content_id"] for told in crowd for step in told.steps} == {str(content.content_id)}
    assert not any("duration" in step.event for told in crowd for step in told.steps)
    assert live_content(8) != content


def test_everybody_pauses_within_a_second_of_half_time(crowd: list[Viewing]) -> None:
    pauses = [seconds(told, "pause") for told in crowd]
    assert sum(len(at_s) == 1 for at_s in pauses) >= VIEWERS * (1 - LOST_MOST)
    assert all(len(at_s) <= 1 for at_s in pauses)
    every = [at_s for told in pauses for at_s in told]
    assert MATCH.half_time_s <= min(every) <= max(every) <= MATCH.half_time_s + 1.001


def test_nobody_says_anything_while_it_pauses_and_almost_all_come_back(crowd: list[Viewing]) -> None:
    back = 0
    for told in crowd:
        pauses_s, plays_s = seconds(told, "pause"), seconds(told, "play")
        after_s = [at_s for at_s in plays_s if at_s > MATCH.half_time_s + 1]
        if pauses_s and after_s:
            back += 1
            assert not [
                at_s
                for at_s in seconds(told, "heartbeat", "buffering", "quality_change")
                if pauses_s[0] + 0.002 < at_s < after_s[0] - 0.002
            ]
    assert back >= VIEWERS * (1 - 2 * LOST_MOST)


def test_everybody_is_gone_within_a_minute_of_the_end_and_nobody_before(crowd: list[Viewing]) -> None:
    stops = [at_s for told in crowd for at_s in seconds(told, "stop")]
    assert VIEWERS * 0.9 <= len(stops) < VIEWERS  # some go without a word
    assert MATCH.end_s <= min(stops) <= max(stops) <= MATCH.end_s + 60
    last = [max(step.due_ms for step in told.steps) for told in crowd]
    resent_ms = 30_000 / PACE
    assert max(last) <= BEGUN_MS + MATCH.length_s * 1000 + resent_ms


def test_heartbeats_come_every_ten_seconds_of_film(crowd: list[Viewing]) -> None:
    beats = Counter(step.event["event_type"] for told in crowd for step in told.steps)["heartbeat"]
    watched_s = VIEWERS * (MATCH.end_s - MATCH.second_half_s + MATCH.half_time_s - MATCH.kick_off_s) * PACE
    assert 0.7 <= beats * HEARTBEAT_S / watched_s <= 1.5


def test_a_faster_film_moves_no_moment_of_the_match() -> None:
    for pace in (1, 20):
        (pause_s,) = seconds(told_by(1, 10, pace), "pause")
        assert MATCH.half_time_s <= pause_s <= MATCH.half_time_s + 1


def test_who_comes_late_misses_what_was_before() -> None:
    late = told_by(5, (MATCH.half_time_s + MATCH.second_half_s) / 2)
    assert not seconds(late, "pause")
    assert len(seconds(late, "play")) == 1
    assert not told_by(6, MATCH.end_s).steps
