"""PostgreSQL is killed by SIGKILL in the middle of merges: rows, figures and positions are of one mind behind it."""

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.embedded import EmbeddedPostgres
from storage.postgres import migration
from storage.postgres.writer import PostgresSink
from storage.sink import SinkUnavailable
from tests.ads import ads_frame, many_ads
from tests.contract.ads_store import check
from tests.contract.connected import connected
from tests.contract.postgres_store import Store
from tests.spooled import Spooled, rows_of

KILLS = 4
BATCH = 40


def test_every_ad_event_is_counted_once_though_postgresql_is_killed_while_it_merges(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    loop = asyncio.Runner()
    server = EmbeddedPostgres(tmp_path / "server")
    try:
        store = Store(loop.run(server.start()), tmp_path)
        loop.run(_killed(server, store, random.Random(3)))
    finally:
        loop.run(server.stop())
        loop.close()


async def _killed(server: EmbeddedPostgres, store: Store, chance: random.Random) -> None:
    async with connected(store.url) as connection:
        await migration.up(connection)
    sent, spooled, sink = many_ads(chance, impressions=150), Spooled(), await store.opened()
    parts = [spooled.slice(ads_frame(sent[begin : begin + BATCH]), rows_of(5)) for begin in range(0, len(sent), BATCH)]
    assert len(parts) > 3 * KILLS
    kill_at = chance.sample(range(1, len(parts)), KILLS)
    while parts:
        if len(parts) not in kill_at:
            await sink.write([parts.pop(0)])
            continue
        kill_at.remove(len(parts))
        await sink.close()
        if len(kill_at) % 2:  # behind the merge, before the position
            sink = await store.opened(KilledBehindItsMerge)
            with pytest.raises(SinkUnavailable):
                await sink.write([parts[0]])
        else:  # wherever it is by then
            sink = await store.opened()
            killing = asyncio.create_task(_kill_in(chance.uniform(0, 0.03), server))
            with suppress(SinkUnavailable):
                await sink.write([parts[0]])
            await killing
        await server.wait()
        await server.start()
        sink = store.sink()
        position = (await sink.open()).get(spooled.incarnation, 0)
        parts = [one for one in parts if one.state.sequence > position]
    await sink.close()
    await check(store, sent)


class KilledBehindItsMerge(PostgresSink):
    """SIGKILL ends all of its server before the positions move."""

    async def _move_positions(self, connection: asyncpg.Connection, *arguments: Any) -> None:
        postmaster = await connection.fetchval("SELECT pg_read_file('postmaster.pid')")
        _kill(postmaster.split()[0])
        _kill(connection.get_server_pid())  # which would go on for a moment without it
        await super()._move_positions(connection, *arguments)


async def _kill_in(wait_s: float, server: EmbeddedPostgres) -> None:
    await asyncio.sleep(wait_s)
    _kill(server.pid)


def _kill(pid: Any) -> None:
    os.kill(int(pid), signal.SIGKILL)
