"""A rebuild of the counters from CQL that was ended is gone on with: no row that was counted is read again, and what is
put into force is what one that nobody disturbed puts there. Where that cannot be, it begins anew and says why."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.scylla import ScyllaSettings
from gateway import counters_commands
from gateway.pin import read as read_pin
from gateway.play_rows import PIECES
from storage.redis import key
from storage.redis.rebuild import LEFT_S, Rebuild
from storage.scylla.scanning import RANGES
from tests.contract.house import now, some_signs
from tests.contract.test_cql_killed import stores_of_commands
from tests.contract.test_cql_readers import CqlHouse
from tests.contract.test_rebuild import expected, only_in_force
from tests.contract.test_rebuild_killed import PATIENCE_S, altered
from tests.signs import HOUR, SECOND, content_of

HOLD = 120 * SECOND
"""Longer than the pin of a rebuild that nobody can go on with."""


@pytest.fixture
def house(
    embedded_url: str, valkey_url: str, cql_settings: ScyllaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CqlHouse]:
    """Some hundred plays, delivered to everybody and counted wrong since; commands find the same stores."""
    stores_of_commands(embedded_url, valkey_url, cql_settings, tmp_path, monkeypatch)
    with CqlHouse(tmp_path, embedded_url, valkey_url, cql_settings) as made:
        chance = random.Random(1)
        made.post(*(now(session=chance.randrange(10**6), content=chance.randrange(5)) for _ in range(500)))
        made.post(*some_signs(chance, 200))
        made.deliver(made.postgres, made.ads, made.redis, made.derived)
        yield made


def scans(house: CqlHouse) -> int:
    """Reads of ranges of the table of record, as Cassandra counts them."""
    found = house.cql('SELECT keyspace_name, table_name, "count" FROM system_views.coordinator_scan_latency')
    keyspace = house.settings.scylla.keyspace
    return sum(many for *table, many in found if table == [keyspace, "events_by_session"])


def pieces(house: CqlHouse) -> int:
    """Counted whole by the rebuild under way."""
    return sum(name.startswith(key.PIECE) for name in house.redis_do("HKEYS", key.REBUILD_TOTALS))


def killed_in_the_middle(house: CqlHouse, least: int = PIECES // 3) -> int:
    """How many pieces a rebuild had counted when it was killed."""
    with house.rebuilding() as killed:
        until_s = time.monotonic() + PATIENCE_S
        while pieces(house) < least:
            assert killed.poll() is None and time.monotonic() < until_s
        killed.kill()
    done = pieces(house)
    assert least <= done < PIECES
    return done


def said(house: CqlHouse) -> list[str]:
    """By a rebuild that comes to its end."""
    lines: list[str] = []
    done = counters_commands.rebuild(house.data, house.settings, house.postgres_url, house.redis_url, lines.append)
    lines.append(f"{house.run(done).plays} plays")
    return lines


def in_force(house: CqlHouse) -> dict[str, object]:
    """All that a rebuild puts there."""
    registration = house.redis_do("GET", key.REGISTRATION)
    names = house.keys("view:*")
    hours = house.run(house.client.mget(names))
    assert only_in_force(house) and {key.view_generation(name) for name in names} == {key.generation_of(registration)}
    return {
        "views": house.views(),
        "first plays": {name[-32:]: hour for name, hour in zip(names, hours, strict=True)},
        "positions": house.redis_do("HGETALL", key.POSITIONS),
        "totals": house.redis_do("HGETALL", key.TOTALS),
    }


def is_held(house: CqlHouse) -> bool:
    """Whether the spool stays, though its rebuild is dead."""
    return read_pin(house.data, house.clock.now_us() + HOLD) is not None


def test_no_range_that_was_counted_is_read_again_and_the_counts_are_those_of_an_undisturbed_one(
    house: CqlHouse,
) -> None:
    begun = scans(house)
    *_, plays = said(house)
    whole, right = scans(house) - begun, in_force(house)
    assert right["views"] == expected(house) and whole == RANGES
    altered(house)
    done = killed_in_the_middle(house)
    again = killed_in_the_middle(house, done + 3)
    assert is_held(house)
    begun = scans(house)
    first, *_, last = said(house)
    assert first.startswith(f"goes on: {again} of {PIECES} pieces are counted")
    assert scans(house) - begun == RANGES * (PIECES - again) // PIECES
    assert last == plays, "what was read twice is one"
    assert in_force(house) == right
    assert not house.disk.list(house.data.rebuild) and not is_held(house)
    assert "goes on" not in said(house)[0], "one that is in force is over"


def test_what_came_meanwhile_is_counted_by_its_frames(house: CqlHouse) -> None:
    altered(house)
    killed_in_the_middle(house)
    house.post(*some_signs(random.Random(5), 200))
    house.deliver(house.postgres, house.ads)
    house.post(*some_signs(random.Random(6), 50))
    assert said(house)[0].startswith("goes on")
    house.deliver()
    assert house.views() == expected(house)


def test_a_pause_that_the_dead_one_read_makes_no_viewer(house: CqlHouse) -> None:
    watching = range(2_000_000, 2_000_200)
    house.post(*(now(session=one, ago=400 * SECOND) for one in watching))
    house.post(*(now("pause", session=one, ago=300 * SECOND) for one in watching))
    house.deliver(house.postgres, house.ads, house.derived)
    house.redis_do("FLUSHALL")
    killed_in_the_middle(house, PIECES // 2)
    assert said(house)[0].startswith("goes on")
    watched = house.viewers()
    house.post(*(now("heartbeat", session=one) for one in watching))
    house.deliver(house.redis)
    assert house.viewers() == watched


def test_one_that_is_stopped_with_its_gateway_is_gone_on_with(house: CqlHouse) -> None:
    altered(house)

    async def stopped() -> None:
        lines: list[str] = []
        one = counters_commands.rebuild(house.data, house.settings, house.postgres_url, house.redis_url, lines.append)
        running = asyncio.create_task(one)
        while not lines:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    house.run(stopped())
    assert is_held(house)
    assert said(house)[0].startswith("goes on")
    assert house.views() == expected(house)


def lose_redis(house: CqlHouse) -> None:
    house.redis_do("FLUSHALL")


def lose_the_registration(house: CqlHouse) -> None:
    house.redis_do("DEL", key.REBUILD_REGISTRATION)


def begin_another(house: CqlHouse) -> None:
    async def begun() -> None:
        other = Rebuild(house.redis_url, house.settings.redis, house.clock.now_us())
        await other.begin()
        await other.close()

    house.run(begun())


def write_over_it(house: CqlHouse) -> None:
    for name in (key.REBUILD_REGISTRATION, key.REBUILD_TOTALS):
        house.redis_do("DEL", name)
        house.redis_do("RPUSH", name, "not ours")


def let_the_spool_go(house: CqlHouse) -> None:
    house.post(*some_signs(random.Random(9), 50))
    house.deliver()
    house.bury(0)


def change_a_setting(house: CqlHouse) -> None:
    redis = type(house.settings.redis)(view_memory_s=34 * 86_400)
    house.settings = type(house.settings)(store="scylla", scylla=house.settings.scylla, redis=redis)


def damage_the_file(house: CqlHouse) -> None:
    (house.data.rebuild / "begun.json").write_bytes(b"{")


def let_a_day_pass(house: CqlHouse) -> None:
    path = house.data.rebuild / "begun.json"
    begun_us = int(path.read_text().partition('"now_us":')[2].partition(",")[0])
    path.write_text(path.read_text().replace(str(begun_us), str(begun_us - LEFT_S * SECOND)))


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (lose_redis, "Redis does not have it any more"),
        (lose_the_registration, "Redis does not have it any more"),
        (begin_another, "Redis does not have it any more"),
        (write_over_it, "Redis does not have it any more"),
        (let_the_spool_go, "the spool has let go of frames"),
        (change_a_setting, "the settings, the release or the store were others"),
        (damage_the_file, "cannot be read"),
        (let_a_day_pass, "within the last 24 hours"),
    ],
)
def test_it_begins_anew_where_it_cannot_go_on_and_says_why(
    house: CqlHouse, happens: Callable[[CqlHouse], None], why: str
) -> None:
    altered(house)
    killed_in_the_middle(house, 3)
    happens(house)
    begun = scans(house)
    first, *_ = said(house)
    assert first.startswith("begins anew: ") and why in first
    assert scans(house) - begun == RANGES
    house.deliver()
    assert house.views() == expected(house)
    assert only_in_force(house) and not house.disk.list(house.data.rebuild)


def test_one_that_was_overtaken_holds_nothing(house: CqlHouse) -> None:
    altered(house)
    with house.rebuilding() as overtaken:
        until_s = time.monotonic() + PATIENCE_S
        while not pieces(house):
            assert time.monotonic() < until_s
        begin_another(house)
        _, stderr = overtaken.communicate(timeout=PATIENCE_S)
    assert overtaken.returncode == 1 and "Another rebuild began" in stderr
    assert not is_held(house) and not house.disk.list(house.data.rebuild)


def test_plays_dated_ahead_when_it_was_nearly_done_are_put_into_force(house: CqlHouse) -> None:
    killed_in_the_middle(house, 1)
    path = house.data.rebuild / "begun.json"
    begun_us = int(path.read_text().partition('"now_us":')[2].partition(",")[0])
    path.write_text(path.read_text().replace(str(begun_us), str(begun_us - 20 * HOUR)))
    ahead = [now(session=3_000_000 + one, content=6, ago=-22 * HOUR) for one in range(PIECES * 4)]
    house.post(*ahead)
    house.deliver(house.postgres, house.ads)
    assert said(house)[0].startswith("goes on")
    house.deliver()
    assert house.views() == expected(house)
    assert max(hour for content, hour in house.views() if content == content_of(6)) == ahead[0].occurred_us // HOUR
