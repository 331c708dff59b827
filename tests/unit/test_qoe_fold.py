"""All sessions together: order, resends, silence, samples; and a model that looks at every second by itself."""

import random
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.qoe import figures
from storage.qoe import fold as folding
from storage.qoe.answer import percentile, told
from storage.qoe.fold import is_followed
from tests.qoe import BEGIN, MINUTE, SECOND, a_fold, a_sign, folded, group_of, heartbeats, numbered, session_of
from tests.signs import LEASE

THOROUGH = settings(max_examples=300, deadline=None)
KINDS = ["play", "heartbeat", "buffering", "pause", "seek", "error", "quality_change", "stop"]
LEASE_S = LEASE // SECOND

STORIES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 40)), min_size=1, max_size=25)
"""Kind, seconds since the sign before."""


def a_story(steps, number=1, **changes):
    at_s, signs = 0, []
    for kind, pause_s in steps:
        at_s += pause_s
        signs.append(a_sign(kind, at_s, session=number, **changes))
    return numbered(*signs)


# ── the model ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def state_after(signs):
    """The state behind some signs, told by the last ones that say anything about it; None before something plays."""
    plays = [at for at, (kind, _) in enumerate(signs) if kind == "play"]
    ends = [at for at, (kind, _) in enumerate(signs) if kind == "stop"]
    if ends and not [at for at in plays if at > ends[-1]]:
        return "ended"
    signs = signs[ends[-1] + 1 :] if ends else signs
    state, seeked_s, started = "starting", -100, bool(ends)
    for kind, at_s in signs:
        started = started or kind == "play"
        if (
            kind == "play"
            or (kind == "heartbeat" and state in ("stalled", "failing"))
            or (kind == "seek" and state == "stalled")
        ):
            state = "playing"
        elif kind == "buffering" and state == "playing" and at_s >= seeked_s + 2:
            state = "stalled"
        elif kind == "pause" and state in ("starting", "playing", "stalled"):
            state = "paused"
        elif kind == "error":
            state = "failing"
        if kind == "seek":
            seeked_s = at_s
    return state


def by_the_second(steps):
    """Watched and stalled seconds, looking at each second of the story by itself."""
    at_s, signs = 0, []
    for kind, pause_s in steps:
        at_s += pause_s
        signs.append((kind, at_s))
    watched_s = stalled_s = 0
    for at, ((_, from_s), (next_kind, until_s)) in enumerate(pairwise(signs)):
        state = state_after(signs[: at + 1])
        for _ in range(from_s, until_s if until_s - from_s <= LEASE_S else from_s):
            got_over_it = state == "failing" and next_kind in ("play", "heartbeat")
            watched_s += state in ("starting", "playing", "stalled") or got_over_it
            stalled_s += state == "stalled"
    return watched_s, stalled_s


@THOROUGH
@given(STORIES)
def test_watched_and_stalled_time_are_those_of_every_second_by_itself(steps):
    watched_s, stalled_s = by_the_second(steps)
    group = group_of(a_story(steps))
    assert group.watched_s == watched_s
    assert group.stalled_share == (round(stalled_s / watched_s, 6) if watched_s else None)


@THOROUGH
@given(st.lists(STORIES, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_no_order_of_arrival_within_the_wait_and_no_resend_gives_other_figures(stories, chance):
    sessions = [a_story(steps, number) for number, steps in enumerate(stories)]
    signs = sorted((one for story in sessions for one in story), key=lambda one: one[1].time_us)
    straight = folded(signs, size=1)
    arrived = sorted(
        (one for one in signs for _ in range(1 + (chance.random() < 0.3))),
        key=lambda one: one[1].time_us + chance.randrange(4 * SECOND),
    )
    arrived = [(session, sign._replace(received_us=sign.received_us + 4 * SECOND)) for session, sign in arrived]
    shuffled = folded(arrived, size=1)
    assert group_of(shuffled) == group_of(straight)
    assert group_of(shuffled).delivery_loss_share == 0


def test_signs_without_a_sequence_are_taken_by_time_and_a_resend_of_one_changes_nothing():
    story = [a_sign("play", 0, startup_ms=0), *heartbeats(0, 60), a_sign("stop", 60)]
    assert group_of(folded([story[at] for at in (1, 0, 3, 2, 5, 4, 4, 6)], size=2)) == group_of(story)
    assert group_of(story).watched_s == 60


def test_of_signs_without_a_sequence_a_play_begins_a_session_and_a_pause_is_met_in_its_middle():
    begun = group_of([a_sign("play", 0), a_sign("pause", 5), a_sign("stop", 6)])
    met = group_of([a_sign("pause", 0), a_sign("heartbeat", 10), a_sign("play", 20), a_sign("stop", 26)])
    assert (begun.starts, begun.watched_s) == (1, 5)
    assert (met.starts, met.exits_before_start, met.startup_ms.count, met.watched_s) == (0, 0, 0, 6)


def test_what_comes_too_late_for_its_place_mends_the_loss_and_nothing_else():
    story = numbered(a_sign("play", 0, startup_ms=0), *heartbeats(0, 60), a_sign("stop", 60))
    pause = a_sign("pause", 15, sequence=2, received_s=58)
    missing = [one for one in story if one[1].sequence != 2]
    assert group_of(missing).delivery_loss_share == round(1 / 7, 6)
    fold = folded([*missing[:-1], pause, pause, missing[-1]], size=1)
    assert fold.late == 1
    assert (group_of(fold).delivery_loss_share, group_of(fold).watched_s) == (0, 60)


def test_a_sequence_that_leaps_far_lost_nothing():
    story = [
        a_sign("play", 0, sequence=0),
        a_sign("heartbeat", 10, sequence=10**12),
        a_sign("stop", 20, sequence=10**12 + 2),
    ]
    assert group_of(story).delivery_loss_share == round(1 / 4, 6)


def test_a_reader_that_is_behind_ends_no_session():
    fold = a_fold()
    fold.take(numbered(a_sign("error", 0)))
    fold.tick(BEGIN)
    assert group_of(fold).playback_failures == 0
    fold.take([a_sign("play", 5, sequence=1), a_sign("heartbeat", 15, sequence=2)])
    fold.tick(BEGIN + 15 * SECOND)
    assert group_of(fold).playback_failures == 0


def test_a_clock_that_was_years_ahead_for_a_while_leaves_nothing_behind():
    years_s = 10**9
    fold = folded(numbered(a_sign("play", 0, startup_ms=0), a_sign("heartbeat", 10)))
    folded([*numbered(a_sign("play", years_s, session=2)), a_sign("heartbeat", years_s, session=3, sequence=9)], fold)
    back = numbered(
        a_sign("play", 60, session=4, startup_ms=0), a_sign("heartbeat", 70, session=4), a_sign("stop", 75, session=4)
    )
    group = group_of(folded(back, fold))
    assert (group.starts, group.watched_s, len(fold.sessions)) == (1, 15, 1)
    assert fold.clock_us < BEGIN + 10 * MINUTE


def test_sessions_are_counted_once_in_a_window_however_long_it_is():
    steady = numbered(a_sign("play", 0), *heartbeats(0, 1_200))
    back = numbered(a_sign("play", 0, session=2), a_sign("pause", 5, session=2), a_sign("heartbeat", 610, session=2))
    gone = numbered(a_sign("play", 0, session=3), a_sign("stop", 5, session=3))
    fold = a_fold()
    folded(sorted(steady + back + gone, key=lambda one: one[1].time_us), fold, size=5)
    now_us = BEGIN + 1_199 * SECOND
    counts = [told(fold, None, window, now_us).groups[0].sessions for window in (1, 5, 9, 10, 60)]
    assert counts == [1, 1, 2, 2, 3]


def test_minutes_are_forgotten_after_an_hour_and_sessions_after_a_quarter():
    fold = folded(numbered(a_sign("play", 0, startup_ms=0), a_sign("stop", 5)))
    fold.tick(BEGIN + 16 * MINUTE)
    assert (fold.sessions, group_of(fold).starts) == ({}, 1)
    fold.tick(BEGIN + 67 * MINUTE)
    assert fold.minutes.known == {}


def a_viewing(number):
    return numbered(
        a_sign("play", 0, session=number, startup_ms=100 * (number % 10)),
        a_sign("buffering", 10, session=number, buffer_ms=2_000 * (number % 3)),
        a_sign("stop", 20, session=number),
    )


def test_beyond_the_bound_a_sample_stands_for_all():
    viewings = [a_viewing(number) for number in range(8_000)]
    everybody, sample = group_of(folded(chain.from_iterable(viewings), size=1_000)), a_fold(sessions_max=2_000)
    for one in viewings:
        sample.take(sign for sign in one if is_followed(sign[0], sample.zero_bits))
    sample.tick(BEGIN + 30 * SECOND)
    assert len(sample.sessions) <= 2_000 and sample.zero_bits in (2, 3)
    some = group_of(sample)
    assert some.sessions == pytest.approx(everybody.sessions, rel=0.1)
    assert some.starts == pytest.approx(everybody.starts, rel=0.1)
    assert some.stalled_share == pytest.approx(everybody.stalled_share, rel=0.1)


def test_too_many_signs_a_second_are_followed_by_fewer_sessions_until_it_is_calm_again():
    fold = a_fold(signs_per_s_max=10)
    fold.tick(BEGIN)
    for second in range(10):
        fold.take(a_sign("heartbeat", second, session=number) for number in range(40))
        fold.tick(BEGIN + second * SECOND)
    assert fold.zero_bits >= 1
    for minute in range(1, 40):
        fold.tick(BEGIN + minute * MINUTE)
    assert fold.zero_bits == 0


def test_half_of_all_sessions_have_another_zero():
    followed = [sum(is_followed(session_of(number), bits) for number in range(10_000)) for bits in range(4)]
    assert followed[0] == 10_000
    for bits, many in enumerate(followed):
        assert many == pytest.approx(10_000 >> bits, rel=0.1)


def test_beyond_so_many_values_the_others_share_one_group(monkeypatch):
    monkeypatch.setattr(figures, "VALUES_MAX", 3)
    signs = [a_sign("play", number, session=number, place=(b"", b"", b"edge-%d" % number, b"")) for number in range(6)]
    fold = folded(signs)
    groups = told(fold, "cdn_edge", 60, fold.clock_us).groups
    assert {group.cdn_edge: group.sessions for group in groups} == {"edge-0": 1, "edge-1": 1, "edge-2": 1, "other": 3}
    assert [group.cdn_edge for group in told(fold, "cdn_edge", 60, fold.clock_us, top=1).groups] == ["other"]


@THOROUGH
@given(st.lists(st.integers(0, 25_000), min_size=1), st.sampled_from([0.5, 0.95]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(startups_ms, share):
    bounds = [0, *figures.STARTUP_LE_MS]
    counts = [0] * len(bounds)
    for one in startups_ms:
        counts[sum(one > le_ms for le_ms in figures.STARTUP_LE_MS)] += 1
    true_ms = sorted(startups_ms)[max(0, -int(-share * len(startups_ms) // 1) - 1)]
    bucket = sum(true_ms > le_ms for le_ms in figures.STARTUP_LE_MS)
    found_ms = percentile(counts, share)
    assert found_ms is not None and bounds[bucket] <= found_ms <= bounds[min(bucket + 1, len(bounds) - 1)]


def test_pending_signs_of_one_session_are_bounded(monkeypatch):
    monkeypatch.setattr(folding, "PENDING_MAX", 8)
    chance = random.Random(7)
    signs = numbered(*(a_sign("heartbeat", 0) for _ in range(60)))[1:]
    chance.shuffle(signs)
    fold = a_fold()
    for one in signs:
        fold.take([one])
        assert all(len(session.pending) <= 8 for session in fold.sessions.values())
