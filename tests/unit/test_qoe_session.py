"""What one session's signs come to: CTA-2066's terms, each told in a few signs."""

import pytest

from storage.qoe.answer import told
from tests.qoe import a_sign, folded, group_of, heartbeats, numbered

PLAY = a_sign("play", 0, startup_ms=0, kbps=4_000)


def test_the_worked_example_of_the_draft_is_stalled_for_a_seventh_of_its_watched_time():
    group = group_of(numbered(
        PLAY, *heartbeats(0, 30), a_sign("buffering", 40, buffer_ms=10_000),  # 30 s of video, a stall of 10 s
        a_sign("pause", 50), a_sign("heartbeat", 60), a_sign("heartbeat", 70), a_sign("play", 80),
        *heartbeats(80, 100), a_sign("completed", 100),
    ))  # fmt: skip
    assert (group.watched_s, group.stalls) == (70, 1)
    assert group.stalled_share == round(10 / 70, 6)  # 14.3 %
    assert group.average_bitrate_kbps == 4_000
    assert (group.sessions, group.starts, group.playback_failures, group.exits_before_start) == (1, 1, 0, 0)


def test_a_stall_that_is_told_when_it_begins_is_as_long_as_the_one_told_when_it_is_over():
    group = group_of(numbered(
        PLAY, *heartbeats(0, 30), a_sign("buffering", 30), a_sign("play", 40),
        a_sign("pause", 50), a_sign("play", 80), *heartbeats(80, 100), a_sign("completed", 100),
    ))  # fmt: skip
    assert (group.watched_s, group.stalls, group.stalled_share) == (70, 1, round(10 / 70, 6))


def test_heartbeats_that_do_not_move_do_not_end_a_stall():
    stuck = [a_sign("heartbeat", at_s, position_s=30) for at_s in (40, 50)]
    group = group_of(numbered(
        PLAY, *heartbeats(0, 30), a_sign("buffering", 30, position_s=30), *stuck,
        a_sign("heartbeat", 60, position_s=35), a_sign("stop", 70),
    ))  # fmt: skip
    assert group.stalled_share == round(30 / 70, 6)


def test_a_stall_longer_than_a_lease_is_no_silence():
    group = group_of(numbered(PLAY, a_sign("buffering", 70, buffer_ms=60_000), a_sign("stop", 75)))
    assert (group.watched_s, group.stalled_share) == (75, 0.8)


@pytest.mark.parametrize("heartbeat_s", [[], [25]])
def test_a_stall_is_cut_where_something_could_not_stall(heartbeat_s):
    beats = [a_sign("heartbeat", at_s) for at_s in heartbeat_s]
    group = group_of(numbered(
        PLAY, a_sign("pause", 10), a_sign("play", 20), *beats, a_sign("buffering", 30, buffer_ms=15_000),
        a_sign("buffering", 35, buffer_ms=10_000), a_sign("stop", 40),
    ))  # fmt: skip
    assert (group.watched_s, group.stalls, group.stalled_share) == (30, 2, 0.5)


@pytest.mark.parametrize("told", [{}, {"buffer_ms": 900}])
def test_buffering_of_a_seek_is_no_stall(told):
    group = group_of(
        numbered(PLAY, a_sign("seek", 5), a_sign("buffering", 5.9, **told), a_sign("play", 7), a_sign("stop", 9))
    )
    assert (group.stalls, group.stalled_share, group.watched_s) == (0, 0, 9)


def test_buffering_before_the_start_is_start_up():
    group = group_of(
        numbered(a_sign("buffering", 0), a_sign("heartbeat", 1, position_s=0), a_sign("play", 3), a_sign("stop", 9))
    )
    assert (group.stalls, group.starts, group.watched_s) == (0, 1, 9)
    assert (group.startup_ms.count, group.startup_ms.p50) == (1, 2_500)


def test_the_request_lies_before_the_play_by_the_start_up_it_tells():
    group = group_of(numbered(a_sign("play", 0, startup_ms=1_500), a_sign("stop", 10)))
    assert (group.watched_s, group.startup_ms.count, group.startup_ms.p50) == (11.5, 1, 1_250)


def test_a_start_up_that_is_told_late_counts_once():
    group = group_of(
        numbered(a_sign("play", 0), a_sign("heartbeat", 5, startup_ms=800), a_sign("pause", 10, startup_ms=800))
    )
    assert (group.watched_s, group.starts, group.startup_ms.count) == (10.8, 1, 1)


@pytest.mark.parametrize(
    "between", [[a_sign("pause", 1)], [], [a_sign("error", 1)]], ids=["paused", "silent", "failing"]
)
def test_a_start_that_was_held_up_says_nothing_of_start_up(between):
    group = group_of(numbered(a_sign("buffering", 0), *between, a_sign("play", 60), a_sign("stop", 70)))
    assert (group.starts, group.startup_ms.count) == (1, 0)


def test_a_seek_is_watched_and_a_pause_is_not():
    group = group_of(numbered(PLAY, a_sign("seek", 10), a_sign("pause", 20), a_sign("seek", 25), a_sign("stop", 30)))
    assert group.watched_s == 20


def test_silence_ends_watched_time_at_the_last_sign():
    group = group_of(numbered(PLAY, a_sign("heartbeat", 10), a_sign("heartbeat", 100), a_sign("stop", 105)))
    assert group.watched_s == 15


def test_a_lost_resume_is_seen_by_the_position():
    beats = [a_sign("heartbeat", at_s, position_s=at_s - 30) for at_s in (40, 50)]
    group = group_of(numbered(PLAY, a_sign("pause", 5, position_s=5), *beats, a_sign("stop", 60)))
    assert group.watched_s == 5 + 20


def test_an_error_with_nothing_behind_it_is_a_failure():
    group = group_of(numbered(PLAY, a_sign("heartbeat", 10), a_sign("error", 15)))
    assert (group.playback_failures, group.playback_failure_share, group.watched_s) == (1, 1, 15)


def test_an_error_that_the_player_got_over_is_none():
    group = group_of(numbered(PLAY, a_sign("error", 15), a_sign("heartbeat", 20), a_sign("stop", 30)))
    assert (group.playback_failures, group.watched_s) == (0, 30)


def test_heartbeats_of_a_player_that_stands_still_do_not_undo_a_failure():
    stuck = [a_sign("heartbeat", at_s, position_s=14) for at_s in (20, 30, 40)]
    assert group_of(numbered(PLAY, a_sign("error", 15, position_s=14), *stuck)).playback_failures == 1


def test_who_seeks_back_after_an_error_and_plays_on_did_not_fail():
    there = [a_sign("seek", 18, position_s=100), a_sign("heartbeat", 28, position_s=110)]
    group = group_of(numbered(PLAY, a_sign("error", 15, position_s=900), *there, a_sign("stop", 30, position_s=112)))
    assert group.playback_failures == 0


def test_who_seeks_in_a_pause_is_paused():
    there = [a_sign("seek", 15, position_s=900), a_sign("heartbeat", 25, position_s=900)]
    assert group_of(numbered(PLAY, a_sign("pause", 10, position_s=10), *there, a_sign("stop", 30))).watched_s == 10


def test_a_session_fails_once():
    group = group_of(
        numbered(PLAY, a_sign("error", 5), a_sign("stop", 6), a_sign("play", 8), a_sign("error", 9), a_sign("stop", 9))
    )
    assert (group.playback_failures, group.sessions) == (1, 1)


def test_an_error_before_the_start_is_a_failure_and_no_exit():
    group = group_of(numbered(a_sign("error", 3)))
    assert (group.playback_failures, group.exits_before_start, group.starts) == (1, 0, 0)


@pytest.mark.parametrize("end", [[], [a_sign("stop", 4)], [a_sign("pause", 4)]])
def test_who_goes_before_anything_plays_is_an_exit_before_start(end):
    group = group_of(numbered(a_sign("buffering", 0), a_sign("heartbeat", 2, position_s=0), *end))
    assert (group.exits_before_start, group.playback_failures, group.starts) == (1, 0, 0)


def test_a_session_met_in_its_middle_neither_started_nor_left():
    group = group_of(
        numbered(a_sign("buffering", 0, buffer_ms=500), a_sign("heartbeat", 10), a_sign("stop", 12), first=40)
    )
    assert (group.starts, group.exits_before_start, group.startup_ms.count, group.watched_s) == (0, 0, 0, 12)


def test_bitrate_is_weighed_by_the_time_it_played():
    group = group_of(numbered(
        a_sign("play", 0, startup_ms=0, kbps=1_000), a_sign("quality_change", 10, kbps=4_000), a_sign("heartbeat", 20),
        a_sign("buffering", 30, buffer_ms=5_000), a_sign("stop", 35),
    ))  # fmt: skip
    assert group.average_bitrate_kbps == (10 * 1_000 + 20 * 4_000) // 30


def test_what_happened_behind_a_move_to_another_edge_is_that_edges():
    elsewhere = (b"", b"", b"ams-2", b"")
    there = [a_sign("heartbeat", 20, place=elsewhere), a_sign("stop", 30, place=elsewhere)]
    moved = folded(numbered(PLAY, a_sign("heartbeat", 10), *there))
    groups = {group.cdn_edge: group for group in told(moved, "cdn_edge", 60, moved.clock_us).groups}
    figures = {edge: (group.sessions, group.watched_s) for edge, group in groups.items()}
    assert figures == {"fra-1": (1, 20), "ams-2": (1, 10)}
    assert group_of(moved, "platform").platform == "web"


def test_time_is_cut_at_the_minutes():
    fold = folded(numbered(a_sign("play", 50, startup_ms=0), a_sign("heartbeat", 70), a_sign("stop", 75)))
    watched = [values[-1][b""].sums[3] for _, values in sorted(fold.minutes.known.items())]
    assert watched == [10_000_000, 15_000_000]
