"""`verify` holds Redis against what the spool delivered, where the tables alone cannot say what is right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import asyncpg
import pytest
import redis

from tests.acceptance.client import Book, an_event
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.acceptance.scene import settled
from tests.acceptance.verified import found, verify


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("verify-views")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as made:
        made.start()
        yield made.wait_ready()


def views_of(store: redis.Redis, content: str) -> dict[int, int]:
    """Hour since 1970 → views in Redis."""
    keys = store.scan_iter(match="{ingest}:views:*")
    return {int(key.rpartition(b":")[2]): int(views) for key in keys if (views := store.hget(key, content))}


def sums_of(gateway: Gateway, content: str) -> dict[int, int]:
    """The same in PostgreSQL."""

    async def reading() -> dict[int, int]:
        connection = await asyncpg.connect(gateway.endpoints["postgres"])
        try:
            found = await connection.fetch(
                "SELECT extract(epoch FROM hour)::bigint / 3600 AS hour, views FROM content_views_hourly"
                " WHERE content_id = $1::uuid AND views > 0",
                content,
            )
        finally:
            await connection.close()
        return {one["hour"]: one["views"] for one in found}

    return asyncio.run(reading())


def test_a_clock_that_says_2090_makes_a_view_of_tomorrow_at_the_latest_in_both_stores(gateway: Gateway) -> None:
    ahead = an_event(occurred_at="2090-01-01T00:00:00Z")
    book, begun_s = Book(), time.time()
    book.post(gateway.endpoints["http"], [ahead], sent_at=86_400_000)
    assert book.rows == {ahead["event_id"]}
    settled(gateway)
    with redis.Redis.from_url(gateway.endpoints["redis"]) as store:
        ((hour, views),) = views_of(store, ahead["content_id"]).items()
    assert views == 1
    assert sums_of(gateway, ahead["content_id"]) == {hour: 1}
    assert int(begun_s + 86_400) // 3600 <= hour <= int(time.time() + 86_400) // 3600
    code, report = verify(gateway)
    assert (code, report["differences"], report["notes"]) == (0, [], []), "the tables say the same hour"


def test_one_event_under_two_contents_is_a_note_and_a_changed_count_is_found_all_the_same(gateway: Gateway) -> None:
    book, first = Book(), an_event()
    second = an_event(event_id=first["event_id"], occurred_at=first["occurred_at"])
    for event in (first, second):
        book.post(gateway.endpoints["http"], [event])
    settled(gateway)
    code, report = verify(gateway)
    assert (code, report["differences"]) == (0, [])
    assert any(note.startswith("1 views differ from the tables: ") for note in report["notes"]), report["notes"]
    with redis.Redis.from_url(gateway.endpoints["redis"]) as store:
        (hour,) = views_of(store, second["content_id"])
        store.hincrby(f"{{ingest}}:views:{hour}", second["content_id"], 1)
        try:
            code, report = verify(gateway)
        finally:
            store.hincrby(f"{{ingest}}:views:{hour}", second["content_id"], -1)
    assert code == 1
    (where,) = found(report, "views")
    assert second["content_id"] in where


def test_a_damaged_tombstone_is_named(gateway: Gateway) -> None:
    path = gateway.data_dir / "spool" / "tombstones" / ("f" * 32)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"{}\n")
    try:
        code, report = verify(gateway)
    finally:
        path.unlink()
    assert code == 1
    assert found(report, "ending") == [path.name]
