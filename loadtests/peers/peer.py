"""What a peer is; one that runs, with a table of its own; and its measurement, as that of the gateway beside it.

A peer's table has the columns of `playback_events` and no key, in a schema of its own in the same database: a row costs
PostgreSQL less there than it does in the gateway's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import asyncpg

from loadtests.bench.client import Load, run_load
from loadtests.bench.gateway import CONNECTIONS
from loadtests.bench.request import RequestMint
from loadtests.peers.process import PeerProcess
from loadtests.procfs import cpu_s, machine_busy_s

SCHEMA: Final = "peers"  # dropped at the end
POLL_S: Final = 0.1
STILL_S: Final = 4.0  # no new row for so long: none comes any more


class Unavailable(Exception):
    """A peer cannot be had on this machine; the text says why."""


class Peer(Protocol):
    """Something that takes POSTs of /v1/events and stores their events. Every one here takes the bodies as they are."""

    name: str  # also of its table
    answer_means: str  # what a client may rely on once it was answered
    remark: str  # what differs from the gateway in what it takes and stores

    def prepare(self) -> None:
        """Build or install what it needs, once for all runs; raises Unavailable."""

    def table_sql(self, table: str) -> str:
        """What to alter of `table`, which has the gateway's columns and NOT NULLs, before it can write there."""

    def launch(self, dsn: str, table: str, directory: Path) -> PeerProcess:
        """Start it against that store; `directory` is its own, and kept over a restart."""


@dataclass(frozen=True, slots=True)
class Run:
    """One load upon one system and what became of it; `others_cpu_share`: of all cores, by the rest of the machine."""

    load: Load
    stored: int
    drained_s: float
    own_cpu_s: float
    postgres_cpu_s: float
    others_cpu_share: float

    @property
    def stored_per_s(self) -> float:
        return self.stored / self.drained_s

    @property
    def missing(self) -> int:
        """Acknowledged and not stored, though nothing was killed."""
        return max(0, self.load.acknowledged - self.stored)


class RunningPeer:
    """A peer that was started, and its table.

    `postgres` is the counting connection, `postgres_cpu_s` what all other processes of its server have used so far.
    """

    def __init__(
        self, peer: Peer, dsn: str, directory: Path, postgres: asyncpg.Connection, postgres_cpu_s: Callable[[], float]
    ) -> None:
        self.peer = peer
        self.postgres = postgres
        self.table = f"{SCHEMA}.{peer.name}"
        self._dsn = dsn
        self._directory = directory
        self._postgres_cpu_s = postgres_cpu_s
        self._process: PeerProcess | None = None

    @property
    def process(self) -> PeerProcess:
        assert self._process is not None, "not started"
        return self._process

    async def make_table(self) -> None:
        """An empty one; what was there goes."""
        await self.postgres.execute(
            f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}; DROP TABLE IF EXISTS {self.table};"
            f"CREATE TABLE {self.table} (LIKE playback_events); {self.peer.table_sql(self.table)}"
        )

    async def start(self) -> None:
        """Start it, or again after its end; raises PeerFailed."""
        self._directory.mkdir(exist_ok=True)
        self._process = self.peer.launch(self._dsn, self.peer.name, self._directory)
        await self._process.answers()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    async def measure(self, events_count: int, seconds: float) -> Run:
        """POST `events_count` events a request in a closed loop for `seconds`, and wait until the rows stand still.

        Raises PeerFailed when it fell.
        """
        await self.postgres.execute(f"TRUNCATE {self.table}")
        await self.postgres.execute("CHECKPOINT")
        mint = RequestMint("127.0.0.1", self.process.port, events_count)
        own_before_s, postgres_before_s, busy_before_s = self.process.cpu_s(), self._postgres_cpu_s(), machine_busy_s()
        counting, counting_before_s = [self.postgres.get_server_pid()], cpu_s([self.postgres.get_server_pid()])
        client_before_s, began_s = time.process_time(), time.perf_counter()
        load = await run_load(
            "127.0.0.1",
            self.process.port,
            mint.mint,
            events_count=events_count,
            connections=CONNECTIONS,
            seconds=seconds,
        )
        stored, stood_s = await stand_still(self._rows, load.acknowledged)
        self.process.check()
        own_s, postgres_s = self.process.cpu_s() - own_before_s, self._postgres_cpu_s() - postgres_before_s
        ours_s = own_s + postgres_s + time.process_time() - client_before_s + cpu_s(counting) - counting_before_s
        others_s = machine_busy_s() - busy_before_s - ours_s
        share = max(0.0, others_s / (time.perf_counter() - began_s) / (os.cpu_count() or 1))
        await self.postgres.execute(f"TRUNCATE {self.table}")  # or autovacuum looks at its rows in another's turn
        return Run(load, stored, stood_s - began_s, own_s, postgres_s, share)

    async def _rows(self) -> int:
        rows: int = await self.postgres.fetchval(f"SELECT count(*) FROM {self.table}")
        return rows


async def stand_still(count: Callable[[], Awaitable[int]], wanted: int) -> tuple[int, float]:
    """Poll until `count` says `wanted` or more, or nothing new for STILL_S: the number, and when it was first seen."""
    found, grew_s = -1, 0.0
    while True:
        asked_s = time.perf_counter()
        counted, now_s = await count(), time.perf_counter()
        if counted > found:
            found, grew_s = counted, now_s
        if found >= wanted or now_s - grew_s > STILL_S:
            return found, grew_s
        await asyncio.sleep(max(POLL_S, 2 * (now_s - asked_s)))
