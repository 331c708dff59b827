"""Positions move with their effects, all or nothing; a Redis that is lost, full, away or not ours is said to be so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import RedisSettings
from ingest.spool.disk import FileDisk
from ingest.spool.ending import Ending, write_ending
from ingest.spool.frame import Totals
from storage.redis import key
from storage.redis import sign as product
from storage.redis.counters import APPLY_SHA1, Counters, CountersReplaced, RebuildNeeded
from storage.sink import SinkFenced, SinkLost, SinkRefused, SinkUnavailable
from tests.contract.counting import Bench
from tests.signs import HOUR, INCARNATION, NOW, a_frame, a_sign, a_slice, content_of, expected_views, frames, row

OTHER = "0c" * 16


@pytest.fixture
def bench(valkey_url: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(valkey_url, tmp_path) as result:
        yield result


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


def test_a_flushed_redis_is_opened_again_and_starts_from_0_while_the_spool_is_whole(bench: Bench) -> None:
    bench.write(a_sign("play"))
    bench.loop.run(bench.client.flushall())
    with pytest.raises(CountersReplaced):
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


def test_a_redis_that_is_flushed_while_nothing_arrives_is_noticed_all_the_same(bench: Bench) -> None:
    bench.open()
    bench.loop.run(bench.sink.write([]))
    bench.loop.run(bench.client.flushall())
    with pytest.raises(SinkUnavailable):
        bench.loop.run(bench.sink.write([]))


def test_a_lost_redis_is_off_when_segments_are_gone(bench: Bench) -> None:
    bench.loop.run(bench.client.flushall())
    a_spool(bench.data_dir, 500, 900)
    assert is_told_to_rebuild(bench)


def test_a_lost_redis_is_off_when_an_incarnation_is_gone(bench: Bench) -> None:
    bench.loop.run(bench.client.flushall())
    a_spool(bench.data_dir, 0)
    a_tombstone(bench.data_dir, 1)
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


def test_a_damaged_tombstone_is_a_gap_only_where_nothing_says_that_it_was_read(bench: Bench) -> None:
    bench.write(a_sign("play"))
    a_tombstone(bench.data_dir, 12)
    path = bench.data_dir / "spool" / "tombstones" / OTHER
    path.write_bytes(path.read_bytes()[:-3])
    assert is_told_to_rebuild(bench)
    bench.loop.run(bench.client.hset(key.POSITIONS, OTHER, 0))
    assert is_told_to_rebuild(bench), "of a position of 0 nothing was read"
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
    [
        *(key.viewers(content_of(2)), key.views(NOW // HOUR), key.LIVE),
        *(key.SAMPLES, key.TOTALS, key.POSITIONS, key.REGISTRATION),
    ],
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
