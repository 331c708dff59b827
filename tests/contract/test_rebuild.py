"""A rebuild counts from the store what the signs that were sent come to, beside the counters, and only all at once."""

import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from gateway.counters_commands import CannotRebuild
from gateway.pin import read as read_pin
from ingest.clock import SystemClock
from storage.redis import key
from storage.redis.counters import RebuildNeeded
from storage.redis.rebuild import Rebuild, RebuildLost
from storage.redis.sign import Signs
from storage.sink import SinkUnavailable
from tests.contract.connected import migrated
from tests.contract.house import House, now, some_signs
from tests.signs import DAY, HOUR, SECOND, content_of, expected_views, row, session_of


async def schema_alone(_: asyncpg.Connection) -> None:
    """Nothing more is to be made."""


@pytest.fixture
def house(embedded_url: str, valkey_url: str, tmp_path: Path) -> Iterator[House]:
    migrated(embedded_url, schema_alone)
    with House(tmp_path, embedded_url, valkey_url) as made:
        yield made


def expected(house: House) -> dict[tuple[UUID, int], int]:
    """From what was sent, by a model that shares nothing with the product."""
    return expected_views(house.sent, house.clock.now_us())


def only_in_force(house: House) -> bool:
    """Nothing of a rebuild, and no view of an older generation, is left."""
    registration = house.redis_do("GET", key.REGISTRATION)
    generations = {key.view_generation(name) for name in house.keys("view:*")}
    return not house.keys("rebuild:*") and generations <= {key.generation_of(registration)}


@pytest.mark.parametrize("seed", range(6))
def test_a_lost_redis_is_counted_anew_whatever_was_sent_and_goes_on_from_there(house: House, seed: int) -> None:
    rng = random.Random(seed)
    house.post(*some_signs(rng, 300))
    second = house.another_collector()
    house.post(*some_signs(rng, 300), collector=second)
    house.deliver()
    assert house.views() == expected(house), "the counters themselves"
    house.bury(second)
    house.redis_do("FLUSHALL")
    with pytest.raises(RebuildNeeded):
        house.deliver(house.redis)
    house.post(*some_signs(rng, 100))
    house.deliver(house.postgres)
    cut = expected(house)
    third = house.another_collector()
    house.post(*some_signs(rng, 100), collector=third)  # neither of the stores has it
    house.rebuild()
    assert house.views() == cut
    house.deliver(house.redis)
    house.post(*some_signs(rng, 100))
    house.deliver()
    assert house.views() == expected(house)
    assert only_in_force(house)


def test_frames_behind_the_cut_that_were_counted_before_are_counted_once(house: House) -> None:
    rng = random.Random(11)
    house.post(*some_signs(rng, 200))
    house.deliver()
    house.post(*some_signs(rng, 200))
    house.deliver(house.redis)  # ahead of the store: the cut goes back behind these
    assert house.views() == expected(house)
    house.rebuild()
    assert house.views() != expected(house)
    house.deliver()
    assert house.views() == expected(house)


def test_frames_before_the_cut_that_were_not_counted_yet_are_counted_once(house: House) -> None:
    rng = random.Random(12)
    house.post(*some_signs(rng, 200))
    house.deliver()
    house.post(*some_signs(rng, 200))
    house.deliver(house.postgres)
    house.rebuild()
    assert house.views() == expected(house)
    house.deliver()
    assert house.views() == expected(house)


def test_wrong_counts_are_mended_and_what_somebody_else_wrote_is_gone(house: House) -> None:
    house.post(*some_signs(random.Random(13), 400))
    house.post(now(session=5_000, content=3), now(session=5_001, content=4))
    house.deliver()
    hours = sorted({hour for _, hour in expected(house)})
    house.redis_do("HINCRBY", key.views(hours[0]), str(content_of(1)), 7)
    house.redis_do("DEL", key.views(hours[1]))
    house.redis_do("DEL", key.views(hours[2]))
    house.redis_do("RPUSH", key.views(hours[2]), "not ours")
    house.redis_do("HSET", key.views(hours[-1] - 1), str(content_of(9)), 3)
    house.redis_do("DEL", key.LIVE)
    house.redis_do("RPUSH", key.LIVE, "not ours")
    house.redis_do("ZADD", key.viewers(content_of(3)), 9e9, b"a phantom that no sign ")
    house.redis_do("SET", key.viewers(content_of(4)), "not ours")
    house.rebuild()
    assert house.views() == expected(house)
    house.post(now(session=5_000, content=3), now(session=5_001, content=4))
    house.deliver()
    assert house.views() == expected(house)
    assert content_of(4) in house.viewers()
    assert house.redis_do("ZSCORE", key.viewers(content_of(3)), b"a phantom that no sign ") is None


@pytest.mark.parametrize("lost", ["DEL", "RPUSH"])
def test_a_registration_that_is_gone_or_no_longer_one_comes_back(house: House, lost: str) -> None:
    house.post(*some_signs(random.Random(14), 100))
    house.deliver()
    house.redis_do("DEL", key.REGISTRATION)
    if lost == "RPUSH":
        house.redis_do("RPUSH", key.REGISTRATION, "not ours")
    house.rebuild()
    house.post(*some_signs(random.Random(15), 50))
    house.deliver()
    assert house.views() == expected(house)
    assert house.redis_do("TTL", key.REGISTRATION) == -1


def test_what_redis_would_have_forgotten_is_not_read(house: House) -> None:
    at_us = house.clock.now_us()
    old = now(occurred_us=at_us - 40 * DAY, received_us=at_us - 36 * DAY, session=1)
    remembered = now(occurred_us=at_us - 34 * DAY, received_us=at_us - 34 * DAY, session=2)
    again = [now(session=session, occurred_us=at_us - 2 * HOUR) for session in (1, 2)]
    house.post(old, remembered, *again)
    house.deliver(house.postgres)
    house.rebuild()
    hour = (at_us - 2 * HOUR) // HOUR
    assert house.views() == {(content_of(1), hour): 1}, "of the remembered one the hour is kept no more"
    registration = house.redis_do("GET", key.REGISTRATION)
    memory_s = house.redis_do("TTL", key.view(session_of(2), content_of(1), registration))
    assert 23 * 3_600 < memory_s <= 35 * 86_400
    assert house.redis_do("TTL", key.view(session_of(1), content_of(1), registration)) > 34 * 86_400


def test_totals_go_on_from_what_the_store_was_given(house: House) -> None:
    house.post(now(), now("pause"), now("heartbeat"), now(test=True))
    house.deliver(house.postgres)
    house.rebuild()
    house.post(now(session=2), now("heartbeat"))
    house.deliver(house.redis)
    totals = house.redis_do("HGETALL", key.TOTALS)
    assert {name: int(value) for name, value in totals.items()} == {b"rows": 4, b"signals": 2, b"views": 2}


# ── live viewers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_viewers_of_before_stay(house: House) -> None:
    house.post(now(session=1), now("heartbeat", session=2), now("heartbeat", session=3), now("stop", session=3, ago=0))
    house.deliver()
    assert house.viewers() == {content_of(1): 2}
    house.rebuild()
    assert house.viewers() == {content_of(1): 2}
    house.deliver()
    assert house.viewers() == {content_of(1): 2}


def test_a_pause_outlives_the_loss_of_redis(house: House) -> None:
    """Who paused goes on sending heartbeats, and is no viewer."""
    house.post(now(session=1, ago=400 * SECOND), now(session=2, ago=400 * SECOND))
    house.post(now("pause", session=2, ago=300 * SECOND))
    house.deliver(house.postgres)
    house.rebuild()
    assert house.viewers() == {}
    house.post(now("heartbeat", session=1), now("heartbeat", session=2))
    house.deliver()
    assert house.viewers() == {content_of(1): 1}


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rebuild_that_another_one_overtook_puts_nothing_into_force(house: House) -> None:
    house.post(*some_signs(random.Random(16), 50))
    house.deliver()
    before = house.redis_do("GET", key.REGISTRATION)
    overtaken = house.run(_begun(house))
    house.rebuild()
    after = house.redis_do("GET", key.REGISTRATION)
    assert after != before
    with pytest.raises(RebuildLost):
        house.run(overtaken.switch({}, 0, 0, house.clock.now_us()))
    with pytest.raises(RebuildLost):
        house.run(overtaken.count(some_plays()))
    house.run(overtaken.close())
    assert house.redis_do("GET", key.REGISTRATION) == after
    assert house.views() == expected(house)


def test_what_a_dead_rebuild_left_is_gone_when_the_next_one_begins(house: House) -> None:
    dead = house.run(_begun(house))
    house.run(dead.count(some_plays()))
    house.run(dead.close())
    assert house.keys("view:*") and house.keys("rebuild:views:*")
    another = house.run(_begun(house))
    house.run(another.close())
    assert house.keys() == [key.REBUILD_REGISTRATION.encode()]
    assert 0 < house.redis_do("TTL", key.REBUILD_REGISTRATION) <= 86_400


def some_plays() -> Signs:
    rows = [row(now(session=session)) for session in range(5)]
    return Signs(b"".join(rows), list(accumulate(map(len, rows))), SystemClock().now_us())


async def _begun(house: House) -> Rebuild:
    rebuild = Rebuild(house.redis_url, house.settings.redis, house.clock.now_us())
    await rebuild.begin()
    return rebuild


def test_a_redis_that_lost_the_last_of_what_it_was_given_is_not_switched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.post(*some_signs(random.Random(17), 50))
    house.deliver()
    counted = house.views()

    async def switch(rebuild: Rebuild, *arguments: object) -> object:
        await house.client.hincrby(key.REBUILD_TOTALS, "rows", -1)
        return await kept(rebuild, *arguments)  # type: ignore[arg-type]

    kept = Rebuild.switch
    monkeypatch.setattr(Rebuild, "switch", switch)
    house.redis_do("HINCRBY", key.views(house.clock.now_us() // HOUR), str(content_of(9)), 1)
    with pytest.raises(CannotRebuild, match="lost what was written last"):
        house.rebuild()
    assert house.views() != counted, "the wrong counts are still in force"
    assert read_pin(house.data, house.clock.now_us()) is None
    monkeypatch.undo()
    house.rebuild()
    assert house.views() == counted
    assert only_in_force(house)


def test_a_piece_is_not_counted_whole_by_a_redis_that_lost_some_of_it(house: House) -> None:
    rebuild = house.run(_begun(house))
    house.run(rebuild.count(some_plays()))
    house.run(rebuild.counted(0))
    house.run(rebuild.count(some_plays()))
    house.redis_do("HINCRBY", key.REBUILD_TOTALS, "rows", -1)
    with pytest.raises(SinkUnavailable, match="lost what was written last"):
        house.run(rebuild.counted(1))
    another = Rebuild(house.redis_url, house.settings.redis, house.clock.now_us())
    assert house.run(another.go_on(rebuild.generation, house.clock.now_us())) == frozenset({0})
    with pytest.raises(RebuildLost):  # what the first one had on the way
        house.run(rebuild.count(some_plays()))
    house.run(another.count(some_plays()))
    house.run(another.counted(1))
    assert another.plays == 10
    for one in (rebuild, another):
        house.run(one.close())


def test_a_spool_without_what_is_behind_the_cut_is_said_and_nothing_changes(house: House) -> None:
    house.post(*some_signs(random.Random(18), 50))
    house.deliver()
    house.post(now())
    before = house.redis_do("GET", key.REGISTRATION)
    house.bury(0)
    with pytest.raises(CannotRebuild, match="let go of frames"):
        house.rebuild()
    assert house.redis_do("GET", key.REGISTRATION) == before
