"""Everything at once, by seed."""

import asyncio
import random
from pathlib import Path
from uuid import UUID

import pytest

from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.tuple import event_id, event_key
from storage import drain
from storage.sink import SinkUnavailable
from tests.contract.connected import connected
from tests.contract.postgres_store import KilledAfterItsCommit, KilledBeforeItsPositions, Store, a_store, run
from tests.spooled import Collector, Spooled, a_row


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_in_whatever_order_the_table_holds_each_acceptable_event_once(store: Store, seed: int) -> None:
    chance = random.Random(seed)

    async def scenario() -> None:
        await store.execute("ALTER TABLE playback_events ADD CONSTRAINT sane CHECK (bitrate < 1000)")
        sent: list[bytes] = []
        first: dict[bytes, bytes] = {}
        incarnations = [Spooled() for _ in range(3)]
        sink = await store.opened(fingerprints_max=60)
        for _ in range(12):
            bodies: list[tuple[Spooled, list[bytes]]] = []
            for _ in range(chance.randrange(1, 6)):
                body = []
                for _ in range(chance.randrange(1, 12)):
                    bitrate = 5000 if chance.random() < 0.03 else 5
                    again = sent and chance.random() < 0.2
                    row = chance.choice(sent) if again else a_row(bitrate_kbps=bitrate, sequence=len(sent))
                    sent.append(row)
                    body.append(row)
                    if b"\x00\x00\x13\x88" not in row[90:]:
                        first.setdefault(event_id(row), row)
                bodies.append((chance.choice(incarnations), body))
            slices = [
                spooled.slice(*(body for owner, body in bodies if owner is spooled))
                for spooled in incarnations
                if any(owner is spooled for owner, _ in bodies)
            ]
            fate = chance.random()
            if fate < 0.25:  # killed on one side of the commit or the other, and settled by the position
                kind = KilledBeforeItsPositions if fate < 0.12 else KilledAfterItsCommit
                await sink.close()
                sink = await store.opened(kind, fingerprints_max=60)
                with pytest.raises(SinkUnavailable):
                    await sink.write(slices)
                sink = await store.opened(fingerprints_max=60)
                positions = await sink.open()
                slices = [one for one in slices if positions.get(one.incarnation, 0) == one.begin]
            await sink.write(slices)
        await sink.close()
        assert await store.rows() == sorted(first.values()), f"{seed=}"
        await store.check()
        books = await store.books()
        assert sum(one.rows for one in books) == len(sent)
        assert sum(sum(one.dead.values()) for one in books) + sum(one.duplicate for one in books) == len(sent) - len(
            first
        )

    run(scenario)


def test_a_drain_whose_connections_are_cut_again_and_again_delivers_every_event_once(
    store: Store, tmp_path: Path
) -> None:
    async def scenario() -> None:
        chance, stop = random.Random(1), asyncio.Event()
        collectors = [Collector(tmp_path) for _ in range(2)]
        running = asyncio.create_task(
            drain.run(
                store.sink(), tmp_path, batch_max_bytes=20_000, batch_interval_ms=5, clock=SystemClock(),
                disk=FileDisk(), stop=stop, chance=lambda: 0.01,
            )
        )  # fmt: skip
        async with connected(store.url) as other:
            for _ in range(60):
                chance.choice(collectors).append(chance.randrange(1, 9), rows=chance.randrange(1, 30))
                await asyncio.sleep(0.01)
                if chance.random() < 0.4:
                    await other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                        "AND application_name LIKE '%drain'"
                    )
            positions = {UUID(hex=one.name): one.sequence for one in collectors}
            async with asyncio.timeout(30):
                while dict(await other.fetch("SELECT incarnation, sequence FROM ingest_positions")) != positions:
                    await asyncio.sleep(0.05)
        stop.set()
        await running
        assert {event_key(row) for row in await store.rows()} == collectors[0].keys | collectors[1].keys
        assert len(await store.rows()) == sum(len(one.keys) for one in collectors)
        books = await store.books()
        assert sum(one.duplicate for one in books) == 0
        await store.check()

    run(scenario)
