"""PostgreSQL is killed by SIGKILL under a reader that waits for no commit: sums and position go back together."""

import asyncio
import os
import random
import signal
from pathlib import Path

import asyncpg

from gateway.embedded import EmbeddedPostgres
from ingest.spool.disk import FileDisk
from storage.postgres.derived import Derived
from storage.sink import Slice
from tests.contract.connected import connected, migrated
from tests.signs import DAY, HOUR, INCARNATION, Sign, StoppedClock, a_sign, a_slice, expected_views, frames

KILLS = 3
WRITES = 25


def test_sums_are_exact_though_postgresql_is_killed_before_its_commits_are_on_disk(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    loop = asyncio.Runner()
    server = EmbeddedPostgres(tmp_path)
    try:
        url = loop.run(server.start())
        migrated(url, _nothing)
        loop.run(_killed(server, url, tmp_path, random.Random(7)))
    finally:
        loop.run(server.stop())
        loop.close()


async def _nothing(connection: asyncpg.Connection) -> None:
    """The schema is all that is wanted."""


async def _killed(server: EmbeddedPostgres, url: str, data_dir: Path, rng: random.Random) -> None:
    (data_dir / "spool").mkdir()
    clock = StoppedClock()
    parts: dict[int, Slice] = {}
    sent: list[Sign] = []
    until = 0
    for _ in range(KILLS * WRITES):
        signs = [
            a_sign(ago=rng.randrange(8) * HOUR, session=rng.randrange(80), content=rng.randrange(4)) for _ in range(20)
        ]
        parts[until] = a_slice(frames(signs, until), until)
        until = parts[until].state.sequence
        sent += signs
    sink, lost, behind = Derived(url, data_dir, 35 * DAY // 1_000_000, DAY, FileDisk(), clock), 0, 0
    for kill in range(KILLS + 1):
        position = (await sink.open()).get(INCARNATION, 0)
        lost += behind - position
        for turn in range(len(parts)):
            if position == until or (turn == WRITES and kill < KILLS):
                break
            await sink.write([parts[position]])
            behind = position = parts[position].state.sequence
        if kill < KILLS:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await server.wait()
            await server.start()
    await sink.close()
    assert position == until
    assert lost > 0, "no commit was lost, so nothing was tried"
    async with connected(url) as connection:
        found = await connection.fetch("SELECT * FROM content_views_hourly WHERE views > 0")
    counted = {(one["content_id"], int(one["hour"].timestamp()) // 3_600): one["views"] for one in found}
    assert counted == expected_views(sent, clock.now_us())
