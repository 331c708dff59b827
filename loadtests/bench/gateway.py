"""The gateway under the benchmark's load: who its processes are, what they cost, and when it has caught up."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import redis.asyncio as redis

from loadtests.bench.client import Load, run_load
from loadtests.bench.open_loop import run_open_loop
from loadtests.bench.request import RequestMint
from loadtests.procfs import TICKS_PER_S, cpu_s, kernel_s, machine_busy_s, pss_bytes, stat, tree_cpu_s
from loadtests.product import Product
from loadtests.reconcile import COUNT_SQL

CONNECTIONS: Final = 64
DRAIN_TIMEOUT_S: Final = 120.0
DRAIN_POLL_S: Final = 0.1
OWN_ROLES: Final = ("supervisor", "collector", "stage", "postgres_drain", "readers")
POSITIONS_SQL: Final = "SELECT reader, incarnation, sequence FROM ingest_positions"
TAKEN_SQL: Final = """
SELECT (coalesce(sum((totals ->> 'stored')::bigint), 0) + coalesce(sum((totals ->> 'duplicate')::bigint), 0))::bigint
  FROM ingest_positions WHERE reader = 'postgres'
"""
POSITIONS_KEY: Final = "{ingest}:positions"


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds so far, by whose they are."""

    collectors_s: float
    postgres_drain_s: float
    redis_reader_s: float
    """With the other readers of its process: quality of experience."""
    supervisor_s: float
    postgres_s: float
    redis_s: float
    collectors_kernel_s: float
    """Of collectors_s: system calls and page faults."""
    readers_kernel_s: float
    """Of readers_s."""

    @property
    def all_s(self) -> float:
        return self.collectors_s + self.readers_s + self.supervisor_s + self.postgres_s + self.redis_s

    @property
    def readers_s(self) -> float:
        return self.postgres_drain_s + self.redis_reader_s

    def since(self, before: Cpu) -> Cpu:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(before), strict=True)
        return Cpu(*(now_s - before_s for now_s, before_s in pairs))


@dataclass(frozen=True, slots=True)
class Measured:
    """One load and what became of it: rows counted by count(*), events sent for a second time, time from the first byte
    to the last row, CPU.

    `others_cpu_share` is what the rest of the machine took of all cores meanwhile: above a tenth, measure again.
    """

    load: Load
    stored: int
    resent: int
    drained_s: float
    counted_s: float
    cpu: Cpu
    others_cpu_share: float

    @property
    def stored_per_s(self) -> float:
        return self.stored / self.drained_s

    @property
    def all_stored(self) -> bool:
        """Every acknowledged event once, and nothing beyond it but what was never clearly answered."""
        promised = self.load.acknowledged - self.resent
        return promised <= self.stored <= promised + self.load.unsure

    def us(self, seconds: float) -> float:
        """CPU seconds as microseconds an event."""
        return round(seconds / max(self.load.acknowledged, 1) * 1e6, 2)


class BenchGateway:
    """A running product with one connection to each of its stores."""

    def __init__(self, product: Product, postgres: asyncpg.Connection, store: redis.Redis) -> None:
        self.postgres = postgres
        self._store = store
        at = urlsplit(product.endpoints["http"])
        assert at.hostname is not None
        assert at.port is not None
        self.host, self.port = at.hostname, at.port
        status = product.statusz()
        self.core: str = status["core"]
        pids: dict[str, list[int]] = {}
        for process in status["processes"]:
            pids.setdefault(process["role"], []).append(process["pid"])
        self.collectors_count = len(pids["collector"])
        self._collectors = pids["collector"]
        self._drain, self._reader = pids["postgres_drain"], pids["readers"]
        self._supervisor = pids["supervisor"]
        self._own_backend = postgres.get_server_pid()
        own = stat(self._own_backend)
        assert own is not None, "PostgreSQL runs on another machine"
        self.postmaster = own.parent_pid
        self._redis_pid = 0
        self._own = [pid for role in OWN_ROLES for pid in pids.get(role, ())]
        self.product = product

    async def warm_up(self, seconds: float) -> None:
        """Open what is opened once, and let the first month's pages be made."""
        self._redis_pid = int((await self._store.info("server"))["process_id"])
        await self.postgres.execute("SET max_parallel_workers_per_gather = 0")  # counting is this connection's cost
        await self.measure(self.mint(20), seconds)

    def postgres_cpu_s(self, *, with_own_connection: bool = True) -> float:
        """All processes below the postmaster; the counting connection of the benchmark itself can be left out."""
        own = stat(self._own_backend)
        assert own is not None
        return tree_cpu_s(self.postmaster) - (0 if with_own_connection else own.cpu_ticks / TICKS_PER_S)

    async def redis_version(self) -> str:
        server = await self._store.info("server")
        return str(server.get("valkey_version") or server["redis_version"])

    async def redis_used_bytes(self) -> int:
        """Of its data, all of it."""
        return int((await self._store.info("memory"))["used_memory_dataset"])

    def memory_bytes(self) -> int:
        """Of all processes of the gateway, without the stores: proportional set sizes."""
        return pss_bytes(self._own)

    def cpu(self) -> Cpu:
        return Cpu(
            collectors_s=cpu_s(self._collectors),
            postgres_drain_s=cpu_s(self._drain),
            redis_reader_s=cpu_s(self._reader),
            supervisor_s=cpu_s(self._supervisor),
            postgres_s=self.postgres_cpu_s(with_own_connection=False),
            redis_s=cpu_s([self._redis_pid]),
            collectors_kernel_s=kernel_s(self._collectors),
            readers_kernel_s=kernel_s([*self._drain, *self._reader]),
        )

    def mint(self, events_count: int, **kind: Any) -> RequestMint:
        """Requests to this gateway; `kind` as RequestMint takes it."""
        return RequestMint(self.host, self.port, events_count, **kind)

    async def measure(
        self, mint: RequestMint, seconds: float, *, connections: int = CONNECTIONS, posts_per_s: float = 0.0
    ) -> Measured:
        """POST for `seconds`, in a closed loop or, at `posts_per_s`, an open one, and wait until every reader has all.

        The wait asks the store what it holds; what is counted as stored is count(*), after the clock was stopped.
        Raises TimeoutError.
        """
        rows_before, taken_before = await self.rows(), await self._taken()
        resent_before = mint.resent_events
        load_of = functools.partial(run_open_loop, posts_per_s=posts_per_s) if posts_per_s else run_load
        cpu_before, client_before_s, busy_before_s = self.cpu(), time.process_time(), machine_busy_s()
        own_before_s = cpu_s([self._own_backend])
        began_s = time.perf_counter()
        load = await load_of(
            self.host,
            self.port,
            mint.mint,
            events_count=mint.events_count,
            connections=connections,
            seconds=seconds,
        )
        await self._until(lambda: self._has_taken(taken_before + load.acknowledged), began_s)
        drained_s = time.perf_counter() - began_s
        await self._until(self._counted, began_s)
        counted_s = time.perf_counter() - began_s
        used = self.cpu().since(cpu_before)
        ours_s = used.all_s + time.process_time() - client_before_s
        ours_s += cpu_s([self._own_backend]) - own_before_s
        others_s = machine_busy_s() - busy_before_s - ours_s
        share = max(0.0, others_s / counted_s / (os.cpu_count() or 1))
        stored = await self.rows() - rows_before
        return Measured(load, stored, mint.resent_events - resent_before, drained_s, counted_s, used, share)

    async def all_counted(self) -> None:
        """Wait until every reader stands where the drain stands. Raises TimeoutError."""
        began_s = time.perf_counter()
        await self._until(self._drained, began_s)
        await self._until(self._counted, began_s)

    async def _drained(self) -> bool:
        """Whether nothing is left in the spool for PostgreSQL, by what its drain says of itself."""
        status = await asyncio.to_thread(self.product.statusz)
        (drain,) = (one for one in status["readers"] if one["reader"] == "postgres")
        return bool(drain["lag_frames"] == 0 and drain["age_s"] < DRAIN_POLL_S * 5)

    async def redis_bytes(self, pattern: str) -> int:
        """What the keys of a pattern take, by the store's own account."""
        sizes = [await self._store.memory_usage(key, samples=0) async for key in self._store.scan_iter(match=pattern)]
        return sum(size or 0 for size in sizes)

    async def rows(self) -> int:
        """count(*), now."""
        rows: int = await self.postgres.fetchval(COUNT_SQL)
        return rows

    async def _taken(self) -> int:
        """Events that PostgreSQL says to have taken, resent ones included."""
        taken: int = await self.postgres.fetchval(TAKEN_SQL)
        return taken

    async def _has_taken(self, events: int) -> bool:
        return await self._taken() >= events

    async def _counted(self) -> bool:
        """Whether all other readers stand where PostgreSQL's drain stands, in every incarnation."""
        positions: dict[str, dict[str, int]] = {"postgres": {}, "derived": {}}
        for row in await self.postgres.fetch(POSITIONS_SQL):
            positions.setdefault(row["reader"], {})[row["incarnation"].hex] = row["sequence"]
        counted = await self._store.hgetall(POSITIONS_KEY)
        positions["redis"] = {(k.decode() if isinstance(k, bytes) else k): int(v) for k, v in counted.items()}
        return all(
            other.get(incarnation, 0) >= sequence
            for incarnation, sequence in positions["postgres"].items()
            for other in positions.values()
        )

    async def _until(self, reached: Callable[[], Awaitable[bool]], began_s: float) -> None:
        """Poll until `reached`; raises TimeoutError."""
        deadline_s = time.perf_counter() + DRAIN_TIMEOUT_S
        while not await reached():
            if time.perf_counter() > deadline_s:
                raise TimeoutError(f"not caught up {time.perf_counter() - began_s:.0f} s after the load began")
            await asyncio.sleep(DRAIN_POLL_S)
