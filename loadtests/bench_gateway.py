"""The gateway under the benchmark's load: who its processes are, what they cost, and when it has caught up."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import redis.asyncio as redis

from loadtests.bench_client import Load, run_load
from loadtests.bench_request import RequestMint
from loadtests.procfs import TICKS_PER_S, cpu_s, machine_busy_s, stat, tree_cpu_s
from loadtests.product import Product
from loadtests.reconcile import COUNT_SQL

CONNECTIONS: Final = 64
DRAIN_TIMEOUT_S: Final = 120.0
DRAIN_POLL_S: Final = 0.1
WORKING_ROLES: Final = frozenset({"collector", "postgres_drain", "readers"})
POSITIONS_SQL: Final = "SELECT incarnation, sequence FROM ingest_positions WHERE reader = 'postgres'"
POSITIONS_KEY: Final = "{ingest}:positions"


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds so far, by whose they are."""

    collectors_s: float
    readers_s: float
    supervisor_s: float
    postgres_s: float
    redis_s: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(
            self.collectors_s - before.collectors_s,
            self.readers_s - before.readers_s,
            self.supervisor_s - before.supervisor_s,
            self.postgres_s - before.postgres_s,
            self.redis_s - before.redis_s,
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """One load and what became of it: rows counted by count(*), time from the first byte to the last row, CPU.

    `others_cpu_share` is what the rest of the machine took of all cores meanwhile: above a tenth, measure again.
    """

    load: Load
    stored: int
    drained_s: float
    counted_s: float
    cpu: Cpu
    others_cpu_share: float

    @property
    def stored_per_s(self) -> float:
        return self.stored / self.drained_s


class BenchGateway:
    """A running product with one connection to each of its stores."""

    def __init__(self, product: Product, postgres: asyncpg.Connection, store: redis.Redis) -> None:
        self.postgres = postgres
        self._store = store
        self._http = urlsplit(product.endpoints["http"])
        pids: dict[str, list[int]] = {}
        for process in product.statusz()["processes"]:
            pids.setdefault(process["role"], []).append(process["pid"])
        self.collectors_count = len(pids["collector"])
        self._collectors = pids["collector"]
        self._readers = [pid for role in sorted(WORKING_ROLES - {"collector"}) for pid in pids.get(role, ())]
        self._supervisor = pids["supervisor"]
        self._own_backend = postgres.get_server_pid()
        own = stat(self._own_backend)
        assert own is not None, "PostgreSQL runs on another machine"
        self._postmaster = own.parent_pid
        self._redis_pid = 0

    async def warm_up(self, seconds: float) -> None:
        """Open what is opened once, and let the first month's pages be made."""
        self._redis_pid = int((await self._store.info("server"))["process_id"])
        await self.measure(20, seconds)

    def postgres_cpu_s(self, *, with_own_connection: bool = True) -> float:
        """All processes below the postmaster; the counting connection of the benchmark itself can be left out."""
        own = stat(self._own_backend)
        assert own is not None
        return tree_cpu_s(self._postmaster) - (0 if with_own_connection else own.cpu_ticks / TICKS_PER_S)

    def cpu(self) -> Cpu:
        return Cpu(
            collectors_s=cpu_s(self._collectors),
            readers_s=cpu_s(self._readers),
            supervisor_s=cpu_s(self._supervisor),
            postgres_s=self.postgres_cpu_s(with_own_connection=False),
            redis_s=cpu_s([self._redis_pid]),
        )

    async def measure(self, events_count: int, seconds: float) -> Measured:
        """POST `events_count` events a request in a closed loop for `seconds`, and wait until every reader has them."""
        assert self._http.hostname is not None
        assert self._http.port is not None
        mint = RequestMint(self._http.hostname, self._http.port, events_count)
        rows_before = await self._rows()
        cpu_before, client_before_s, busy_before_s = self.cpu(), time.process_time(), machine_busy_s()
        own_before_s = cpu_s([self._own_backend])
        began_s = time.perf_counter()
        load = await run_load(
            self._http.hostname,
            self._http.port,
            mint.mint,
            events_count=events_count,
            connections=CONNECTIONS,
            seconds=seconds,
        )
        stored = await self._until(lambda: self._all_stored(rows_before, load.acknowledged), began_s)
        drained_s = time.perf_counter() - began_s
        await self._until(self._counted, began_s)
        counted_s = time.perf_counter() - began_s
        used = self.cpu().since(cpu_before)
        ours_s = sum(dataclasses.astuple(used)) + time.process_time() - client_before_s
        ours_s += cpu_s([self._own_backend]) - own_before_s
        others_s = machine_busy_s() - busy_before_s - ours_s
        share = max(0.0, others_s / counted_s / (os.cpu_count() or 1))
        return Measured(load, stored, drained_s, counted_s, used, share)

    async def _rows(self) -> int:
        rows: int = await self.postgres.fetchval(COUNT_SQL)
        return rows

    async def _all_stored(self, rows_before: int, acknowledged: int) -> int | None:
        stored = await self._rows() - rows_before
        return stored if stored >= acknowledged else None

    async def _counted(self) -> int | None:
        """Whether the readers of Redis stand where PostgreSQL's drain stands, in every incarnation."""
        rows = await self.postgres.fetch(POSITIONS_SQL)
        counted = await self._store.hgetall(POSITIONS_KEY)
        positions = {(k.decode() if isinstance(k, bytes) else k): int(v) for k, v in counted.items()}
        behind = sum(positions.get(row["incarnation"].hex, 0) < row["sequence"] for row in rows)
        return None if behind else 1

    async def _until(self, reached: Callable[[], Awaitable[int | None]], began_s: float) -> int:
        """Poll until `reached` says a number; raises TimeoutError. Counting may not cost more than it waits."""
        deadline_s = time.perf_counter() + DRAIN_TIMEOUT_S
        while True:
            asked_s = time.perf_counter()
            found = await reached()
            if found is not None:
                return found
            if time.perf_counter() > deadline_s:
                raise TimeoutError(f"not caught up {time.perf_counter() - began_s:.0f} s after the load began")
            await asyncio.sleep(max(DRAIN_POLL_S, 2 * (time.perf_counter() - asked_s)))
