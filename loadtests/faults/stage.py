"""A running gateway, the crowds that ever played to it, and their one ledger, which its stores must equal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg
import redis.asyncio as redis

from loadtests.crowd_process import CrowdProcess
from loadtests.faults.fault import Unexpected
from loadtests.ledger import Ledger
from loadtests.poster import UNADVISED
from loadtests.product import Product
from loadtests.reconcile import Report, reconcile
from loadtests.verifying import command, disagreement

if TYPE_CHECKING:
    from loadtests.faults.shim import FsyncShim
    from loadtests.faults.staging import Staging

T = TypeVar("T")

PACE: Final = 60  # seconds of film a second
EVERY_S: Final = 0.1  # between two figures of the crowd
PAUSE_MAX_S: Final = 1.0  # a crowd in a hurry presses harder, and a round takes seconds
RESEND_S: Final = 90.0
RECOVERY_S: Final = 90.0
DRAIN_S: Final = 120.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Judgement:
    """The stores beside the ledger, and what `verify` says: empty when it agrees."""

    report: Report
    verify: str


class Stage:
    """One gateway and everything that was ever posted to it; `counters_lost` leaves the counts out of the judgement."""

    def __init__(
        self,
        directory: Path,
        gateway: Product | Staging,
        seed: int,
        *,
        viewers: int,
        alone: bool = True,
        shim: FsyncShim | None = None,
    ) -> None:
        """`directory` gets ledgers and logs; `alone`: nobody else posts to this gateway."""
        self.directory = directory
        self.gateway = gateway
        self.seed = seed
        self.alone = alone
        self.counters_lost = False
        self.fsync = shim
        self.stored = 0
        """Rows by the last judgement."""
        self._viewers = viewers
        self._numbers = count()
        self._playing: CrowdProcess | None = None

    @property
    def product(self) -> Product:
        """The gateway, where it is ours to start and to end."""
        assert isinstance(self.gateway, Product), "it is somebody else's"
        return self.gateway

    def recast(self, environment: Mapping[str, str]) -> Product:
        """The same gateway from its next start on, with other settings; returns it, not started."""
        self.gateway = self.product.altered(environment)
        return self.gateway

    def end(self) -> None:
        """Stop the gateway, and see that nothing of it is left."""
        self.product.stop()

    @property
    def data_dir(self) -> Path:
        return self.gateway.data_dir

    @property
    def playing(self) -> CrowdProcess:
        assert self._playing is not None, "no crowd plays"
        return self._playing

    @asynccontextmanager
    async def crowd(self) -> AsyncIterator[CrowdProcess]:
        """Play; in the end nothing more is begun, and what was sent is resent until it is answered."""
        self._playing = crowd = await CrowdProcess.start(
            next(self._numbers),
            self.directory,
            self.gateway.endpoints["http"],
            viewers=self._viewers,
            seed=self.seed,
            pace=PACE,
            resend=RESEND_S,
            pause_max=PAUSE_MAX_S,
            every=EVERY_S,
        )
        try:
            await self.acknowledged_more()
            yield crowd
        finally:
            await crowd.end(RESEND_S + 15)
        if crowd.process.returncode != 0:
            raise Unexpected(f"not everything was answered: {crowd.figures}\n{crowd.log.read_text()}")
        if bare := [status for status in crowd.figures["statuses"] if status.endswith(UNADVISED)]:
            raise Unexpected(f"answers of {bare}: they do not say when to come back")

    def refusals(self) -> int:
        """Requests of the crowd that were answered with 503 so far."""
        times: int = self.playing.figures["statuses"].get("503", 0)
        return times

    async def acknowledged_more(self, seconds: float = 0.0, within_s: float = RECOVERY_S) -> None:
        """Let `seconds` pass, and at least until something was acknowledged that had not been when this was called."""
        crowd, now = self.playing, time.time()

        def figure(name: str) -> float:
            if crowd.process.returncode is not None:
                raise Unexpected(f"the crowd fell: {crowd.log.read_text()}")
            return float(crowd.figures.get(name, 0))

        await self.until(lambda: figure("time") >= now, within_s, "figures of the crowd")
        before = figure("acknowledged")
        await asyncio.sleep(seconds)
        await self.until(lambda: figure("acknowledged") > before, within_s, "something acknowledged")

    async def recovered(self, blow_us: int, within_s: float = RECOVERY_S) -> None:
        """Wait until the door takes and both readers deliver again, by what each did after `blow_us` (epoch µs)."""
        await self.acknowledged_more(within_s=within_s)
        for name in ("postgres",) if self.counters_lost else ("postgres", "redis"):
            await self.until(
                lambda name=name: (  # type: ignore[misc]  # mypy does not see defaults of lambdas
                    (told := self.reader(name))["state"] == "running" and (told["last_success_us"] or 0) > blow_us
                ),
                within_s,
                f"{name} delivers again",
            )

    async def until(self, see: Callable[[], T], within_s: float, what: str) -> T:
        """What `see` gives once it is true; not reachable is not yet. Raises Unexpected."""
        deadline_s = time.monotonic() + within_s
        while True:
            why = ""
            try:
                if seen := await asyncio.to_thread(see):
                    return seen
            except (OSError, ValueError, KeyError) as not_yet:
                why = f" ({not_yet!r})"
            if time.monotonic() >= deadline_s:
                raise Unexpected(f"not within {within_s:.0f} s: {what}{why}\n{self.gateway.log_tail()}")
            await asyncio.sleep(POLL_S)

    def pid_of(self, role: str) -> int:
        """The process in this role; of several collectors the first. Raises OSError, KeyError while there is none."""
        pids = {process["role"]: process["pid"] for process in reversed(self.gateway.statusz()["processes"])}
        pid = pids[role]
        if not isinstance(pid, int):
            raise KeyError(role)
        return pid

    def reader(self, name: str) -> dict[str, Any]:
        """What a reader tells of itself; raises KeyError while it does not."""
        told: dict[str, Any] = {reader["reader"]: reader for reader in self.gateway.statusz()["readers"]}[name]
        return {"last_success_us": None, "reason": "", **told}

    async def judge(self) -> Judgement:
        """Everything acknowledged so far against the stores, looked at until it is equal or DRAIN_S have passed."""
        ledger = await asyncio.to_thread(Ledger.read, sorted(self.directory.glob("*.ledger")))
        if unanswered := len(ledger.unanswered()):
            raise Unexpected(f"{unanswered} events were never answered")
        at, deadline_s = self.gateway.endpoints, time.monotonic() + DRAIN_S
        while True:
            try:
                report = await reconcile(ledger, at["postgres"], at["redis"], own_contents_only=not self.alone)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, redis.RedisError) as away:
                report = Report(odd=[f"a store is away: {away!r}"])
            if self.counters_lost:
                report.miscounted.clear()
            if report.equal or time.monotonic() >= deadline_s:
                self.stored = report.stored
                with_counters = self.alone and not self.counters_lost
                return Judgement(report, await disagreement(self.data_dir, deadline_s, with_counters=with_counters))
            await asyncio.sleep(5 * POLL_S)

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command of the product about this gateway."""
        return await command(self.data_dir, *arguments)
