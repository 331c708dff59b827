"""The whole product for the eyes: `python -m gateway.demo` starts it, plays a crowd, and shows what becomes of it.

Every second: what the viewers posted, what the gateway acknowledged, the rows that its answers promised beside the rows
that the store holds (PostgreSQL, or with --store scylla a Cassandra of its own), the views promised beside the views
that Redis counted, and the ads shown beside the impressions stored. With --seconds it ends by itself with the crowd's
own reconciliation: exit code 0 when every acknowledged event is stored once and the views are equal, 1 when not.
Ctrl-C, SIGTERM and SIGHUP end it at any moment; nothing is left running.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to end yet, and no traceback; main() and the loop take over

import argparse
import asyncio
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg
import redis.asyncio as redis

from gateway.cql import CassandraMissing, RingError
from gateway.demo_ads import Ads, is_set_within
from gateway.demo_screen import Screen
from gateway.demo_stores import OneNode, Stores
from loadtests.crowd_process import HURRIED_S, CrowdProcess
from loadtests.ledger import Ledger
from loadtests.product import Product, ProductFailed
from loadtests.reconcile import Report, reconcile_when_drained

CROWDS: Final = 2  # processes beside each other, as viewers are
VIEWERS_DEFAULT: Final = 200
PACE: Final = 30  # seconds of film a second
START_TIMEOUT_S: Final = 120.0  # a first start on a slow disk, initdb and migrations included
CROWD_END_S: Final = 30.0
DRAIN_S: Final = 60.0  # after Ctrl-C both are HURRIED_S
PORT_DEFAULT: Final = 8080
ADMIN_PORT_DEFAULT: Final = 9090
NOHUP: Final = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # started to outlive its terminal
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM) if NOHUP else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_free(port: int) -> bool:
    """Whether nobody listens on `port`, on any address of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


class Demo:
    """The one demonstration of this process. `stop` is set by a signal, by the clock, or when nobody looks."""

    def __init__(self, options: argparse.Namespace, data_dir: Path, screen: Screen) -> None:
        self.options = options
        self.screen = screen
        self.scratch = data_dir / "demo"
        hot = {"INGEST_HOTNESS_DIVISOR": str(max(1, options.viewers // 2))}  # of so small a crowd some are hot, too
        settings, log = {"INGEST_KEYS_REQUIRED": "false", **hot}, self.scratch / "serve.log"
        self.cassandra = OneNode(data_dir / "cassandra") if options.store == "scylla" else None
        if self.cassandra is not None:
            settings |= self.cassandra.environment
        self.product = Product(
            data_dir, port=options.port, admin_port=options.admin_port, environment=settings, log=log
        )
        self.crowds: list[CrowdProcess] = []
        self.stores = Stores({})
        self.ads = Ads({}, options.seed)
        self.showing: asyncio.Task[None] | None = None
        self.shown_enough = asyncio.Event()
        self.stop, self.hurried = asyncio.Event(), asyncio.Event()
        self.began_s = 0.0
        self.rows_before = 0
        self.views_before = 0

    async def run(self) -> int:
        """From start to end; the exit code."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        try:
            if not await self._start():
                return 0
            await self._watch()
            return await self._conclude()
        except (ProductFailed, OSError, RingError, asyncpg.PostgresError, redis.RedisError) as failed:
            self.screen.say(f"The gateway did not hold: {failed or repr(failed)}")
            return 1
        finally:
            self.screen.say("Stopping …")
            self.shown_enough.set()
            if self.showing is not None:
                await asyncio.wait([self.showing])  # whatever became of it, the rest is ended too
            await asyncio.gather(*(crowd.end(HURRIED_S) for crowd in self.crowds))
            await asyncio.to_thread(self.product.stop)
            if self.cassandra is not None:
                await asyncio.to_thread(self.cassandra.end)

    def _interrupt(self) -> None:
        if self.stop.is_set():
            self.hurried.set()
        self.stop.set()

    async def _start(self) -> bool:
        """Start the gateway and the crowd; False when told to stop meanwhile."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        if self.cassandra is not None:
            self.screen.say("Starting Cassandra; the first time its jars are fetched …")
            if not await self.cassandra.start(self.stop):
                return False
        self.screen.say(f"Starting PostgreSQL, Valkey and the gateway in {self.product.data_dir} …")
        self.product.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.product.ready():
            if await is_set_within(self.stop, 0.1):
                return False
            if time.monotonic() > deadline:
                raise ProductFailed(f"not ready after {START_TIMEOUT_S:.0f} s:\n{self.product.log_tail()}")
        self.stores = Stores(self.product.endpoints)
        await self.stores.know_titles(self.options.seed)
        self.rows_before, self.views_before, _ = await self.stores.look(is_exact=True)
        self.ads = Ads(self.product.endpoints, self.options.seed)
        await self.ads.order()
        self.screen.say(self._addresses())
        self.showing = asyncio.create_task(self.ads.show(self.shown_enough))
        self.began_s = time.monotonic()
        for number in range(CROWDS):
            crowd = await CrowdProcess.start(
                number,
                self.scratch,
                self.product.endpoints["http"],
                viewers=self.options.viewers // CROWDS + (number < self.options.viewers % CROWDS),
                seed=self.options.seed,
                pace=PACE,
                resend=CROWD_END_S,
                every=0.2,
            )
            self.crowds.append(crowd)
        return True

    def _addresses(self) -> str:
        at = self.product.endpoints
        events = f"./gw events --data-dir {self.product.data_dir} …"
        rows = f"{at['cql']}  ({events})" if "cql" in at else f"psql '{at['postgres']}'"
        curl = (
            f'curl -s {at["http"]}/v1/events -H \'content-type: application/json\' -d \'{{"event_type":"play",'
            '"content_id":"6b2f0f0e-7d0f-4f0e-9a55-000000000001","session_id":"6b2f0f0e-7d0f-4f0e-9a55-000000000002",'
            '"sequence":0,"occurred_at":\'$(date +%s000)\'}\''
        )
        return "\n".join(
            (
                f"  page      {at['admin']}/",
                f"  events    {at['http']}/v1/events  (open: no write key is needed)",
                f"  metrics   {at['admin']}/metrics",
                f"  status    {at['admin']}/statusz",
                f"  rows      {rows}",
                f"  counts    redis-cli -u '{at['redis']}'",
                f"  try       {curl}",
                f"{self.options.viewers} viewers in {CROWDS} processes, seed {self.options.seed}; Ctrl-C ends.",
                "Heartbeats are counted live and make no rows: there are fewer rows than events.",
            )
        )

    async def _watch(self) -> None:
        """Show a second after the other until it is enough."""
        while not await is_set_within(self.stop, 1.0):
            if self.product.ended():
                raise ProductFailed(f"it ended by itself:\n{self.product.log_tail()}")
            for crowd in self.crowds:
                if crowd.process.returncode is not None:
                    raise ProductFailed(f"a crowd ended by itself:\n{crowd.log.read_text(errors='replace')[-2000:]}")
            await self._show()
            elapsed_s = time.monotonic() - self.began_s
            if self.screen.closed or (self.options.seconds and elapsed_s >= self.options.seconds):
                return

    async def _show(self) -> None:
        try:
            rows, views, live = await asyncio.wait_for(self.stores.look(), 5)
            shown = await asyncio.wait_for(self.ads.held(), 5)
        except (OSError, TimeoutError, asyncpg.PostgresError, redis.RedisError) as away:
            self.screen.draw([f"a store does not answer: {away!r}"])
            return

        def total(name: str) -> int:
            return sum(crowd.figures.get(name, 0) for crowd in self.crowds)

        self.screen.draw(
            (
                f"{time.monotonic() - self.began_s:5.0f} s",
                f"events   posted    {total('posted'):>10,}   acknowledged {total('acknowledged'):>10,}",
                f"rows     promised  {total('rows'):>10,}   stored       {rows - self.rows_before:>10,}",
                f"views    promised  {total('views'):>10,}   counted      {views - self.views_before:>10,}",
                f"ads      promised  {self.ads.promised.impressions:>10,}   stored       {shown.impressions:>10,}",
                f"viewers  watching  {total('viewers'):>10,}   live         {live:>10,}",
            )
        )

    async def _conclude(self) -> int:
        """End the crowd, wait until all it was promised is there, and hold its ledger against the stores."""
        by_signal = self.stop.is_set()
        self.screen.say("The crowd goes home; waiting for the last answers and rows …")
        await self._end_ads()
        await asyncio.gather(*(crowd.end(HURRIED_S if by_signal else CROWD_END_S) for crowd in self.crowds))
        reconciliation = asyncio.create_task(self._reconcile(HURRIED_S if by_signal else DRAIN_S))
        hurried = asyncio.create_task(self.hurried.wait())
        await asyncio.wait((reconciliation, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not reconciliation.done():
            reconciliation.cancel()
            return 0
        report = reconciliation.result()
        shown = await self.ads.arrive(HURRIED_S if by_signal else DRAIN_S)
        self.screen.say(report.text())
        self.screen.say(f"ads: {self.ads.promised.impressions:,} impressions promised, {shown.impressions:,} stored")
        if self.ads.refused:
            self.screen.say(f"ads: of {self.ads.refused:,} posts something was refused")
        if report.equal and self.ads.is_equal(shown):
            self.screen.say("every acknowledged event is stored exactly once; all views are counted")
            return 0
        return 1

    async def _end_ads(self) -> None:
        self.shown_enough.set()
        if self.showing is not None:
            await self.showing

    async def _reconcile(self, wait_s: float) -> Report:
        ledger = await asyncio.to_thread(Ledger.read, [crowd.ledger for crowd in self.crowds])
        # Only this crowd's contents: the store may hold older demos, and what somebody posted by curl.
        return await reconcile_when_drained(ledger, self.product.endpoints, own_contents_only=True, wait_s=wait_s)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./gw demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0, help="end by itself after this long; 0: until Ctrl-C")
    parser.add_argument("--viewers", type=int, default=VIEWERS_DEFAULT)
    parser.add_argument("--seed", type=int, default=None, help="of the crowd; another one at every start by default")
    parser.add_argument("--data-dir", type=Path, help="kept, and used again; a temporary one by default")
    parser.add_argument("--store", choices=("postgres", "scylla"), default="postgres", help="of playback events")
    parser.add_argument("--port", type=int, help=f"{PORT_DEFAULT}, or any free one when that is taken")
    parser.add_argument("--admin-port", type=int, help=f"{ADMIN_PORT_DEFAULT}, or any free one when that is taken")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = int(time.time())
    if options.port is None:
        options.port = PORT_DEFAULT if is_free(PORT_DEFAULT) else 0
    if options.admin_port is None:
        options.admin_port = ADMIN_PORT_DEFAULT if is_free(ADMIN_PORT_DEFAULT) else 0
    # From here to the loop's own handlers a signal must not find Python's: it would leave a directory or a traceback.
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    made: Path | None = None
    try:
        if options.data_dir is None:
            made = Path(tempfile.mkdtemp(prefix="streamverse-demo-"))
            made.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        screen = Screen(terminal=sys.stdout.isatty())
        return asyncio.run(Demo(options, (made or options.data_dir).resolve(), screen).run())
    except KeyboardInterrupt:
        return 0
    except (CassandraMissing, RingError) as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
