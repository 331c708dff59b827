"""Overload, `./gw overload`: crowds of useless clients, and one good player that must not notice them.

Ten thousand idle or trickling connections, bodies announced, stalled or chunked without end, answers nobody reads. The
good player posts all the while, resends with the same ids what was not answered 200, and keeps its own book. One table:
how often it was refused, how long its answers took, what memory the gateway's processes had at their highest, and
whether each acknowledged event is one row. Exit code 0 when it was never refused, memory kept under the mark, nothing
was lost and nothing doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import uvloop

from loadtests.burden import SCRIPTS, Burden
from loadtests.procfs import pss_bytes
from loadtests.product import Product, ProductFailed

CROWDS: Final = {
    "idle": 10_000,
    "heads by bytes": 10_000,
    "bodies by bytes": 10_000,
    "bodies announced": 2_000,
    "bodies stalled": 200,
    "chunks stalled": 2_000,
    "answers unread": 64,
}
SECONDS: Final = 20.0
QUICK_SHARE: Final = 0.2
QUICK_SECONDS: Final = 4.0
PAUSE_S: Final = 0.01
SETTLED_S: Final = 60.0
MEMORY_MARK_BYTES: Final = 350 * 2**20
OURS: Final = frozenset({"supervisor", "collector", "stage", "postgres_drain", "readers"})


@dataclass
class Outcome:
    """What the good player and the onlooker saw."""

    name: str
    connections: int
    turned_away: int = 0
    posts: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    memory_bytes: int = 0
    acknowledged: set[str] = field(default_factory=set)
    missing: int = 0
    doubled: int = 0

    @property
    def holds(self) -> bool:
        unharmed = self.posts > 0 and not self.refused and not self.missing and not self.doubled
        return unharmed and self.memory_bytes <= MEMORY_MARK_BYTES

    def row(self) -> tuple[str, ...]:
        ordered = sorted(self.latencies_s) or [0.0]
        return (
            self.name,
            f"{self.connections:,}",
            f"{self.turned_away:,}",
            f"{self.posts:,}",
            f"{sum(self.refused.values())}",
            f"{ordered[len(ordered) // 2] * 1e3:.1f}",
            f"{ordered[int(len(ordered) * 0.99)] * 1e3:.1f}",
            f"{self.memory_bytes / 2**20:.0f}",
            f"{self.missing}",
            f"{self.doubled}",
            "holds" if self.holds else "FAILED",
        )


HEAD: Final = b"POST /v1/events HTTP/1.1\r\nHost: good\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
HEADINGS: Final = (
    *("burden", "connections", "turned away", "good posts", "refused", "p50 ms", "p99 ms", "memory MiB"),
    *("missing", "doubled", ""),
)


class GoodPlayer:
    """One viewer's connection: an event a post, the next when the last is answered, opened anew when it breaks."""

    def __init__(self, host: str, port: int, outcome: Outcome) -> None:
        self._at = host, port
        self._outcome = outcome
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def play(self, until_s: float) -> None:
        """Post until then; every event is posted until it is taken."""
        while time.monotonic() < until_s:
            event_id = str(uuid4())
            while not await self._post(event_id):
                await asyncio.sleep(PAUSE_S)
            self._outcome.acknowledged.add(event_id)
            await asyncio.sleep(PAUSE_S)
        if self._writer is not None:
            self._writer.close()

    async def _post(self, event_id: str) -> bool:
        event = {
            "event_id": event_id,
            "event_type": "seek",
            "content_id": "6b2f0f0e-7d0f-4f0e-9a55-000000000001",
            "session_id": "6b2f0f0e-7d0f-4f0e-9a55-000000000002",
            "occurred_at": time.time_ns() // 1_000_000,
        }
        body = json.dumps(event).encode()
        outcome = self._outcome
        outcome.posts += 1
        began_s = time.monotonic()
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(*self._at)
            assert self._reader is not None
            self._writer.write(HEAD % len(body) + body)
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            length_bytes = int(head.partition("content-length:")[2].partition("\r\n")[0])
            await self._reader.readexactly(length_bytes)
        except (OSError, asyncio.IncompleteReadError) as error:
            outcome.refused[type(error).__name__] += 1
            self._writer = None
            return False
        outcome.latencies_s.append(time.monotonic() - began_s)
        status = head.split(" ", 2)[1]
        if "connection: close" in head:
            self._writer.close()
            self._writer = None
        if status != "200":
            outcome.refused[status] += 1
        return status == "200"


async def bear(product: Product, name: str, count: int, seconds: float) -> Outcome:
    """One crowd upon the gateway for so long, the good player beside it, and the books compared at the end."""
    at = urlsplit(product.endpoints["http"])
    assert at.hostname and at.port
    outcome = Outcome(name, count)
    burden = Burden(at.hostname, at.port, name, count)
    ours = [process["pid"] for process in product.statusz()["processes"] if process["role"] in OURS]
    player = asyncio.create_task(GoodPlayer(at.hostname, at.port, outcome).play(time.monotonic() + seconds))
    onlooker = asyncio.create_task(_look(ours, outcome))
    await burden.open()
    trickling = asyncio.create_task(burden.run())
    await player
    outcome.turned_away = burden.standing.refused
    for task in (trickling, onlooker):
        task.cancel()
    await asyncio.gather(trickling, onlooker, return_exceptions=True)
    await _compare(product, outcome)
    return outcome


async def _look(pids: list[int], outcome: Outcome) -> None:
    while True:
        outcome.memory_bytes = max(outcome.memory_bytes, await asyncio.to_thread(pss_bytes, pids))
        await asyncio.sleep(0.5)


async def _compare(product: Product, outcome: Outcome) -> None:
    postgres = await asyncpg.connect(product.endpoints["postgres"])
    try:
        deadline_s = time.monotonic() + SETTLED_S
        while True:
            rows = await postgres.fetch(
                "SELECT event_id::text AS id, count(*) AS times FROM playback_events WHERE event_id = ANY($1::uuid[])"
                " GROUP BY event_id",
                list(outcome.acknowledged),
            )
            outcome.missing = len(outcome.acknowledged) - len(rows)
            outcome.doubled = sum(row["times"] > 1 for row in rows)
            if not outcome.missing or time.monotonic() > deadline_s:
                return
            await asyncio.sleep(0.2)
    finally:
        await postgres.close()


async def run(names: Sequence[str], share: float, seconds: float) -> list[Outcome]:
    """Every crowd in turn upon one gateway."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="streamverse-overload-") as made:
        Path(made).chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        with Product(Path(made) / "data") as product:
            product.start()
            await asyncio.to_thread(product.wait_ready)
            outcomes = []
            for name in names:
                sys.stderr.write(f"{name} …\n")
                outcomes.append(await bear(product, name, max(1, int(CROWDS[name] * share)), seconds))
            return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """For people."""
    rows = [HEADINGS, *(outcome.row() for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./gw overload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the connections, for a few seconds each")
    parser.add_argument("--only", choices=SCRIPTS, action="append", help="this crowd; may be repeated")
    parser.add_argument("--seconds", type=float, help=f"of each crowd; {SECONDS:.0f} by default")
    options = parser.parse_args(arguments)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    try:
        outcomes = uvloop.run(run(options.only or list(CROWDS), QUICK_SHARE if options.quick else 1.0, seconds))
    except (ProductFailed, TimeoutError) as failed:
        sys.stderr.write(f"no figures: {failed}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    print(table(outcomes))
    print(f"memory mark: {MEMORY_MARK_BYTES // 2**20} MiB, all processes of the gateway together, without the stores")
    return 0 if all(outcome.holds for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
