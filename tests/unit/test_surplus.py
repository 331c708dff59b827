"""Who is over the limit: the sessions that began last, after a while, and until there is room."""

import random
from collections.abc import Sequence

import pytest

from live import surplus as product
from live.streams import Stream
from live.surplus import Surplus
from tests.signs import LEASE, NOW, SECOND, content_of, profile_of, session_of

USER = profile_of(99)
A_LEASE_AND_A_HEARTBEAT = 1.4
PATIENCE = LEASE + 10 * SECOND


def a_stream(session: int, lease_us: int = LEASE) -> Stream:
    """They began in the order of their numbers."""
    return Stream(NOW + session * SECOND, session_of(session), profile_of(1), content_of(1), NOW + lease_us, lease_us)


def refused(surplus: Surplus) -> set[int]:
    return {session for session in range(10) if session_of(session).bytes in surplus.refused}


def look(surplus: Surplus, sessions: Sequence[int], after_us: int, limit: int | None = 2) -> set[int]:
    surplus.look(USER, limit, [a_stream(session) for session in sessions], NOW + after_us)
    return refused(surplus)


def test_those_that_began_last_are_refused_when_they_were_over_for_long_enough() -> None:
    surplus = Surplus(A_LEASE_AND_A_HEARTBEAT)
    assert look(surplus, [4, 1, 3, 2], 0) == set()
    assert look(surplus, [4, 1, 3, 2], PATIENCE - 1) == set()
    assert look(surplus, [4, 1, 3, 2], PATIENCE) == {3, 4}


def test_a_session_left_without_a_word_is_not_held_against_the_next() -> None:
    surplus = Surplus(A_LEASE_AND_A_HEARTBEAT)
    for second in range(26):
        assert look(surplus, [1, 2], second * SECOND, limit=1) == set()
    for second in range(26, 100):
        assert look(surplus, [2], second * SECOND, limit=1) == set()
    assert surplus.users == set()


def test_where_players_have_longer_leases_a_session_is_over_for_longer_before_it_is_refused() -> None:
    """The one before it was left without a word, and its lease of 75 s still runs."""
    surplus = Surplus(A_LEASE_AND_A_HEARTBEAT)
    for second in range(75):
        surplus.look(USER, 1, [a_stream(1, 3 * LEASE), a_stream(2, 3 * LEASE)], NOW + second * SECOND)
        assert not surplus.refused
    surplus.look(USER, 1, [a_stream(2, 3 * LEASE)], NOW + 76 * SECOND)
    assert surplus.users == set()


def test_who_is_over_again_is_given_the_same_time_again() -> None:
    surplus = Surplus(A_LEASE_AND_A_HEARTBEAT)
    look(surplus, [1, 2], 0, limit=1)
    look(surplus, [1], PATIENCE - 1, limit=1)
    assert look(surplus, [1, 2], PATIENCE, limit=1) == set()
    assert look(surplus, [1, 2], 2 * PATIENCE, limit=1) == {2}


def test_a_refused_session_that_has_fallen_silent_stays_refused_until_there_is_room() -> None:
    surplus = Surplus(0)
    assert look(surplus, [1, 2, 3, 4], 0) == {3, 4}
    assert look(surplus, [1, 2], LEASE) == {3, 4}
    assert look(surplus, [1], 2 * LEASE) == {4}, "the older one first"
    assert look(surplus, [1, 3], 3 * LEASE) == {4}
    assert look(surplus, [], 4 * LEASE) == set()
    assert surplus.users == set()


@pytest.mark.parametrize("limit, expected", [(None, set()), (4, set()), (3, {4}), (0, {1, 2, 3, 4})])
def test_a_changed_plan_counts_at_once(limit: int | None, expected: set[int]) -> None:
    surplus = Surplus(0)
    look(surplus, [1, 2, 3, 4], 0)
    assert look(surplus, [1, 2, 3, 4], 1, limit) == expected


def test_who_is_no_user_any_more_is_forgotten() -> None:
    surplus = Surplus(0)
    look(surplus, [1, 2, 3], 0)
    surplus.forget(USER)
    assert (surplus.users, surplus.refused) == (set(), frozenset())


def test_no_more_are_refused_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "REFUSED_MAX", 3)
    surplus = Surplus(0)
    for user in range(5):
        surplus.look(profile_of(user), 0, [a_stream(2 * user), a_stream(2 * user + 1)], NOW)
    assert len(surplus.refused) == 3
    for user in range(5):
        surplus.look(profile_of(user), None, [], NOW)
    assert look(surplus, [1, 2, 3, 4, 5], 0) == {3, 4, 5}, "there is room again"


@pytest.mark.parametrize("seed", range(8))
def test_never_fewer_than_the_plan_allows_are_taken(seed: int) -> None:
    rng, surplus = random.Random(seed), Surplus(0.2)
    there: set[int] = set()
    limit = 2
    for second in range(200):
        there ^= set(rng.sample(range(8), rng.randrange(3)))
        heard = [session for session in there if session not in refused(surplus) or rng.random() < 0.2]
        limit = rng.choice([1, 2, 3]) if second % 50 == 0 else limit
        before = refused(surplus)
        now = look(surplus, heard, second * SECOND, limit)
        taken = set(heard) - before
        if now - before:
            assert len(taken - now) >= limit, "only beyond the limit"
        if before & now:
            assert len(taken) >= limit or len(taken) + len(before - now) >= limit, "no room is kept from anybody"
