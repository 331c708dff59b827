"""What profiles watch: their sessions that play, by the same rule as live viewers, and what an index of them costs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from live import streams
from storage.redis import key
from storage.sink import SinkRefused
from tests.contract.counting import Bench
from tests.crowding import Crowd
from tests.signs import LEASE, LEASES, NOW, SECOND, a_sign, content_of, expected_viewers, profile_of, session_of

MEMORY = 4 * LEASE
STREAMS_MAX = 64
PROFILES = 7


@pytest.fixture
def bench(valkey_url: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(valkey_url, tmp_path) as result:
        yield result


def watched(bench: Bench, *profiles: int) -> list[streams.Stream]:
    asked = [profile_of(profile) for profile in profiles or (1,)]
    return bench.loop.run(streams.of(bench.client, asked, bench.clock.wall_us, LEASES)).streams


def sessions(bench: Bench, *profiles: int) -> list[int]:
    """The numbers of those that are told, in their order."""
    first = session_of(0).int
    return [stream.session_id.int - first for stream in watched(bench, *profiles)]


def test_a_profile_has_the_sessions_that_name_it_and_what_began_first_comes_first(bench: Bench) -> None:
    bench.write(
        a_sign(session=1, profile=1, ago=3 * SECOND),
        a_sign(session=2, profile=1, ago=9 * SECOND, content=2),
        a_sign(session=3, profile=2, ago=5 * SECOND),
        a_sign(session=4),
    )
    assert [tuple(stream) for stream in watched(bench)] == [
        (NOW - 9 * SECOND, session_of(2), profile_of(1), content_of(2), NOW - 9 * SECOND + LEASE, LEASE),
        (NOW - 3 * SECOND, session_of(1), profile_of(1), content_of(1), NOW - 3 * SECOND + LEASE, LEASE),
    ]
    assert sessions(bench, 1, 2) == [2, 3, 1]
    assert sessions(bench, 3) == []


def test_who_ends_or_falls_silent_is_no_stream_and_who_pauses_is_one_for_a_lease(bench: Bench) -> None:
    bench.write(*(a_sign(session=session, sequence=1, profile=1) for session in range(4)))
    bench.write(a_sign("stop", session=0, sequence=2, ago=0), a_sign("pause", session=1, sequence=2, ago=0, profile=1))
    assert sessions(bench) == [1, 2, 3]
    bench.clock.wall_us += 20 * SECOND
    for session in (1, 3):
        bench.write(a_sign("heartbeat", session=session, sequence=3, ago=-20 * SECOND, profile=1))
    bench.clock.wall_us += 5 * SECOND
    assert sessions(bench) == [3]


def test_a_heartbeat_need_not_name_the_profile_again(bench: Bench) -> None:
    bench.write(a_sign("heartbeat", profile=1))
    for beat in range(1, 200):
        bench.clock.wall_us = NOW + beat * 10 * SECOND
        bench.write(a_sign("heartbeat", ago=-beat * 10 * SECOND))
        assert sessions(bench) == [1], beat
    assert watched(bench)[0].since_us == NOW - SECOND
    assert bench.loop.run(bench.client.pttl(key.streams(profile_of(1)))) > MEMORY // 1_000


def test_a_session_that_names_another_profile_has_left_the_first_one(bench: Bench) -> None:
    bench.write(a_sign(sequence=1, profile=1))
    bench.write(a_sign("heartbeat", sequence=2, profile=2, ago=0))
    assert (sessions(bench), sessions(bench, 2)) == ([], [1])
    assert sessions(bench, 1, 2) == [1]


def test_of_a_profile_that_everybody_names_the_latest_are_told_and_no_more_are_kept(bench: Bench) -> None:
    bench.write(*(a_sign(session=session, profile=1) for session in range(3 * STREAMS_MAX)))
    bench.clock.wall_us += SECOND
    bench.write(*(a_sign(session=1_000 + session, profile=1, ago=0) for session in range(STREAMS_MAX)))
    assert sessions(bench) == list(range(1_000, 1_000 + STREAMS_MAX))
    assert bench.loop.run(bench.client.zcard(key.streams(profile_of(1)))) == STREAMS_MAX


def test_a_player_with_a_broken_clock_has_a_stream_too(bench: Bench) -> None:
    bench.write(a_sign(profile=1, ago=400 * 86_400 * SECOND, received_us=NOW, sent_us=NOW - 400 * 86_400 * SECOND))
    assert sessions(bench) == [1]


def test_tests_and_late_events_are_no_streams(bench: Bench) -> None:
    bench.write(a_sign(session=1, profile=1, test=True), a_sign(session=2, profile=1, ago=2 * LEASE))
    assert sessions(bench) == []
    assert not bench.loop.run(bench.client.exists(key.streams(profile_of(1))))


def test_streams_are_the_viewers_of_a_crowd_that_names_profiles(bench: Bench) -> None:
    crowd = Crowd(5)
    for _ in range(20):
        bench.clock.wall_us = NOW + (crowd.second + 1) * SECOND + SECOND // 2
        sent = crowd.step(comes=4, ends=0.05, falls_silent=0.02)
        bench.write(*(replace(sign, profile=sign.session % PROFILES) for sign in sent))
        now = expected_viewers(crowd.signs, crowd.now_us)
        watching = {session for content in now.values() for session in content}
        told = watched(bench, *range(PROFILES))
        assert {stream.session_id for stream in told} == watching
        assert all(stream.session_id in now[stream.content_id] for stream in told)


def test_the_index_is_written_when_a_session_begins_and_not_with_every_sign(bench: Bench) -> None:
    written_s = []
    for beat in range(61):
        bench.clock.wall_us = NOW + beat * 10 * SECOND
        bench.write(a_sign("heartbeat", ago=-beat * 10 * SECOND, profile=1))
        written_s.append(bench.loop.run(bench.client.zscore(key.streams(profile_of(1)), session_of(1).bytes)))
    assert len(set(written_s)) == 3, "every five minutes"


def test_an_index_of_another_kind_is_found_before_the_first_write(bench: Bench) -> None:
    bench.loop.run(bench.client.set(key.streams(profile_of(1)), "not ours"))
    before = bench.holds()
    with pytest.raises(SinkRefused):
        bench.write(a_sign(session=1, content=2), a_sign(session=2, profile=1))
    assert bench.holds() == before
