"""The CQL drain, with a backlog before it, beside the driver's own best loop: rows of the same load into the same
tables, on the same node, in turns; and how soon rows are read there. The part `scylla`.

The loop has everything laid out before its clock starts (bare_cql.py); the drain reads the spool, lays it out and moves
positions.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from loadtests.bench.cassandra import cassandra, drained, stored_in
from loadtests.bench.client import run_load
from loadtests.bench.cql_reads import reads
from loadtests.bench.gateway import CONNECTIONS
from loadtests.bench.request import RequestMint
from loadtests.bench.scene import Figures, Part, Scene, say
from loadtests.procfs import cpu_s
from loadtests.product import ROOT, Product, ProductFailed

EVENTS: Final = 20
BACKLOG_ROWS: Final = 100_000
"""At least, whatever the machine takes for them: as many as the loop holds in memory."""
LOAD_S: Final = 0.1
ROUNDS: Final = 3
"""Of the loop and the drain, in turns, behind a backlog that is not measured."""
ALIKE: Final = 0.5
"""Of the largest, in rows: what the smallest backlog, or the loop, has to have."""
GIB: Final = 2**30
KEYSPACE: Final = "streamverse"
ENDED_S: Final = 60.0


async def scylla(scene: Scene) -> Figures:
    """Backlogs through the door while the drain stands still, each then drained, behind a round of the loop."""
    await scene.let_go()
    with cassandra(scene.directory / "cassandra") as port:
        environment = {**stored_in(port), "INGEST_SCYLLA_DRIVER": "acsylla"}
        with Product(scene.directory / "scylla", environment=environment) as product:
            product.start()
            await asyncio.to_thread(product.wait_ready)
            say(f"{ROUNDS} backlogs for the CQL drain, {EVENTS} events a request, in turns with its driver's own loop")
            await _drain(product)
            rounds = []
            with Loop(port, os.getpriority(os.PRIO_PROCESS, _pid(product))) as loop:
                for _ in range(ROUNDS):
                    await asyncio.to_thread(loop.round)
                    rounds.append(await _drain(product))
                bare = await asyncio.to_thread(loop.end)
            figures = await reads(product, environment)
    check_alike([one.rows for one in rounds], bare["rows"])
    rounds.sort(key=lambda one: one.us_per_row)
    per_s = sorted(one.per_s for one in rounds)[ROUNDS // 2]
    us_per_row = rounds[ROUNDS // 2].us_per_row
    return {
        "rows": sum(one.rows for one in rounds),
        "rows_per_s": round(per_s),
        "drain_us_per_row": round(us_per_row, 1),
        "rounds": [{"rows_per_s": round(one.per_s), "drain_us_per_row": round(one.us_per_row, 1)} for one in rounds],
        **{f"bare_{name}": value for name, value in bare.items()},
        "share_of_bare_loop": round(per_s / bare["rows_per_s"], 3),
        "share_of_bare_cpu": round(bare["us_per_row"] / us_per_row, 3),
        **figures,
    }


def check_alike(drained_rows: list[int], loop_rows: int) -> None:
    """The loop has the rows of the backlog before all others, which a busy machine keeps small: of fewer rows fewer go
    into a request, and its figures say nothing of the drain's. Raises ProductFailed. Pure.
    """
    each = sorted([*drained_rows, loop_rows])
    if each[0] < ALIKE * each[-1]:
        raise ProductFailed(f"backlogs of {drained_rows} rows beside {loop_rows} of the loop: not to be compared")


class Drained(NamedTuple):
    """One backlog."""

    rows: int
    took_s: float
    used_s: float
    """CPU of the drain's process."""

    @property
    def per_s(self) -> float:
        return self.rows / self.took_s

    @property
    def us_per_row(self) -> float:
        return self.used_s / self.rows * 1e6


async def _drain(product: Product) -> Drained:
    """One backlog, made and drained, while nobody else does anything. Raises ProductFailed, TimeoutError."""
    at = urlsplit(product.endpoints["http"])
    host, door = str(at.hostname), int(at.port or 0)
    mint = RequestMint(host, door, EVENTS).mint
    pid = _pid(product)
    os.kill(pid, signal.SIGSTOP)
    try:
        rows = 0
        while rows < BACKLOG_ROWS:
            load = await run_load(host, door, mint, events_count=EVENTS, connections=CONNECTIONS, seconds=LOAD_S)
            if not load.acknowledged:
                raise ProductFailed(f"of {rows} rows and some more no more was acknowledged")
            rows += load.acknowledged
        await drained(product, others=True)
    finally:
        before_s, began_s = cpu_s([pid]), time.time()
        os.kill(pid, signal.SIGCONT)
    await drained(product)
    used_s = cpu_s([pid]) - before_s
    # statusz is a second late; the file is replaced behind the last row
    took_s = (product.data_dir / "scylla" / "positions.json").stat().st_mtime - began_s
    if used_s <= 0 or took_s <= 0:
        raise ProductFailed(f"{rows} rows were drained in {took_s} s, {used_s} s of CPU")
    return Drained(rows, took_s, used_s)


def _pid(product: Product) -> int:
    """Of the drain's process."""
    (pid,) = (one["pid"] for one in product.statusz()["processes"] if one["role"] == "scylla_drain")
    return int(pid)


class Loop:
    """The driver's own loop, which waits between its rounds. Every method raises ProductFailed, and blocks."""

    def __init__(self, port: int, niceness: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.bench.bare_cql", str(port), KEYSPACE, str(niceness)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._heard("ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def round(self) -> None:
        """All rows once, in each of its ways."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._heard("done")

    def end(self) -> dict[str, Any]:
        """Its figures."""
        told, _ = self._process.communicate(timeout=ENDED_S)
        if self._process.returncode:
            raise ProductFailed(f"The driver's own loop ended with {self._process.returncode}.")
        found: dict[str, Any] = json.loads(told)
        return found

    def _heard(self, word: str) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != word:
            raise ProductFailed("The driver's own loop ended.")


PARTS: Final = (Part("scylla", "the CQL drain beside its driver's own best loop", 4 * GIB, scylla),)
