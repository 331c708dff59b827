"""Views in PostgreSQL on a real server: each once, in the hour of its earliest play, whatever becomes of its reader."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ingest.batch import KIND_PLAYBACK
from ingest.spool.disk import FileDisk
from storage.postgres import views
from storage.postgres.derived import Derived
from storage.sink import SinkFenced, SinkUnavailable, Slice
from tests.contract.connected import connected, migrated
from tests.contract.house import House, now, some_signs
from tests.signs import (
    DAY,
    HOUR,
    NOW,
    Sign,
    StoppedClock,
    a_frame,
    a_sign,
    a_slice,
    content_of,
    frames,
    row,
    session_of,
)

MEMORY_S = 35 * 86_400
WAITING_S = 14 * 86_400
THIS_HOUR = NOW // HOUR


class Hall:
    """A sink `derived` on a fresh schema, with a clock that stands at NOW."""

    def __init__(self, url: str, data_dir: Path) -> None:
        async def nothing(connection: asyncpg.Connection) -> None:
            """The schema is all that is wanted."""

        migrated(url, nothing)
        self.url, self.data_dir, self.clock = url, data_dir, StoppedClock()
        (data_dir / "spool").mkdir()
        self.loop = asyncio.Runner()
        self.sink = self.another()
        self.position = 0

    def another(self, kind: type[Derived] = Derived) -> Derived:
        sink = kind(self.url, self.data_dir, MEMORY_S, WAITING_S, FileDisk(), self.clock)
        self.loop.run(sink.open())
        return sink

    def slice(self, *signs: Sign) -> Slice:
        part = a_slice(frames(signs, self.position), self.position)
        self.position = part.state.sequence
        return part

    def write(self, *signs: Sign) -> None:
        self.loop.run(self.sink.write([self.slice(*signs)]))

    def ask(self, query: str, *arguments: Any) -> list[Any]:
        async def asking() -> list[Any]:
            async with connected(self.url) as connection:
                return list(await connection.fetch(query, *arguments))

        return self.loop.run(asking())

    def views(self) -> dict[tuple[int, int], int]:
        """(number of the content, hours before NOW) → views."""
        return {
            (found["content_id"].int & 0xFFFF, THIS_HOUR - int(found["hour"].timestamp()) // 3_600): found["views"]
            for found in self.ask("SELECT * FROM content_views_hourly WHERE views > 0")
        }

    def close(self) -> None:
        self.loop.run(self.sink.close())
        self.loop.close()


@pytest.fixture
def hall(embedded_url: str, tmp_path: Path) -> Iterator[Hall]:
    it = Hall(embedded_url, tmp_path)
    yield it
    it.close()


def test_a_late_earlier_play_moves_its_view_and_a_later_one_does_not(hall: Hall) -> None:
    hall.write(a_sign(), a_sign(session=2))
    assert hall.views() == {(1, 0): 2}
    hall.write(a_sign(ago=3 * HOUR), a_sign(ago=2 * HOUR))
    assert hall.views() == {(1, 0): 1, (1, 3): 1}
    hall.write(a_sign(ago=HOUR), a_sign(ago=HOUR, session=2))
    assert hall.views() == {(1, 3): 1, (1, 1): 1}


def test_what_is_sent_again_changes_nothing_and_tests_and_other_events_are_no_views(hall: Hall) -> None:
    signs = [a_sign(session=number, content=number % 3) for number in range(1_300)]  # more than one batch
    hall.write(*signs, a_sign("pause", session=5_000), a_sign(session=5_001, test=True))
    before = hall.views()
    assert sum(before.values()) == 1_300
    hall.write(*reversed(signs))
    assert hall.views() == before


def test_a_play_from_before_the_kept_hours_takes_its_view_out_of_them_and_is_remembered(hall: Hall) -> None:
    hall.write(a_sign(), a_sign(session=2, ago=33 * DAY))
    hall.write(a_sign(ago=33 * DAY), a_sign(session=2))
    assert hall.views() == {}
    assert [found["counted"] for found in hall.ask("SELECT counted FROM view_firsts")] == [False, False]


class KilledBeforeItsPositions(Derived):
    """Its server process ends between the views and the positions."""

    async def _move_positions(self, connection: asyncpg.Connection, slices: Sequence[Slice]) -> None:
        async with connected(self._url) as other:
            await other.execute("SELECT pg_terminate_backend($1, 5000)", connection.get_server_pid())
        await super()._move_positions(connection, slices)


def test_views_and_positions_are_there_together_or_not_at_all(hall: Hall) -> None:
    killed, part = hall.another(KilledBeforeItsPositions), hall.slice(a_sign())
    with pytest.raises(SinkUnavailable):
        hall.loop.run(killed.write([part]))
    assert (hall.views(), hall.loop.run(hall.sink.open())) == ({}, {})
    hall.loop.run(hall.sink.write([part]))
    assert hall.views() == {(1, 0): 1}


def test_of_two_readers_at_one_position_the_second_is_fenced_and_counts_nothing(hall: Hall) -> None:
    other, part = hall.another(), hall.slice(a_sign())
    hall.loop.run(hall.sink.write([part]))
    with pytest.raises(SinkFenced):
        hall.loop.run(other.write([a_slice([a_frame([row(a_sign(session=9))], 0, KIND_PLAYBACK)])]))
    assert hall.views() == {(1, 0): 1}


def test_nodes_that_count_the_same_sessions_at_once_come_to_the_right_sums(hall: Hall) -> None:
    async def node(number: int) -> None:
        sink, position = Derived(hall.url, hall.data_dir, MEMORY_S, WAITING_S, FileDisk(), hall.clock), 0
        await sink.open()
        for turn in range(6):
            order = range(60) if number % 2 else range(59, -1, -1)  # against each other
            signs = [a_sign(ago=((turn + number + at) % 8) * HOUR, session=at, content=at % 5) for at in order]
            part = a_slice(frames(signs, position), position, f"{number:032x}")
            await sink.write([part])
            position = part.state.sequence
        await sink.close()

    async def all_at_once() -> None:
        await asyncio.gather(*map(node, range(4)))

    hall.loop.run(all_at_once())
    expected: dict[tuple[int, int], int] = {}
    for at in range(60):
        first = max((turn + number + at) % 8 for turn in range(6) for number in range(4))
        expected[at % 5, first] = expected.get((at % 5, first), 0) + 1
    assert hall.views() == expected


def test_views_are_forgotten_after_their_memory_and_their_sums_stay(hall: Hall) -> None:
    hall.write(a_sign(), a_sign(session=2))
    hall.ask("UPDATE view_firsts SET seen_at = now() - interval '40 days' WHERE session_id = $1", session_of(2))

    async def forgetting() -> int:
        async with connected(hall.url) as connection:
            return await views.forget(connection, await connection.fetchval("SELECT now() - interval '35 days'"))

    assert hall.loop.run(forgetting()) == 1
    assert (len(hall.ask("SELECT FROM view_firsts")), hall.views()) == (1, {(1, 0): 2})


@pytest.fixture
def house(embedded_url: str, valkey_url: str, tmp_path: Path) -> Iterator[House]:
    async def nothing(connection: asyncpg.Connection) -> None:
        """The schema is all that is wanted."""

    migrated(embedded_url, nothing)
    with House(tmp_path, embedded_url, valkey_url) as it:
        yield it


def sums(house: House) -> dict[tuple[Any, int], int]:
    async def reading() -> dict[tuple[Any, int], int]:
        async with connected(house.postgres_url) as connection:
            found = await connection.fetch("SELECT * FROM content_views_hourly WHERE views > 0")
        return {(one["content_id"], int(one["hour"].timestamp()) // 3_600): one["views"] for one in found}

    return house.run(reading())


def derived(house: House) -> Derived:
    return Derived(house.postgres_url, house.data.root, MEMORY_S, WAITING_S, house.disk, house.clock)


def test_a_database_whose_spool_is_gone_is_counted_from_its_rows_and_then_by_frames(house: House) -> None:
    rng = random.Random(13)
    house.post(*some_signs(rng, 600))
    house.deliver()
    house.bury(0)  # before there was a reader of views
    later = house.another_collector()
    house.post(*some_signs(rng, 300), collector=later)
    house.deliver()
    house.deliver(derived(house))
    assert sums(house) == house.views()
    house.post(*some_signs(rng, 300), now(content=3), collector=later)
    house.deliver()
    house.deliver(derived(house))
    assert sums(house) == house.views() and (content_of(3), house.clock.now_us() // HOUR) in sums(house)


def test_a_reader_that_was_cut_loose_comes_back_by_the_rows_of_the_store(house: House) -> None:
    rng = random.Random(14)
    house.post(*some_signs(rng, 200))
    house.deliver(house.postgres, house.redis, derived(house))
    house.post(*some_signs(rng, 200))
    house.deliver()
    house.bury(0)
    house.deliver(derived(house))
    assert sums(house) == house.views()
