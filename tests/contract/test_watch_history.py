"""Watch history on a real server: the newest sign stands, whatever the order, the company and the catalogue."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from storage.postgres import watch_history
from storage.watch import gathered
from tests.contract.connected import connected
from tests.contract.shelf import WAITING_S, Shelf, watch
from tests.signs import DAY, HOUR, NOW, SECOND, Sign, a_sign, a_slice, content_of, frames, profile_of
from tests.watched import Watched, expected_history

PEOPLE, TITLES = range(1, 6), range(1, 5)


def at(position_s: int | None, ago: int = SECOND, kind: str = "heartbeat", **changes: Any) -> Sign:
    return a_sign(kind, ago, **{"profile": 1, "position_s": position_s, **changes})


@pytest.fixture
def shelf(embedded_url: str) -> Iterator[Shelf]:
    it = Shelf(embedded_url)
    yield it
    it.close()


def test_a_row_is_what_the_platform_expects(shelf: Shelf) -> None:
    shelf.know([1], [1])
    shelf.watch(at(95, 2 * HOUR, duration_s=100))
    (row,) = shelf.ask("SELECT * FROM watch_history")
    assert row["content_type"] == "movie" and row["completed"] is True
    assert shelf.history() == {(1, 1): Watched(95, 100, NOW - 2 * HOUR, completed=True)}
    shelf.watch(at(3, HOUR))  # watched again
    assert shelf.history() == {(1, 1): Watched(3, 100, NOW - HOUR, completed=False)}
    assert [found["id"] for found in shelf.ask("SELECT id FROM watch_history")] == [row["id"]]


def some_signs(chance: random.Random, number: int) -> list[Sign]:
    signs = []
    for _ in range(number):
        broken = chance.random() < 0.2
        ago = chance.choice([0, 1, SECOND, HOUR, chance.randrange(3 * DAY)])
        skew_us = chance.choice([-20 * 365 * DAY, 3 * DAY]) if broken else 0
        signs.append(
            a_sign(
                chance.choice(["play", "pause", "heartbeat", "heartbeat", "completed", "error"]),
                occurred_us=NOW - ago + skew_us,
                received_us=NOW - chance.randrange(2) * SECOND,
                sent_us=NOW + skew_us if broken else None,
                session=chance.randrange(4),
                sequence=chance.choice([None, 1, 2, 3]),
                profile=chance.choice([None, *PEOPLE]),
                content=chance.choice(TITLES),
                position_s=chance.choice([None, 0, 90, 95, 100, 2**31 - 1]),
                duration_s=chance.choice([None, 0, 100, 105, 2**31 - 1]),
                test=chance.random() < 0.1,
            )
        )
    return signs


def in_batches(chance: random.Random, signs: Sequence[Sign]) -> Iterator[list[Sign]]:
    """In some order, some of them twice."""
    order = [*signs, *chance.sample(signs, len(signs) // 3)]
    chance.shuffle(order)
    while order:
        size = chance.randrange(1, 30)
        yield order[:size]
        del order[:size]


@pytest.mark.parametrize("seed", range(6))
def test_no_order_repetition_or_division_gives_another_table_whenever_the_catalogue_learns(
    shelf: Shelf, seed: int
) -> None:
    chance = random.Random(seed)
    shelf.know(PEOPLE[:3], TITLES[:2])
    signs = some_signs(chance, 300)
    late = {"people": list(PEOPLE[3:]), "titles": list(TITLES[2:])}
    for part in in_batches(chance, signs):
        shelf.watch(*part)
        if chance.random() < 0.1:
            shelf.adopt()
        for kind, unknown in late.items():
            if unknown and chance.random() < 0.1:
                shelf.know(**{kind: [unknown.pop()]})
    shelf.know(late["people"], late["titles"])
    shelf.adopt()
    assert shelf.history() == expected_history(signs)
    assert shelf.waiting() == {}
    assert shelf.adopt() == (0, 0)


def test_an_unknown_profile_or_content_waits_and_its_neighbours_do_not(shelf: Shelf) -> None:
    shelf.know([1], [1])
    signs = at(1), at(2, content=9), at(3, profile=9)
    shelf.watch(*signs)
    assert shelf.history() == expected_history(signs[:1])
    assert shelf.waiting() == expected_history(signs[1:])
    shelf.watch(at(7, 0, profile=9), at(1, HOUR, profile=9))
    assert shelf.waiting()[9, 1].position_s == 7
    shelf.know([9])
    shelf.watch(at(5, SECOND // 2, profile=9))  # newer than one of those that wait, older than the other
    assert shelf.adopt() == (1, 0)
    assert shelf.history()[9, 1].position_s == 7
    assert shelf.waiting().keys() == {(1, 9)}


def test_what_has_waited_for_a_fortnight_is_given_up_and_counted(shelf: Shelf) -> None:
    shelf.watch(at(1), at(2, profile=2))
    later = "UPDATE watch_history_waiting SET waiting_since = waiting_since - interval '7 days'"
    shelf.ask(later)
    shelf.watch(at(3, 0, profile=2))  # a newer sign waits anew
    assert shelf.adopt(datetime.now(UTC) + timedelta(days=999)) == (0, 0), "by the earlier of two clocks"
    shelf.ask(later)
    assert shelf.adopt(datetime.now(UTC) - timedelta(days=999)) == (0, 0)
    assert shelf.adopt() == (0, 1)
    assert shelf.waiting().keys() == {(2, 1)}


def test_more_than_one_transaction_of_waiting_signs_is_adopted(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_history, "ADOPTED_MAX", 3)
    monkeypatch.setattr(watch_history, "GIVEN_UP_MAX", 2)
    signs = [at(number, profile=number) for number in range(1, 9)]
    shelf.watch(*signs, *[at(1, content=77, profile=number) for number in range(1, 6)])
    shelf.know(range(1, 9), [1])
    shelf.ask("UPDATE watch_history_waiting SET waiting_since = now() - interval '15 days'")
    assert shelf.adopt() == (8, 5)
    assert shelf.history() == expected_history(signs)


Scene = Callable[[asyncpg.Connection], Awaitable[None]]


def beside(shelf: Shelf, begin: str, during: Scene, end: str) -> None:
    """`begin` in a transaction of another connection, then `during` on ours, then COMMIT or ROLLBACK of the other."""

    async def scene() -> None:
        async with connected(shelf.url) as other:
            await other.execute(f"BEGIN; {begin}")
            await during(shelf.connection)
            await other.execute(end)

    shelf.run(scene())


@pytest.mark.parametrize("known_before", [False, True])
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_profile_under_deletion_makes_nobody_wait_and_no_neighbour_fail(
    shelf: Shelf, known_before: bool, end: str
) -> None:
    shelf.know([1, 2], [1, 2])
    if known_before:
        shelf.watch(at(1, HOUR), at(1, HOUR, profile=2))

    async def during(connection: asyncpg.Connection) -> None:
        await connection.execute("SET statement_timeout = '60s'")  # it would wait for ever
        await watch(connection, at(5), at(6, profile=2), at(7, content=2))

    beside(shelf, f"DELETE FROM profiles WHERE id = '{profile_of(1)}'", during, end)
    assert shelf.history()[2, 1].position_s == 6
    assert {key: row.position_s for key, row in shelf.waiting().items()} == {(1, 1): 5, (1, 2): 7}
    gone = end == "COMMIT"
    assert shelf.adopt() == (0 if gone else 2, 0)
    positions = {key: row.position_s for key, row in shelf.history().items()}
    assert positions == ({(2, 1): 6} if gone else {(2, 1): 6, (1, 1): 5, (1, 2): 7})


def test_a_profile_whose_first_sign_is_being_written_is_deleted_after_it(shelf: Shelf) -> None:
    shelf.know([1], [1])

    async def scene() -> None:
        async with connected(shelf.url) as other:
            async with shelf.connection.transaction():
                await watch(shelf.connection, at(5))
                deleting = asyncio.create_task(other.execute("DELETE FROM profiles"))
                blocked = "SELECT count(*) FROM pg_stat_activity WHERE pg_blocking_pids(pid) = ARRAY[pg_backend_pid()]"
                while not await shelf.connection.fetchval(blocked):
                    assert not deleting.done()
                    await asyncio.sleep(0.01)
            await deleting

    shelf.run(scene())
    assert (shelf.history(), shelf.waiting()) == ({}, {})


def test_a_newer_sign_that_comes_while_an_older_one_is_adopted_is_not_lost(shelf: Shelf) -> None:
    shelf.watch(at(1, HOUR))
    shelf.know([1], [1])
    newer = gathered([a_slice(frames([at(2)]))])

    async def scene() -> None:
        async with connected(shelf.url) as other, other.transaction():
            await other.execute(watch_history.LEAVE_WAITING, newer)  # a node that did not know the profile yet
            await watch_history.adopt(shelf.connection, datetime.now(UTC), WAITING_S)

    shelf.run(scene())
    assert (shelf.history()[1, 1].position_s, shelf.waiting()[1, 1].position_s) == (1, 2)
    assert shelf.adopt() == (1, 0)
    assert (shelf.history()[1, 1].position_s, shelf.waiting()) == (2, {})


def test_nodes_that_meet_the_same_profiles_at_once_neither_stop_nor_lose(shelf: Shelf) -> None:
    shelf.know(PEOPLE[:3], TITLES[:2])
    chance = random.Random(6)
    told = [some_signs(chance, 400) for _ in range(4)]

    async def node(signs: list[Sign]) -> None:
        async with connected(shelf.url) as connection:
            for begin in range(0, len(signs), 20):
                await watch(connection, *signs[begin : begin + 20])
                if begin % 100 == 0:
                    await watch_history.adopt(connection, datetime.now(UTC), WAITING_S)

    async def all_at_once() -> None:
        await asyncio.gather(*map(node, told))

    shelf.run(all_at_once())
    shelf.know(PEOPLE[3:], TITLES[2:])
    shelf.adopt()
    assert shelf.history() == expected_history(sign for signs in told for sign in signs)


def test_rows_of_others_count_as_said_when_they_were_made(shelf: Shelf) -> None:
    shelf.know([1, 2], [1])
    shelf.ask(
        "INSERT INTO watch_history (profile_id, content_id, content_type, position, duration, watched_at, completed)"
        " VALUES ($1, $3, 'movie', 50, 100, now(), true), ($2, $3, 'movie', NULL, NULL, NULL, NULL)",
        profile_of(1), profile_of(2), content_of(1),
    )  # fmt: skip
    ahead_us = int((datetime.now(UTC) + timedelta(hours=1)).timestamp()) * SECOND
    later: dict[str, Any] = {"occurred_us": ahead_us, "received_us": ahead_us}
    shelf.watch(at(1), at(2, profile=2))  # of a year in which these tests' clock stands
    assert shelf.history()[1, 1][:2] == (50, 100)
    shelf.watch(at(3, **later), at(4, profile=2, **later))
    assert {key: row[:2] for key, row in shelf.history().items()} == {(1, 1): (3, 100), (2, 1): (4, 0)}


def test_popularity_counts_who_watched_and_who_finished(shelf: Shelf) -> None:
    shelf.know([1, 2, 3], [1])
    shelf.watch(*[at(position_s, profile=n, duration_s=100) for n, position_s in enumerate((94, 95, 100), 1)])
    shelf.watch(at(3, 0, profile=3, kind="play"))  # and begins again
    shelf.ask("REFRESH MATERIALIZED VIEW CONCURRENTLY content_popularity")
    (found,) = shelf.ask("SELECT unique_viewers, total_views, completion_rate::text FROM content_popularity")
    assert tuple(found) == (3, 3, "33.33")


def test_what_is_not_newer_is_not_written_and_an_update_of_what_waits_touches_no_index(shelf: Shelf) -> None:
    shelf.know([1], [1])
    shelf.watch(at(1), at(1, profile=2))

    async def scene() -> tuple[int, int, int]:
        async with shelf.connection.transaction():
            for sign in (at(2, 2 * SECOND), at(2, 2 * SECOND, profile=2)):
                await watch(shelf.connection, sign)
            assert await written("updated", "watch_history") == await written("updated", "watch_history_waiting") == 0
            await watch(shelf.connection, at(2, 0), at(2, 0, profile=2))
            return (
                await written("updated", "watch_history"),
                await written("updated", "watch_history_waiting"),
                await written("hot_updated", "watch_history_waiting"),
            )

    async def written(how: str, table: str) -> int:
        return int(await shelf.connection.fetchval(f"SELECT pg_stat_get_xact_tuples_{how}('{table}'::regclass)"))

    assert shelf.run(scene()) == (1, 1, 1)
