"""Where the parts of the benchmark work: one gateway that most share, others for those that fill or break it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import redis.asyncio as redis

from loadtests.bench.gateway import BenchGateway
from loadtests.product import Product

WARM_UP_S: Final = 1.0
Figures = dict[str, Any]


class Part(NamedTuple):
    """One measurement: its name in bench.json, what it is, the disk it may take, and how it is made."""

    name: str
    about: str
    needs_bytes: int
    run: Callable[[Scene], Awaitable[Figures]]


@dataclass(slots=True)
class Scene:
    """`seconds`: of one load. `workers`: of the gateway, 0 for its own choice. It ends what it started."""

    directory: Path
    seconds: float
    workers: int = 0
    rows: int = 0
    """How far the part `growth` goes."""
    outage_s: float = 0.0
    """How long the store stands still in the part `outage`."""
    _kept: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _gateway: BenchGateway | None = None

    async def __aenter__(self) -> Scene:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._kept.aclose()

    async def gateway(self) -> BenchGateway:
        """The one that parts share, warm."""
        if self._gateway is None:
            self._gateway = await self._kept.enter_async_context(self.started("data", {}))
        return self._gateway

    async def let_go(self) -> None:
        """End the shared one: what comes next wants the machine for itself."""
        self._gateway = None
        await self._kept.aclose()

    @contextlib.asynccontextmanager
    async def started(
        self, name: str, environment: Mapping[str, str], arguments: Sequence[str] = ()
    ) -> AsyncIterator[BenchGateway]:
        """A gateway of its own, warm, in a directory `name` of the scene. Raises ProductFailed."""
        workers = ["--workers", str(self.workers)] if self.workers else []
        with Product(self.directory / name, arguments=[*workers, *arguments], environment=environment) as product:
            product.start()
            await asyncio.to_thread(product.wait_ready)
            postgres = await asyncpg.connect(product.endpoints["postgres"])
            store = redis.Redis.from_url(product.endpoints["redis"])
            try:
                gateway = BenchGateway(product, postgres, store)
                say("warming up")
                await gateway.warm_up(WARM_UP_S)
                yield gateway
            finally:
                await store.aclose()
                await postgres.close()
                await asyncio.to_thread(product.stop)


def say(text: str) -> None:
    """To whoever waits."""
    sys.stderr.write(text + " …\n")
    sys.stderr.flush()
