"""Watch history by its reader: what frames say and what stored rows say is the same history, through every break."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from storage.postgres.derived import ADOPT_INTERVAL_S, Derived
from storage.sink import SinkUnavailable
from tests.contract.connected import connected
from tests.contract.house import House, now, some_signs
from tests.contract.shelf import WAITING_S, Shelf
from tests.signs import DAY, HOUR, Sign
from tests.watched import expected_history

MEMORY_S = 35 * 86_400


@pytest.fixture
def shelf(embedded_url: str) -> Iterator[Shelf]:
    it = Shelf(embedded_url)
    it.know(range(4), range(7))
    yield it
    it.close()


@pytest.fixture
def house(shelf: Shelf, valkey_url: str, tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, shelf.url, valkey_url) as it:
        yield it


def derived(house: House, kind: type[Derived] = Derived) -> Derived:
    return kind(house.postgres_url, house.data.root, MEMORY_S, WAITING_S, house.disk, house.clock)


def some_watching(chance: random.Random, number: int) -> list[Sign]:
    """Of a few profiles, from now to weeks ago, by all kinds of clocks."""
    return [
        replace(
            sign,
            kind=chance.choice([sign.kind, "completed", "error"]) if chance.random() < 0.3 else sign.kind,
            profile=chance.choice([None, 0, 1, 2, 3]),
            position_s=chance.choice([None, 0, 90, 95, 100]),
            duration_s=chance.choice([None, 0, 100, 105]),
            sequence=chance.choice([None, 1, 2]),
        )
        for sign in some_signs(chance, number)
    ]


def rows_among(signs: Sequence[Sign]) -> list[Sign]:
    """Heartbeats are no rows."""
    return [sign for sign in signs if sign.kind != "heartbeat"]


def test_what_frames_say_is_in_the_table_and_heartbeats_with_it(house: House, shelf: Shelf) -> None:
    sink = derived(house)
    house.deliver(sink)
    signs = some_watching(random.Random(21), 600)
    house.post(*signs)
    house.deliver(sink)
    assert shelf.history() == expected_history(signs)


def test_what_is_only_in_stored_rows_is_read_from_them_and_frames_go_on_from_there(house: House, shelf: Shelf) -> None:
    chance = random.Random(22)
    gone, later = some_watching(chance, 600), some_watching(chance, 200)
    house.post(*gone)
    house.deliver(house.postgres)
    house.bury(0)  # before there was a reader of watch history
    collector = house.another_collector()
    house.deliver(derived(house))
    assert shelf.history() == expected_history(rows_among(gone))
    house.post(*later, collector=collector)
    house.deliver(derived(house))
    assert shelf.history() == expected_history([*rows_among(gone), *later])


def test_stored_rows_of_the_unknown_wait_as_frames_do(house: House, shelf: Shelf) -> None:
    signs = [now(profile=8, position_s=3), now(profile=1, content=1, ago=HOUR), now("error", profile=2)]
    house.post(*signs)
    house.deliver(house.postgres)
    house.bury(0)
    house.deliver(derived(house))
    assert (shelf.history(), shelf.waiting()) == (expected_history(signs[1:]), expected_history(signs[:1]))


class KilledBeforeItsPositions(Derived):
    """Its server process ends between watch history and the positions."""

    async def _move_positions(self, connection: asyncpg.Connection, *_: object) -> None:
        async with connected(self._url) as other:
            await other.execute("SELECT pg_terminate_backend($1, 5000)", connection.get_server_pid())
        await connection.execute("SELECT 1")


def test_history_and_positions_are_there_together_or_not_at_all(house: House, shelf: Shelf) -> None:
    house.deliver(derived(house))
    signs = [now(profile=1, content=1, ago=HOUR), now(profile=9, ago=DAY)]
    house.post(*signs)
    with pytest.raises(SinkUnavailable):
        house.deliver(derived(house, KilledBeforeItsPositions))
    assert shelf.history() | shelf.waiting() == {}
    house.deliver(derived(house))
    assert shelf.history() | shelf.waiting() == expected_history(signs)


def test_the_reader_adopts_what_the_catalogue_has_learnt_also_while_nothing_comes(house: House, shelf: Shelf) -> None:
    signs = [now(profile=9), now(profile=1, content=1)]
    house.post(*signs)
    house.deliver(house.postgres)
    sink = derived(house)
    house.deliver(sink)
    shelf.know([9])

    async def idle() -> None:
        await sink.open()
        sink._adopt_at_s -= ADOPT_INTERVAL_S
        await sink.write([])
        await sink.close()

    house.run(idle())
    assert (shelf.history(), shelf.waiting()) == (expected_history(signs), {})
