"""The whole product for the eyes: `python -m gateway.demo` starts it, plays a crowd, and shows what becomes of it.

Every second: what the viewers posted, what the gateway acknowledged, the rows that its answers promised beside the rows
that PostgreSQL holds, and the views promised beside the views that Redis counted. With --seconds it ends by itself with
the crowd's own reconciliation: exit code 0 when every acknowledged event is stored once and the views are equal, 1 when
not. Ctrl-C, SIGTERM and SIGHUP end it at any moment; nothing is left running.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to end yet, and no traceback; main() and the loop take over

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import redis.asyncio as redis

from loadtests.crowd_process import HURRIED_S, CrowdProcess
from loadtests.ledger import Ledger
from loadtests.product import Product, ProductFailed
from loadtests.reconcile import COUNT_SQL, Report, counted_views, reconcile_when_drained

CROWDS: Final = 2  # processes beside each other, as viewers are
VIEWERS_DEFAULT: Final = 200
PACE: Final = 30  # seconds of film a second
START_TIMEOUT_S: Final = 120.0  # a first start on a slow disk, initdb and migrations included
CROWD_END_S: Final = 30.0
DRAIN_S: Final = 60.0  # after Ctrl-C both are HURRIED_S
PORT_DEFAULT: Final = 8080
ADMIN_PORT_DEFAULT: Final = 9090
VIEWERS_KEYS: Final = "{ingest}:viewers:*"
NOHUP: Final = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # started to outlive its terminal
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM) if NOHUP else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Screen:
    """Where figures go: redrawn in place on a terminal, a line a second elsewhere; nothing when nobody reads."""

    terminal: bool
    closed: bool = False
    _drawn_lines: int = 0

    def say(self, text: str) -> None:
        """Print for good."""
        self._drawn_lines = 0
        self._write(text + "\n")

    def draw(self, lines: Sequence[str]) -> None:
        """Show the figures of this second."""
        if not self.terminal:
            self._write("  ".join(" ".join(line.split()) for line in lines) + "\n")
            return
        back = f"\x1b[{self._drawn_lines}F\x1b[J" if self._drawn_lines else ""
        self._write(back + "\n".join(lines) + "\n")
        self._drawn_lines = len(lines)

    def _write(self, text: str) -> None:
        if self.closed:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except (OSError, ValueError):  # a closed pipe; a terminal that is gone
            self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the buffered would raise again at exit


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
        self.product = Product(
            data_dir, port=options.port, admin_port=options.admin_port, log=self.scratch / "serve.log"
        )
        self.crowds: list[CrowdProcess] = []
        self.stop = asyncio.Event()
        self.hurried = asyncio.Event()
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
        except (ProductFailed, OSError, asyncpg.PostgresError, redis.RedisError) as failed:
            self.screen.say(f"The gateway did not hold: {failed or repr(failed)}")
            return 1
        finally:
            self.screen.say("Stopping …")
            await asyncio.gather(*(crowd.end(HURRIED_S) for crowd in self.crowds))
            await asyncio.to_thread(self.product.stop)

    def _interrupt(self) -> None:
        if self.stop.is_set():
            self.hurried.set()
        self.stop.set()

    async def _start(self) -> bool:
        """Start the gateway and the crowd; False when told to stop meanwhile."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.screen.say(f"Starting PostgreSQL, Valkey and the gateway in {self.product.data_dir} …")
        self.product.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.product.ready():
            if await self._stopped_within(0.1):
                return False
            if time.monotonic() > deadline:
                raise ProductFailed(f"not ready after {START_TIMEOUT_S:.0f} s:\n{self.product.log_tail()}")
        self.rows_before, self.views_before, _ = await self._stored()
        self.screen.say(self._addresses())
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
        curl = (
            f'curl -s {at["http"]}/v1/events -H \'content-type: application/json\' -d \'{{"event_type":"play",'
            '"content_id":"6b2f0f0e-7d0f-4f0e-9a55-000000000001","session_id":"6b2f0f0e-7d0f-4f0e-9a55-000000000002",'
            '"sequence":0,"occurred_at":\'$(date +%s000)\'}\''
        )
        return "\n".join(
            (
                f"  page      {at['admin']}/",
                f"  events    {at['http']}/v1/events",
                f"  metrics   {at['admin']}/metrics",
                f"  status    {at['admin']}/statusz",
                f"  rows      psql '{at['postgres']}'",
                f"  counts    redis-cli -u '{at['redis']}'",
                f"  try       {curl}",
                f"{self.options.viewers} viewers in {CROWDS} processes, seed {self.options.seed}; Ctrl-C ends.",
                "Heartbeats are counted live and make no rows: there are fewer rows than events.",
            )
        )

    async def _watch(self) -> None:
        """Show a second after the other until it is enough."""
        while not await self._stopped_within(1.0):
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
            rows, views, live = await asyncio.wait_for(self._stored(), 5)
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
                f"viewers  watching  {total('viewers'):>10,}   live         {live:>10,}",
            )
        )

    async def _stored(self) -> tuple[int, int, int]:
        """Rows in PostgreSQL, views and live viewers in Redis, now."""
        postgres = await asyncpg.connect(self.product.endpoints["postgres"])
        try:
            rows = await postgres.fetchval(COUNT_SQL)
        finally:
            await postgres.close()
        store = redis.Redis.from_url(self.product.endpoints["redis"])
        try:
            views = sum((await counted_views(store, None)).values())
            keys = [key async for key in store.scan_iter(match=VIEWERS_KEYS, count=1000)]
            async with store.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.zcount(key, time.time(), "+inf")
                live = sum(await pipeline.execute())
        finally:
            await store.aclose()
        return rows, views, live

    async def _conclude(self) -> int:
        """End the crowd, wait until all it was promised is there, and hold its ledger against the stores."""
        by_signal = self.stop.is_set()
        self.screen.say("The crowd goes home; waiting for the last answers and rows …")
        await asyncio.gather(*(crowd.end(HURRIED_S if by_signal else CROWD_END_S) for crowd in self.crowds))
        reconciliation = asyncio.create_task(self._reconcile(HURRIED_S if by_signal else DRAIN_S))
        hurried = asyncio.create_task(self.hurried.wait())
        await asyncio.wait((reconciliation, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not reconciliation.done():
            reconciliation.cancel()
            return 0
        report = reconciliation.result()
        self.screen.say(report.text())
        if report.equal:
            self.screen.say("every acknowledged event is stored exactly once; all views are counted")
        return 0 if report.equal else 1

    async def _reconcile(self, wait_s: float) -> Report:
        ledger = await asyncio.to_thread(Ledger.read, [crowd.ledger for crowd in self.crowds])
        # Only this crowd's contents: the store may hold older demos, and what somebody posted by curl.
        return await reconcile_when_drained(ledger, self.product.endpoints, own_contents_only=True, wait_s=wait_s)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), seconds)
        return self.stop.is_set()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./gw demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0, help="end by itself after this long; 0: until Ctrl-C")
    parser.add_argument("--viewers", type=int, default=VIEWERS_DEFAULT)
    parser.add_argument("--seed", type=int, default=None, help="of the crowd; another one at every start by default")
    parser.add_argument("--data-dir", type=Path, help="kept, and used again; a temporary one by default")
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
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
