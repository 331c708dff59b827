"""What Redis counts, whatever order signs come in: compared with a model that shares nothing with the product."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from live import viewers, views
from storage.redis import key
from tests.contract.counting import Bench
from tests.signs import (
    DAY,
    HOUR,
    LEASE,
    NOW,
    SECOND,
    Sign,
    a_sign,
    content_of,
    expected_viewers,
    expected_views,
    session_of,
)


@pytest.fixture
def bench(valkey_url: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(valkey_url, tmp_path) as result:
        yield result


KINDS = ["play", "play", "heartbeat", "heartbeat", "pause", "seek", "buffering", "stop", "completed", "error"]


@st.composite
def stories(draw: st.DrawFn, ago_max_s: int, is_mixed: bool = False) -> list[Sign]:
    """Signs of two sessions and two contents, resent ones among them, in some order of arrival."""
    signs = []
    for session in (1, 2):
        has_sequence = draw(st.booleans())
        skew_us = draw(st.sampled_from([0, 0, 250 * SECOND, -250 * SECOND, -56 * 365 * DAY, 11 * 365 * DAY]))
        has_sent = skew_us not in (0, 250 * SECOND, -250 * SECOND) or draw(st.booleans())
        latency_us = draw(st.integers(0, 3 * SECOND))
        times_ms = draw(st.lists(st.integers(-ago_max_s * 1_000, 9_000), max_size=8, unique=True))
        for number, time_ms in enumerate(sorted(times_ms)):
            happened_us = NOW + time_ms * 1_000
            sign = a_sign(
                draw(st.sampled_from(KINDS)),
                session=session,
                content=draw(st.sampled_from([1, 1, 2])),
                occurred_us=happened_us + skew_us,
                received_us=happened_us + latency_us,
                sent_us=happened_us + skew_us if has_sent else None,
                sequence=number if (draw(st.booleans()) if is_mixed else has_sequence) else None,
                test=draw(st.integers(0, 9)) == 0,
            )
            signs.append(sign)
            for again_us in draw(st.lists(st.integers(0, 20 * SECOND), max_size=2)):
                sent_us = sign.sent_us and sign.sent_us + again_us
                signs.append(replace(sign, received_us=sign.received_us + again_us, sent_us=sent_us))
    return draw(st.permutations(signs))


@st.composite
def deliveries(draw: st.DrawFn, signs: list[Sign]) -> list[tuple[int, list[Sign]]]:
    """The signs cut into writes, each with the size of its frames; some writes come again later."""
    result, left = [], list(signs)
    while left:
        count = draw(st.integers(1, len(left)))
        result.append((draw(st.integers(1, 5)), left[:count]))
        left = left[count:]
    return result + draw(st.lists(st.sampled_from(result), max_size=2)) if result else result


REAL_STORE = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@given(data=st.data())
@REAL_STORE
def test_any_order_any_cut_and_any_resend_give_the_same_views(bench: Bench, data: st.DataObject) -> None:
    signs = data.draw(stories(ago_max_s=40 * 86_400))
    bench.forget()
    for size, part in data.draw(deliveries(signs)):
        bench.write(*part, size=size)
    assert bench.views() == expected_views(signs)


@given(data=st.data())
@REAL_STORE
def test_any_order_any_cut_and_any_resend_give_the_same_viewers(bench: Bench, data: st.DataObject) -> None:
    signs = data.draw(stories(ago_max_s=data.draw(st.sampled_from([60, 200, 800]))))
    bench.forget()
    for size, part in data.draw(deliveries(signs)):
        bench.write(*part, size=size)
    assert bench.viewers() == expected_viewers(signs)


@given(data=st.data())
@REAL_STORE
def test_sessions_that_send_a_sequence_only_now_and_then_do_not_depend_on_order_either(
    bench: Bench, data: st.DataObject
) -> None:
    signs = data.draw(stories(ago_max_s=60, is_mixed=True))
    bench.forget()
    bench.write(*sorted(signs, key=lambda sign: (sign.event, sign.received_us)))
    viewers_in_order, views_in_order = bench.viewers(), bench.views()
    bench.forget()
    for size, part in data.draw(deliveries(signs)):
        bench.write(*part, size=size)
    assert (bench.viewers(), bench.views()) == (viewers_in_order, views_in_order)


def test_a_play_that_arrives_late_is_a_view_in_its_own_hour_and_nobody_live(bench: Bench) -> None:
    bench.write(a_sign("play", ago=9 * DAY))
    assert bench.views() == {(content_of(1), (NOW - 9 * DAY) // HOUR): 1}
    assert bench.viewers() == {}


def test_an_earlier_play_that_arrives_later_moves_the_view(bench: Bench) -> None:
    bench.write(a_sign("play"))
    bench.write(a_sign("play", ago=5 * HOUR))
    assert bench.views() == {(content_of(1), NOW // HOUR - 5): 1}
    assert bench.loop.run(views.counted(bench.client)).views == 1


@pytest.mark.parametrize("ago", [31 * DAY + HOUR, 33 * DAY])
def test_a_play_from_before_the_kept_hours_takes_the_view_out_of_them_and_is_counted_nowhere(
    bench: Bench, ago: int
) -> None:
    bench.write(a_sign("play"))
    bench.write(a_sign("play", ago=ago))
    assert bench.views() == {}
    bench.write(a_sign("play"))
    assert bench.views() == {}


def test_a_clock_of_1970_is_counted_back_and_its_resend_is_the_same_view(bench: Bench) -> None:
    play = a_sign("play", occurred_us=90 * SECOND, sent_us=100 * SECOND, received_us=NOW - SECOND)
    again = replace(play, sent_us=104 * SECOND, received_us=NOW + 3 * SECOND)
    bench.write(play)
    bench.write(again)
    assert bench.views() == {(content_of(1), (NOW - 11 * SECOND) // HOUR): 1}
    assert bench.viewers() == {content_of(1): {session_of(1)}}


@pytest.mark.parametrize("clock", ["sane", "broken"])
def test_a_resend_does_not_bring_back_a_viewer_who_stopped(bench: Bench, clock: str) -> None:
    """Without a sequence; its corrected time is a little later than that of the stop, as the network was slower."""
    skew = -56 * 365 * DAY if clock == "broken" else 0
    play, stop = (
        a_sign(kind, occurred_us=NOW - ago + skew, sent_us=NOW - ago + skew, received_us=NOW - ago)
        for kind, ago in (("play", 2 * SECOND), ("stop", 2 * SECOND - 1_000))
    )
    bench.write(play, stop)
    assert bench.viewers() == {}
    bench.write(replace(play, received_us=NOW, sent_us=NOW - 1_500_000 + skew))
    assert bench.viewers() == {}


def test_a_resend_that_kept_its_old_sent_at_is_known_by_its_event_id(bench: Bench) -> None:
    """Ten minutes later such a player's clock looks broken, and the play as if it came after the stop."""
    play, stop = (a_sign(kind, ago=ago, sent_us=NOW) for kind, ago in (("play", 2 * SECOND), ("stop", SECOND)))
    bench.write(play, stop)
    bench.clock.wall_us = NOW + 600 * SECOND
    bench.write(replace(play, received_us=NOW + 600 * SECOND))
    assert bench.viewers() == {}


def test_of_a_resend_with_a_clock_that_is_ahead_the_first_receipt_begins_the_lease(bench: Bench) -> None:
    first = a_sign("play", ago=-200 * SECOND, received_us=NOW - 20 * SECOND, sequence=1)
    for sign in (first, replace(first, received_us=NOW), first):
        bench.write(sign)
    assert bench.viewers() == {content_of(1): {session_of(1)}}
    bench.clock.wall_us = NOW + 5 * SECOND
    assert bench.viewers() == {}


@pytest.mark.parametrize("kinds", [("play", "stop"), ("stop", "play"), ("pause", "stop"), ("stop", "pause")])
def test_of_two_signs_of_one_moment_the_end_is_the_last_word(bench: Bench, kinds: tuple[str, str]) -> None:
    bench.write(a_sign("play", ago=9 * SECOND))
    for kind in kinds:
        bench.write(a_sign(kind))
    assert bench.viewers() == {}


def test_a_late_sign_does_not_even_enter_the_set(bench: Bench) -> None:
    bench.write(a_sign("play", ago=LEASE))
    assert not bench.loop.run(bench.client.exists(key.viewers(content_of(1)), key.LIVE))


@pytest.mark.parametrize(("stop_ago", "watches"), [(20 * SECOND, True), (5 * SECOND, False)])
def test_time_decides_between_a_sign_with_a_sequence_and_one_without(
    bench: Bench, stop_ago: int, watches: bool
) -> None:
    bench.write(a_sign("play", ago=9 * SECOND, sequence=3), a_sign("stop", ago=stop_ago))
    assert bool(bench.viewers()) == watches


def test_the_sequence_decides_where_a_session_is_though_times_say_otherwise(bench: Bench) -> None:
    bench.write(a_sign("stop", ago=SECOND, sequence=5), a_sign("heartbeat", ago=2 * SECOND, content=2, sequence=6))
    assert bench.viewers() == {content_of(2): {session_of(1)}}


def test_a_viewer_is_one_until_the_lease_of_the_last_sign_is_over(bench: Bench) -> None:
    bench.write(a_sign("play", ago=10 * SECOND), a_sign("heartbeat", ago=SECOND))
    for later_us, expected in ((LEASE - SECOND - 1, 1), (LEASE - SECOND, 0)):
        bench.clock.wall_us = NOW + later_us
        assert bench.loop.run(viewers.now(bench.client, content_of(1), bench.clock.wall_us)).viewers == expected


def test_a_clock_that_is_ahead_holds_no_lease_longer_than_others(bench: Bench) -> None:
    bench.write(a_sign("heartbeat", occurred_us=NOW + 23 * HOUR, received_us=NOW))
    bench.clock.wall_us = NOW + LEASE
    assert bench.viewers() == {}


def test_an_end_is_the_end_and_later_heartbeats_do_not_bring_the_viewer_back(bench: Bench) -> None:
    bench.write(a_sign("play", ago=9 * SECOND, sequence=0), a_sign("completed", ago=8 * SECOND, sequence=2))
    bench.write(a_sign("heartbeat", ago=8 * SECOND, sequence=1))
    for sequence in range(3, 9):
        bench.write(a_sign("heartbeat", ago=0, sequence=sequence))
        assert bench.viewers() == {}
    bench.write(a_sign("play", ago=0, sequence=9))
    assert bench.viewers() == {content_of(1): {session_of(1)}}


def test_a_paused_viewer_leaves_one_lease_after_the_pause_though_heartbeats_go_on(bench: Bench) -> None:
    bench.write(a_sign("play", ago=60 * SECOND), a_sign("pause", ago=20 * SECOND), a_sign("heartbeat", ago=0))
    assert bench.viewers() == {content_of(1): {session_of(1)}}
    bench.clock.wall_us = NOW + 6 * SECOND
    assert bench.viewers() == {}


@pytest.mark.parametrize("kind", ["pause", "stop", "completed"])
@pytest.mark.parametrize("first", [0, 1])
def test_who_left_longer_ago_than_a_session_is_remembered_is_no_viewer_in_whatever_order_that_comes(
    bench: Bench, kind: str, first: int
) -> None:
    """As when a player was offline for minutes, or a busy gateway reads late; the play between them never came."""
    signs = [a_sign(kind, ago=5 * LEASE, sequence=1), a_sign("heartbeat", ago=3 * SECOND, sequence=3)]
    for sign in (signs[first], signs[1 - first]):
        bench.write(sign)
    assert bench.viewers() == {}


def test_a_pause_that_nothing_was_played_before_makes_no_viewer(bench: Bench) -> None:
    bench.write(a_sign("pause"))
    assert bench.viewers() == {}


def test_who_moves_to_another_content_leaves_the_first(bench: Bench) -> None:
    bench.write(a_sign("play", ago=9 * SECOND))
    bench.write(a_sign("play", ago=SECOND, content=2))
    assert bench.viewers() == {content_of(2): {session_of(1)}}
    bench.write(a_sign("heartbeat", ago=5 * SECOND, content=1))
    assert bench.viewers() == {content_of(2): {session_of(1)}}


def test_test_traffic_is_in_no_number(bench: Bench) -> None:
    bench.write(a_sign("play", test=True), a_sign("heartbeat", test=True), a_sign("error"))
    assert (bench.views(), bench.viewers()) == ({}, {})
    assert bench.loop.run(views.counted(bench.client)) == views.Counted(rows=2, signals=1, tests=2)


def test_leases_that_are_over_are_taken_out_of_the_set(bench: Bench) -> None:
    bench.write(*(a_sign("play", session=session) for session in range(300)))
    bench.clock.wall_us = NOW + LEASE + SECOND
    bench.write(a_sign("play", ago=-LEASE, session=999))
    assert bench.loop.run(bench.client.zcard(key.viewers(content_of(1)))) == 1


def test_nothing_is_kept_for_ever_but_totals_and_positions(bench: Bench) -> None:
    bench.write(a_sign("play"), a_sign("heartbeat"))
    lives: dict[str | bytes, tuple[int, int]] = {
        key.session(session_of(1)): (99, 100),
        key.view(session_of(1), content_of(1)): (35 * 86_400 - 1, 35 * 86_400),
        key.viewers(content_of(1)): (25, 28),
        key.views(NOW // HOUR): (31 * 86_400 + 3_600, 31 * 86_400 + 7_201),
        key.TOTALS: (-1, -1),
        key.POSITIONS: (-1, -1),
        key.REGISTRATION: (-1, -1),
        key.LIVE: (-1, -1),
    }
    assert set(bench.holds()) == {name if isinstance(name, bytes) else name.encode() for name in lives}
    for name, (least, most) in lives.items():
        assert least <= bench.loop.run(bench.client.ttl(name)) <= most, name
