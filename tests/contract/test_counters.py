"""The counters on a real Valkey: positions and effects together, whatever order signs come in, whatever happens."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import RedisSettings, SpoolSettings
from gateway.embedded import EmbeddedValkey
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL, FrameBody
from ingest.clock import SystemClock
from ingest.spool.appender import Appender
from ingest.spool.disk import FileDisk
from ingest.spool.ending import Ending, write_ending
from ingest.spool.frame import Totals
from live import viewers, views
from storage import drain
from storage.redis import key
from storage.redis import sign as product
from storage.redis.connection import connect
from storage.redis.counters import APPLY_SHA1, Counters, RebuildNeeded
from storage.sink import SinkFenced, SinkLost, SinkRefused, SinkUnavailable
from tests.signs import (
    DAY,
    HOUR,
    INCARNATION,
    LEASE,
    NOW,
    SECOND,
    Sign,
    StoppedClock,
    a_frame,
    a_sign,
    a_slice,
    content_of,
    expected_viewers,
    expected_views,
    frames,
    row,
    session_of,
)

OTHER = "0c" * 16


class Bench:
    """A sink on an empty Valkey, with a clock that stands at NOW."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir
        self.clock = StoppedClock()
        self.loop = asyncio.Runner()
        self.client = connect(url)
        self.sink = self.another()
        self.position = 0

    def another(self) -> Counters:
        return Counters(self.url, RedisSettings(), self.data_dir, FileDisk(), self.clock)

    def open(self) -> dict[str, int]:
        return self.loop.run(self.sink.open())

    def write(self, *signs: Sign, size: int = 20) -> None:
        """Deliver the signs in one write."""
        part = a_slice(frames(signs, self.position, size), self.position)
        self.loop.run(self.sink.write([part]))
        self.position = part.state.sequence

    def views(self) -> dict:
        return self.loop.run(views.all_by_hour(self.client, self.clock.wall_us))

    def viewers(self) -> dict:
        """Content → sessions with a lease now, read from the sorted sets themselves."""
        return self.loop.run(self._viewers())

    async def _viewers(self) -> dict:
        result = {}
        for content, many in (await viewers.everywhere(self.client, self.clock.wall_us)).items():
            found = await self.client.zrangebyscore(key.viewers(content), f"({self.clock.wall_us / 1e6:.6f}", "+inf")
            assert len(found) == many
            result[content] = {type(content)(bytes=session) for session in found}
        return result

    def holds(self) -> dict:
        """Every key and its value."""
        return self.loop.run(self._holds())

    async def _holds(self) -> dict:
        keys = await self.client.keys("*")
        return {name: await self.client.dump(name) for name in keys}

    def forget(self) -> None:
        """As if nothing had ever been counted."""
        self.loop.run(self.client.flushall())
        self.position = 0
        self.open()

    def close(self) -> None:
        self.loop.run(self.sink.close())
        self.loop.run(self.client.aclose())
        self.loop.close()


@pytest.fixture
def bench(valkey_url: str, tmp_path: Path) -> Iterator[Bench]:
    result = Bench(valkey_url, tmp_path)
    result.open()
    yield result
    result.close()


# ── what is counted ───────────────────────────────────────────────────────────────────────────────────────────────────

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


REAL_STORE = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


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
    signs = data.draw(stories(ago_max_s=60))
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


def test_a_play_from_before_the_kept_hours_takes_the_view_out_of_them_and_is_counted_nowhere(bench: Bench) -> None:
    bench.write(a_sign("play"))
    bench.write(a_sign("play", ago=33 * DAY))
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


def test_a_viewer_is_one_until_the_lease_of_the_last_sign_is_over(bench: Bench) -> None:
    bench.write(a_sign("play", ago=10 * SECOND), a_sign("heartbeat", ago=SECOND))
    for later_us, expected in ((LEASE - SECOND - 1, 1), (LEASE - SECOND, 0)):
        bench.clock.wall_us = NOW + later_us
        assert bench.loop.run(viewers.now(bench.client, content_of(1), bench.clock.wall_us)) == expected


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
    lives = {
        key.session(session_of(1)): (99, 100),
        key.view(session_of(1), content_of(1)): (35 * 86_400 - 1, 35 * 86_400),
        key.viewers(content_of(1)): (25, 28),
        key.views(NOW // HOUR): (31 * 86_400 + 3_600, 31 * 86_400 + 7_201),
        key.TOTALS: (-1, -1),
        key.POSITIONS: (-1, -1),
        key.REGISTRATION: (-1, -1),
        key.LIVE: (-1, -1),
    }
    found = {name if isinstance(name, bytes) else name.encode() for name in lives}
    assert set(bench.holds()) == found
    for name, (least, most) in lives.items():
        assert least <= bench.loop.run(bench.client.ttl(name)) <= most, name


# ── positions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_position_moves_with_its_effects(bench: Bench) -> None:
    bench.write(a_sign("play"), a_sign("heartbeat"))
    assert bench.open() == {INCARNATION: 2}


def test_a_write_at_the_wrong_position_changes_nothing_at_all(bench: Bench) -> None:
    bench.write(a_sign("play"))
    before = bench.holds()
    good = a_slice(frames([a_sign("play", session=7)]), 0, OTHER)
    for begin in (0, 2):
        stale = a_slice(frames([a_sign("play", session=8)], begin), begin)
        with pytest.raises(SinkFenced):
            bench.loop.run(bench.sink.write([good, stale]))
    assert bench.holds() == before


def test_of_two_drains_the_one_left_behind_is_fenced(bench: Bench) -> None:
    zombie = bench.another()
    assert bench.loop.run(zombie.open()) == {}
    bench.write(a_sign("play"))
    with pytest.raises(SinkFenced):
        bench.loop.run(zombie.write([a_slice(frames([a_sign("play")]))]))
    bench.loop.run(zombie.close())
    assert bench.views() == {(content_of(1), NOW // HOUR): 1}


def test_a_write_too_large_for_one_call_counts_all_of_it_in_several(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product, "ENTRIES_MAX", 10)
    signs = [a_sign("play", session=session, content=session % 3) for session in range(100)]
    bench.write(*signs, size=4)
    assert bench.views() == expected_views(signs)
    assert bench.open() == {INCARNATION: bench.position}


def test_a_server_that_forgot_the_script_is_told_it_again(bench: Bench) -> None:
    bench.loop.run(bench.client.script_flush())
    bench.write(a_sign("play"))
    assert bench.loop.run(bench.client.script_exists(APPLY_SHA1)) == [True]


def test_frames_of_a_newer_gateway_stop_the_reader(bench: Bench) -> None:
    with pytest.raises(SinkRefused):
        bench.loop.run(bench.sink.write([a_slice([a_frame([row(a_sign())], 0, schema=2)])]))
    assert bench.open() == {}


# ── a Redis that is lost, full, away, or not ours ─────────────────────────────────────────────────────────────────────


def test_a_flushed_redis_is_fenced_and_starts_again_from_0_while_the_spool_is_whole(bench: Bench) -> None:
    bench.write(a_sign("play"))
    bench.loop.run(bench.client.flushall())
    with pytest.raises(SinkFenced):
        bench.write(a_sign("play", session=2))
    assert bench.open() == {}


def a_spool(data_dir: Path, *bases: int) -> None:
    """An incarnation with segments from these sequences on; what they hold plays no part."""
    directory = data_dir / "spool" / INCARNATION
    directory.mkdir(parents=True)
    for base in bases:
        (directory / f"{base:016x}.sealed").touch()


def a_tombstone(data_dir: Path, sequence: int) -> None:
    (data_dir / "spool" / "tombstones").mkdir(parents=True)
    path = data_dir / "spool" / "tombstones" / OTHER
    write_ending(FileDisk(), path, Ending(sequence, Totals(), {}, (), 0))


def is_told_to_rebuild(bench: Bench) -> bool:
    before = bench.holds()
    with pytest.raises(SinkLost) as caught:
        bench.open()
    assert isinstance(caught.value, RebuildNeeded)
    assert bench.holds() == before
    return str(caught.value).startswith("rebuild_needed")


def test_a_lost_redis_is_off_when_segments_are_gone(bench: Bench) -> None:
    bench.loop.run(bench.client.flushall())
    a_spool(bench.data_dir, 500, 900)
    assert is_told_to_rebuild(bench)


def test_a_lost_redis_is_off_when_an_incarnation_is_gone(bench: Bench) -> None:
    bench.loop.run(bench.client.flushall())
    a_spool(bench.data_dir, 0)
    a_tombstone(bench.data_dir, 12)
    assert is_told_to_rebuild(bench)


def test_an_incarnation_that_ended_empty_is_no_gap(bench: Bench) -> None:
    bench.loop.run(bench.client.flushall())
    a_tombstone(bench.data_dir, 0)
    assert bench.open() == {}


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_position_below_what_the_spool_holds_is_never_skipped_over(bench: Bench, first: int) -> None:
    bench.write(a_sign("play"), a_sign("heartbeat"))  # position 2
    a_spool(bench.data_dir, first)
    if first > 2:
        assert is_told_to_rebuild(bench)
    else:
        assert bench.open() == {INCARNATION: 2}


def test_a_position_below_a_tombstone_is_never_skipped_over(bench: Bench) -> None:
    bench.write(a_sign("play"))
    bench.loop.run(bench.client.hset(key.POSITIONS, OTHER, 11))
    a_tombstone(bench.data_dir, 12)
    assert is_told_to_rebuild(bench)
    bench.loop.run(bench.client.hset(key.POSITIONS, OTHER, 12))
    assert bench.open() == {INCARNATION: 1, OTHER: 12}


def test_counts_without_a_registration_are_not_counted_upon(bench: Bench) -> None:
    bench.write(a_sign("play"))
    bench.loop.run(bench.client.delete(key.REGISTRATION))
    assert is_told_to_rebuild(bench)


def test_a_full_redis_is_waited_for_and_nothing_is_half_done(bench: Bench) -> None:
    bench.write(a_sign("play"))
    before = bench.holds()
    bench.loop.run(bench.client.config_set("maxmemory", "1mb"))
    try:
        with pytest.raises(SinkUnavailable, match="maxmemory"):
            bench.write(a_sign("play", session=2), a_sign("play", session=1, content=2))
        assert bench.holds() == before
    finally:
        bench.loop.run(bench.client.config_set("maxmemory", "0"))
    bench.write(a_sign("play", session=2))
    assert bench.views() == {(content_of(1), NOW // HOUR): 2}


@pytest.mark.parametrize(
    "name",
    [key.viewers(content_of(2)), key.views(NOW // HOUR), key.LIVE, key.TOTALS, key.POSITIONS, key.REGISTRATION],
)
def test_a_key_of_another_kind_is_found_before_the_first_write(bench: Bench, name: str) -> None:
    bench.loop.run(bench.client.delete(name))
    bench.loop.run(bench.client.rpush(name, "not ours"))
    before = bench.holds()
    with pytest.raises((SinkRefused, SinkFenced)):
        bench.write(a_sign("play", content=1), a_sign("play", session=2, content=2))
    assert bench.holds() == before


def test_a_redis_that_drops_keys_at_will_is_refused(bench: Bench) -> None:
    bench.loop.run(bench.client.config_set("maxmemory-policy", "allkeys-lru"))
    try:
        with pytest.raises(SinkRefused, match="noeviction"):
            bench.open()
    finally:
        bench.loop.run(bench.client.config_set("maxmemory-policy", "noeviction"))


def test_a_wrong_password_is_refused_and_no_server_is_waited_for(bench: Bench) -> None:
    for url, error in (
        (f"redis://:wrong@{bench.url.rpartition('@')[2]}", SinkRefused),
        ("redis://127.0.0.1:1", SinkUnavailable),
        ("http://127.0.0.1:1", SinkRefused),
    ):
        sink = Counters(url, RedisSettings(), bench.data_dir, FileDisk(), bench.clock)
        with pytest.raises(error):
            bench.loop.run(sink.open())
        bench.loop.run(sink.close())


# ── kill -9 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("loses_tail", [False, True], ids=["killed", "killed and its last second lost"])
def test_counts_are_exact_though_valkey_is_killed_again_and_again(tmp_path: Path, loses_tail: bool) -> None:
    asyncio.run(_killed(tmp_path, random.Random(7), loses_tail))


async def _killed(tmp_path: Path, rng: random.Random, loses_tail: bool) -> None:
    server = EmbeddedValkey(tmp_path)
    url = await server.start()
    clock, disk, stop = SystemClock(), FileDisk(), asyncio.Event()
    sink = Counters(url, RedisSettings(), tmp_path, disk, clock)
    appender = Appender(tmp_path / "spool", disk, clock, SpoolSettings())
    appender.start()
    sent: list[Sign] = []
    log = tmp_path / "valkey" / "appendonlydir"
    try:
        async with asyncio.TaskGroup() as running:
            running.create_task(appender.run())
            draining = running.create_task(
                drain.run(
                    sink, tmp_path, batch_max_bytes=40_000, batch_interval_ms=5, clock=clock, disk=disk, stop=stop, derivable=True
                )
            )  # fmt: skip
            for _ in range(4):
                await _send(appender, clock, rng, sent, requests=120)
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await server.wait()
                if loses_tail:
                    _lose_tail(log, rng)
                await _send(appender, clock, rng, sent, requests=30)
                await server.start()
            appender.close()
            for _ in range(600):
                await asyncio.sleep(0.05)
                async with asyncio.timeout(10):
                    done = await _counted_rows(url)
                if done == len(sent):
                    break
            stop.set()
            await draining
        client = connect(url)
        now_us = clock.now_us()
        assert await views.all_by_hour(client, now_us) == expected_views(sent, now_us)
        assert (await views.counted(client)).views == sum(expected_views(sent, now_us).values())
        live = {content: len(sessions) for content, sessions in expected_viewers(sent, now_us).items()}
        assert await viewers.everywhere(client, now_us) == live
        assert live
        await client.aclose()
    finally:
        await server.stop()


async def _send(appender: Appender, clock: SystemClock, rng: random.Random, sent: list[Sign], requests: int) -> None:
    for _ in range(requests):
        now_us = clock.now_us()
        signs = [
            a_sign(
                rng.choice(["play", "play", "heartbeat", "stop"]),
                session=rng.randrange(400),
                content=rng.randrange(5),
                occurred_us=now_us - rng.choice([0, 0, rng.randrange(3 * DAY)]) - rng.randrange(SECOND),
                received_us=now_us,
            )
            for _ in range(20)
        ]
        bodies = [
            FrameBody(kind, 0, 1, 0, [row(sign) for sign in of_kind], 0)
            for kind, of_kind in (
                (KIND_PLAYBACK, [sign for sign in signs if sign.kind != "heartbeat"]),
                (KIND_SIGNAL, [sign for sign in signs if sign.kind == "heartbeat"]),
            )
            if of_kind
        ]
        await appender.append(bodies, now_us, 0, {})
        sent += signs


def _lose_tail(log: Path, rng: random.Random) -> None:
    """What a crash of the system may do to a log that is fsynced every second: its end is gone, cut in mid-command."""
    path = max(log.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    size_bytes = path.stat().st_size
    os.truncate(path, size_bytes - rng.randrange(size_bytes // 10, size_bytes // 3))


async def _counted_rows(url: str) -> int:
    client = connect(url)
    try:
        counted = await views.counted(client)
        return counted.rows + counted.signals
    finally:
        await client.aclose()
