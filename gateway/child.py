"""A child process: started with its orders, started again when it dies, asked to stop before it is made to."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from gateway import ended_metrics
from gateway.adopted import AdoptedProcess
from gateway.role import Orders
from storage.backoff import delay_s

log: Any = structlog.get_logger()

STEADY_S = 30.0
"""A child that lived this long had no trouble starting; the next delay is short again."""

Before = Callable[[], Awaitable[None]]


class Child:
    """One place in the gateway, filled by one process at a time."""

    def __init__(self, role: str, index: int, orders: Callable[[], Orders], metrics_dir: Path, before: Before) -> None:
        """Before every start `before` is awaited (recovery of what the last process left), then `orders` asked for."""
        self.role = role
        self.index = index
        self.restarts = 0
        self.ready = asyncio.Event()
        self._orders = orders
        self._metrics_dir = metrics_dir
        self._before = before
        self._process: asyncio.subprocess.Process | AdoptedProcess | None = None
        self._stopping = False

    def adopt(self, pid: int, restarts: int) -> None:
        """Fill the place with a process that runs already; before `run`."""
        self._process = AdoptedProcess(pid)
        self.restarts = restarts
        self.ready.set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self) -> None:
        """Keep the place filled until `stop`."""
        attempt = 0
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started_s = loop.time()
            try:
                if isinstance(self._process, AdoptedProcess):
                    code: int | str = await self._ended(self._process)
                    self._process = None
                else:
                    await self._before()
                    code = await self._live()
            except OSError as error:  # no process, no descriptor, no memory to be had now; the others live on
                code = str(error)
            self.ready.clear()
            if not self._stopping:
                self.restarts += 1
                attempt = 0 if loop.time() - started_s >= STEADY_S else attempt + 1
                pause_s = min(delay_s(attempt, random.random), 5.0)
                log.error("child_died", child=self.role, index=self.index, code=code, pause_s=round(pause_s, 2))
                await asyncio.sleep(pause_s)

    async def stop(self, number: signal.Signals, kill_at_s: float, insist_at_s: float | None = None) -> None:
        """Ask it to go by this signal, again at `insist_at_s`; kill it at `kill_at_s`. By the event loop's clock."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        for until_s in (kill_at_s if insist_at_s is None else insist_at_s, kill_at_s):
            try:
                async with asyncio.timeout_at(until_s):
                    await process.wait()
            except TimeoutError:
                if until_s != kill_at_s:
                    process.send_signal(number)
            else:
                return
        log.error("child_killed", child=self.role, index=self.index, pid=process.pid)
        process.kill()
        await process.wait()

    async def _live(self) -> int:
        orders = self._orders()
        self._metrics_dir.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(self._metrics_dir)}
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.role",
            self.role,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=orders.sockets,
            start_new_session=True,  # a Ctrl-C goes to the supervisor alone, which ends its children in order
            env=environment,
            cwd=Path(__file__).parent.parent,
        )
        assert process.stdin is not None and process.stdout is not None
        if self._stopping:
            process.kill()
        try:
            process.stdin.write(msgspec.json.encode(orders))
            await process.stdin.drain()
            process.stdin.close()
            while line := await process.stdout.readline():
                if line == b"ready\n":
                    self.ready.set()
                    log.info("child_ready", child=self.role, index=self.index, pid=process.pid)
        except (ConnectionError, ValueError):  # it died before it read its orders
            pass
        return await self._ended(process)

    async def _ended(self, process: asyncio.subprocess.Process | AdoptedProcess) -> int:
        code = await process.wait()
        ended_metrics.take_over(self._metrics_dir, process.pid)
        return code
