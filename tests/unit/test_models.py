"""The models of `./gw load` are curves: who watches when is told by the clock alone."""

from __future__ import annotations

import itertools

import pytest

from loadtests.models import DAY, MODELS, Match

USERS = 200
LENGTH_S = 500


def curve(name: str, users: int = USERS, length_s: int = LENGTH_S) -> list[int]:
    """How many watch, second by second."""
    counts = [MODELS[name].users_at(at_s, length_s, users) for at_s in range(length_s)]
    assert None not in counts
    return [count for count in counts if count is not None]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("users", [1, 7, USERS])
def test_there_is_always_somebody_and_never_more_than_were_asked_for(name: str, users: int) -> None:
    assert 1 <= min(curve(name, users)) <= max(curve(name, users)) == users


@pytest.mark.parametrize("name", MODELS)
def test_a_model_ends_when_its_time_is_over(name: str) -> None:
    assert MODELS[name].users_at(LENGTH_S, LENGTH_S, USERS) is None
    assert MODELS[name].users_at(LENGTH_S + 1, LENGTH_S, USERS) is None


@pytest.mark.parametrize("name", MODELS)
def test_a_longer_run_is_the_same_curve(name: str) -> None:
    short, long = curve(name), curve(name, length_s=2 * LENGTH_S)
    if name != "final":  # a minute is a minute
        assert long[::2] == short


def test_a_ramp_only_climbs_and_not_at_once() -> None:
    counts = curve("ramp")
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert max(after - before for before, after in itertools.pairwise(counts)) <= 1
    assert counts[-LENGTH_S // 5 :] == [USERS] * (LENGTH_S // 5)


def test_a_spike_is_ten_times_the_usual_at_once_and_back() -> None:
    counts = curve("spike")
    assert set(counts) == {USERS // 10, USERS}
    steps = [at for at in range(1, LENGTH_S) if counts[at] != counts[at - 1]]
    assert len(steps) == 2
    assert counts[0] == counts[-1] == USERS // 10


def test_a_soak_is_steady() -> None:
    assert set(curve("soak")) == {USERS}


def test_an_evening_has_its_peak_at_prime_time_and_a_tail() -> None:
    counts = curve("evening")
    peak_at = counts.index(USERS)
    hours = DAY[0][0] + (DAY[-1][0] - DAY[0][0]) * peak_at / LENGTH_S
    assert 20 <= hours <= 22
    assert counts[:peak_at] == sorted(counts[:peak_at])
    assert counts[peak_at:] == sorted(counts[peak_at:], reverse=True)
    assert counts[LENGTH_S // 2] < USERS / 2
    assert counts[-1] < USERS / 5


@pytest.mark.parametrize("length_s", [10, 300, 3600])
def test_everybody_is_there_within_a_minute_before_the_kick_off(length_s: int) -> None:
    match = Match(length_s)
    counts = curve("final", length_s=length_s)
    assert match.kick_off_s <= 60
    assert counts == sorted(counts)
    assert counts[int(match.kick_off_s / 2)] < USERS
    assert set(counts[int(match.kick_off_s) :]) == {USERS}


@pytest.mark.parametrize("length_s", [10, 300, 3600])
def test_the_moments_of_a_match_come_in_their_order(length_s: int) -> None:
    match = Match(length_s)
    moments = [0, match.kick_off_s, match.half_time_s, match.second_half_s, match.end_s, length_s]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)
    assert length_s - match.end_s <= 60
