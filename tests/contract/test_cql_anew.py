"""`cql begin-anew`: a lost keyspace on a directory that ran for long is left behind, and the books hold."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from config.scylla import ScyllaSettings
from gateway.cli import main
from ingest.spool.disk import FileDisk
from ingest.spool.retention import remove, sealed_segments
from ingest.tuple import event_key
from storage.feed import Feed
from storage.scylla.sink import ScyllaSink
from storage.sink import SinkLost
from tests.contract.cql_store import CqlStore, empty, run
from tests.spooled import Collector


@pytest.fixture
def store(cql_settings: ScyllaSettings, tmp_path: Path) -> CqlStore:
    return CqlStore(cql_settings, tmp_path)


async def deliver(feed: Feed, sink: ScyllaSink) -> None:
    """All there is."""
    feed.seat(await sink.open())
    feed.refresh()
    while slices := feed.read(1 << 20):
        await sink.write(slices)
        feed.delivered(slices)
    await sink.close()


def begin_anew(store: CqlStore, *arguments: str, said: str = "") -> tuple[int, str]:
    environment = {
        "INGEST_STORE": "scylla",
        "INGEST_DATA_DIR": str(store.data_dir),
        "INGEST_SCYLLA_KEYSPACE": store.settings.keyspace,
        "INGEST_SCYLLA_CONTACT_POINTS": store.settings.contact_points,
        "INGEST_SCYLLA_PORT": str(store.settings.port),
        "INGEST_SCYLLA_REPLICATION": str(store.settings.replication),
        "INGEST_SCYLLA_CONSISTENCY": store.settings.consistency,
    }
    ran = CliRunner().invoke(main, ["cql", "begin-anew", *arguments], env=environment, input=said)
    return ran.exit_code, ran.output


def test_a_directory_with_tombstones_goes_on_after_its_keyspace_was_lost(store: CqlStore) -> None:
    disk, spool = FileDisk(), store.data_dir / "spool"
    buried, cut, whole = (Collector(store.data_dir, segment_size_bytes=2_000) for _ in range(3))
    buried.append(3).end()
    for _ in range(6):
        cut.append()
    whole.append()

    async def live() -> None:
        await deliver(Feed(store.data_dir, disk), store.sink())

    run(live)
    bases = sorted(one.base for one in sealed_segments(disk, spool, 0) if one.incarnation == cut.name)
    gone = [
        one
        for one in sealed_segments(disk, spool, 0)
        if one.incarnation == buried.name or (one.incarnation == cut.name and one.base in bases[:2])
    ]
    remove(disk, spool, gone)

    async def lose() -> None:
        await empty(store.settings)
        with pytest.raises(SinkLost, match="cql begin-anew"):
            await store.opened()

    run(lose)
    assert begin_anew(store, said="n\n")[0] == 1
    run(lose)
    code, told = begin_anew(store, "--yes")
    assert code == 0, told

    async def go_on() -> None:
        feed = Feed(store.data_dir, disk)
        await deliver(feed, store.sink())
        begin = next(one.until for one in gone[::-1] if one.incarnation == cut.name)
        assert await store.positions() == {buried.name: 3, cut.name: 6, whole.name: 1}
        rows = {event_key(row) for row in await store.rows()}
        assert rows <= cut.keys | whole.keys and whole.keys <= rows
        assert len(rows) == 3 * (6 - begin) + 3
        books = await store.books()
        assert sum(one.quarantined.rows for one in books) == 9 + 3 * begin
        assert f"{9 + 3 * begin} events" in told
        await store.check()
        cut.append()
        await deliver(feed, store.sink())
        await store.check()

    run(go_on)
