"""Coalescing: where a batch of frames says that profiles are in their contents."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.batch import KIND_AD
from ingest.tuple import POSTGRES_EPOCH_US
from storage.redis.sign import UnknownSchema
from storage.watch import ENTRY, NEVER, gathered
from tests.signs import DAY, HOUR, NOW, SECOND, Sign, a_frame, a_sign, a_slice, content_of, frames, profile_of, row
from tests.watched import Watched, expected_history

pytestmark = pytest.mark.usefixtures("each_core")

SIGNS = st.builds(
    a_sign,
    kind=st.sampled_from(["play", "pause", "heartbeat", "stop", "completed", "seek", "error"]),
    ago=st.sampled_from([0, 1, SECOND, HOUR, -DAY]),
    session=st.integers(1, 3),
    content=st.integers(1, 2),
    profile=st.sampled_from([None, 1, 1, 1, 2]),
    sequence=st.none() | st.integers(0, 3),
    sent_us=st.none() | st.sampled_from([NOW, NOW + 301 * SECOND, 0]),
    test=st.sampled_from([False, False, False, True]),
    position_s=st.none() | st.sampled_from([0, 7, 95, 100, 2**31 - 1]),
    duration_s=st.none() | st.sampled_from([0, 100, 101, 2**31 - 1]),
)


def history(*signs: Sign, size: int = 20) -> dict[tuple[int, int], Watched]:
    """As the table has it, of entries by the numbers of their profile and content."""
    found = {}
    for key, watched_us, place_us, _, position_s, at_end, length_us, duration_s in ENTRY.iter_unpack(
        gathered([a_slice(frames(signs, size=size))])
    ):
        assert (place_us == NEVER) <= (position_s == 0) and (length_us == NEVER) == (duration_s == 0)
        completed = bool(at_end) or (duration_s > 0 and 20 * position_s >= 19 * duration_s)
        number = int.from_bytes(key[14:16], "big"), int.from_bytes(key[30:], "big")
        assert key == profile_of(number[0]).bytes + content_of(number[1]).bytes
        found[number] = Watched(position_s, duration_s, watched_us + POSTGRES_EPOCH_US, completed)
    return found


def position(*signs: Sign) -> int:
    """Of the one profile and content that they are about."""
    (only,) = history(*signs).values()
    return only.position_s


def at(position_s: int | None, ago: int = SECOND, kind: str = "heartbeat", **changes: object) -> Sign:
    return a_sign(kind, ago, profile=1, position_s=position_s, **changes)


def test_a_request_of_one_player_is_one_entry():
    signs = [at(second, (30 - second) * SECOND, sequence=second) for second in range(20)]
    assert history(*signs) == {(1, 1): Watched(19, 0, NOW - 11 * SECOND, completed=False)}


@settings(max_examples=300, deadline=None)
@given(st.lists(SIGNS, min_size=1, max_size=30), st.integers(1, 7), st.randoms(use_true_random=False))
def test_no_order_repetition_or_division_gives_another_history(signs, size, chance):
    expected = expected_history(signs)
    assert history(*signs, size=size) == expected
    again = signs + chance.sample(signs, len(signs) // 2)
    chance.shuffle(again)
    assert history(*again) == expected


def test_the_latest_event_wins_and_not_the_farthest_nor_the_last_to_arrive():
    assert position(at(900, 5 * SECOND), at(20, SECOND), at(600, HOUR)) == 20


def test_of_one_time_the_sequence_decides():
    for order in ([1, 2], [2, 1]):
        assert position(*(at(100 * number, SECOND, sequence=number) for number in order)) == 200


def test_a_player_without_a_profile_test_traffic_and_errors_have_no_history():
    signs = at(5, sequence=1), at(6, test=True), replace(at(7), profile=None), at(0, 0, kind="error")
    assert history(*signs) == history(signs[0])
    assert history(*signs[1:]) == {}


@pytest.mark.parametrize(("position_s", "completed"), [(94, False), (95, True), (100, True), (101, True)])
def test_it_is_completed_from_95_percent_on(position_s, completed):
    assert history(at(position_s, duration_s=100))[1, 1].completed == completed


def test_a_duration_is_known_from_another_event_and_the_newest_counts():
    play = at(0, HOUR, kind="play", duration_s=100)
    assert history(play, at(95)) == {(1, 1): Watched(95, 100, NOW - SECOND, completed=True)}
    assert history(play, at(95, duration_s=0)) == history(play, at(95))
    assert history(play, at(95, duration_s=200)) == {(1, 1): Watched(95, 200, NOW - SECOND, completed=False)}


def test_who_completes_stands_at_the_end_whatever_else_is_said():
    completed = at(None, 2 * SECOND, kind="completed")
    assert history(completed)[1, 1][:2] == (0, 0) and history(completed)[1, 1].completed
    assert history(replace(completed, duration_s=100))[1, 1][:2] == (100, 100)
    measured = replace(completed, position_s=90)
    assert history(measured, at(90, kind="stop")) == {(1, 1): Watched(90, 90, NOW - SECOND, completed=True)}


def test_who_watches_again_has_not_completed():
    again = at(3, SECOND, kind="play")
    for signs in ([at(100, HOUR, kind="completed"), again], [again, at(100, HOUR, kind="completed")]):
        assert history(*signs) == {(1, 1): Watched(3, 100, NOW - SECOND, completed=False)}


def test_a_sign_without_a_position_is_one_of_watching():
    assert history(at(None)) == {(1, 1): Watched(0, 0, NOW - SECOND, completed=False)}
    assert history(at(40, HOUR), at(None)) == {(1, 1): Watched(40, 0, NOW - SECOND, completed=False)}


def test_a_broken_clock_is_counted_back_from_the_receipt():
    astray = at(1, occurred_us=NOW + 400 * DAY, sent_us=NOW + 400 * DAY + HOUR, received_us=NOW)
    assert history(astray)[1, 1].watched_us == NOW - HOUR
    assert position(astray, at(2, 2 * HOUR)) == 1 and position(astray, at(2, HOUR // 2)) == 2


def test_a_clock_that_is_ahead_wins_only_until_its_receipt():
    ahead = at(1, occurred_us=NOW + DAY, received_us=NOW - HOUR)
    assert history(ahead)[1, 1].watched_us == NOW - HOUR
    assert position(ahead, at(2, HOUR // 2)) == 2
    later = replace(ahead, position_s=3, occurred_us=NOW + DAY + SECOND)
    assert position(ahead, later) == position(later, ahead) == 3


def test_frames_of_a_newer_gateway_are_not_read_and_those_of_ads_are_passed_over():
    assert gathered([a_slice([a_frame([row(at(1))], 0, kind=KIND_AD, schema=7)])]) == b""
    with pytest.raises(UnknownSchema):
        gathered([a_slice([a_frame([row(at(1))], 0), a_frame([row(at(1))], 1, schema=2)])])


@given(st.integers(0, 2**32))
def test_many_players_are_as_many_entries(seed):
    chance = random.Random(seed)
    signs = [at(chance.randrange(9), chance.randrange(99), content=chance.randrange(5)) for _ in range(60)]
    signs = [replace(sign, profile=chance.randrange(5)) for sign in signs]
    assert history(*signs) == expected_history(signs)
