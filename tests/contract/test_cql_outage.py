"""A CQL server that stands still, or is away for a while: lag and nothing else, and never a blocked event loop."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.scylla import ScyllaSettings
from gateway.cql import CassandraMissing, Plan, Ring
from gateway.cql.ring import free_ports
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.tuple import event_key
from storage import drain, reader_status
from storage.scylla.driver import CqlError, CqlGone, CqlTimeout, connected
from tests.conftest import left_out
from tests.contract.cql_store import CqlStore, empty, make
from tests.spooled import Collector

pytestmark = pytest.mark.alone

LATE_MAX_S = 0.25
"""What the event loop beside a drain whose cluster does not answer may be late by, but for waits for a processor."""
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def own_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One node of this file's own."""
    port, storage_port = free_ports(Plan().addresses)
    made = Ring(tmp_path_factory.mktemp("ring"), Plan(1, port, storage_port))
    try:
        made.start(is_tied=True)
    except CassandraMissing as missing:
        left_out(str(missing))
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def own_keyspace(own_ring: Ring) -> ScyllaSettings:
    settings = ScyllaSettings(
        contact_points=own_ring.contact_points,
        port=own_ring.plan.port,
        replication=1,
        keyspace="test_outage",
        request_timeout_ms=1_000,
        connect_timeout_ms=1_000,
    )
    asyncio.run(make(settings))
    return settings


@pytest.fixture(params=["acsylla", "cassandra"])
def store(request: pytest.FixtureRequest, own_keyspace: ScyllaSettings, tmp_path: Path) -> CqlStore:
    asyncio.run(empty(own_keyspace))
    return CqlStore(msgspec.structs.replace(own_keyspace, driver=request.param), tmp_path)


class Ticker:
    """How late the event loop was at most, what this process waited for a processor not counted."""

    late_s = 0.0

    async def run(self) -> None:
        waited_s = waited_for_processor_s()
        while True:
            until_s = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            late_s, before_s = time.monotonic() - until_s, waited_s
            waited_s = waited_for_processor_s()
            self.late_s = max(self.late_s, late_s - max(waited_s - before_s, 0.0))


def waited_for_processor_s() -> float:
    """All threads, so far."""
    waited_s = 0.0
    for thread in Path("/proc/self/task").iterdir():
        try:
            waited_s += int((thread / "schedstat").read_text("ascii").split()[1]) / 1e9
        except (OSError, IndexError):  # it ended just now
            continue
    return waited_s


def state_of(store: CqlStore) -> str:
    status = reader_status.read(store.data_dir, "scylla")
    return status.state if status is not None else ""


async def eventually(holds: Callable[[], Any]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s
        await asyncio.sleep(0.05)


def through(store: CqlStore, ring: Ring, away: Callable[[Ring], None], back: Callable[[Ring], None]) -> float:
    """Deliver while the server goes away and comes back; how late the event loop was. All is there in the end."""
    collector = Collector(store.data_dir)
    ticker = Ticker()

    async def main() -> None:
        stop = asyncio.Event()

        def is_delivered() -> bool:
            status = reader_status.read(store.data_dir, "scylla")
            return status is not None and status.positions.get(collector.name) == collector.sequence

        async with asyncio.TaskGroup() as running:
            ticking = running.create_task(ticker.run())
            running.create_task(
                drain.run(
                    store.sink(),
                    store.data_dir,
                    batch_max_bytes=store.settings.batch_max_bytes,
                    batch_interval_ms=20,
                    clock=SystemClock(),
                    disk=FileDisk(),
                    stop=stop,
                )
            )
            await asyncio.to_thread(collector.append, 20, 50)
            await eventually(is_delivered)
            await asyncio.to_thread(away, ring)
            for _ in range(12):
                await asyncio.to_thread(collector.append, 20, 50)
                await asyncio.sleep(0.5)
            await eventually(lambda: state_of(store) == "waiting")
            await asyncio.to_thread(back, ring)
            await eventually(is_delivered)
            assert state_of(store) == "running"
            stop.set()
            ticking.cancel()

    asyncio.run(main())
    collector.end()
    rows = asyncio.run(store.rows())
    assert len(rows) == 13 * 20 * 50 and set(map(event_key, rows)) == collector.keys
    asyncio.run(store.check())
    return ticker.late_s


def test_a_server_that_stands_still_is_only_lag(store: CqlStore, own_ring: Ring) -> None:
    (node,) = own_ring.nodes
    late_s = through(store, own_ring, lambda _: node.freeze(), lambda _: node.resume())
    assert late_s < LATE_MAX_S


def test_a_server_that_is_killed_and_comes_back_is_only_lag(store: CqlStore, own_ring: Ring) -> None:
    (node,) = own_ring.nodes
    late_s = through(store, own_ring, lambda _: node.kill(), lambda ring: ring.start(is_tied=False))
    assert late_s < LATE_MAX_S


def test_a_write_that_nobody_answers_is_never_taken_for_done(store: CqlStore, own_ring: Ring) -> None:
    """By the driver itself: a sink over one that did would lose rows wherever the move of the positions got through."""
    (node,) = own_ring.nodes

    async def scenario() -> None:
        driver = await connected(store.settings)
        prepared = await driver.prepare("INSERT INTO clock_repairs_by_day (raw_day, bucket, event_id) VALUES (?, ?, ?)")
        values = [("int", bytes(4)), ("int", bytes(4)), ("uuid", bytes(16))]
        forms = [(driver.forms[kind], encoded) for kind, encoded in values]
        row = prepared, tuple(encoded if form is None else form(encoded) for form, encoded in forms)
        await driver.write([row])
        node.freeze()
        seen: set[type[CqlError]] = set()
        until_s = time.monotonic() + PATIENCE_S
        while not seen >= {CqlTimeout, CqlGone}:  # it is slow, then its connection is given up
            with pytest.raises(CqlError) as raised:
                await driver.write([row] * (1 + len(seen)))
            seen.add(type(raised.value))
            assert time.monotonic() < until_s, seen
            await asyncio.sleep(0.1)
        await driver.close()

    try:
        asyncio.run(scenario())
    finally:
        node.resume()
