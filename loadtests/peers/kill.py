"""kill -9 under load, and what is left of what was acknowledged: a ledger of event ids, compared with the table."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from loadtests.bench.request import RequestMint
from loadtests.peers.peer import RunningPeer, stand_still
from loadtests.product import Product

EVENTS_A_POST: Final = 20
EVENTS_PER_S: Final = 5_000
KILL_AFTER: Final = 10_000  # acknowledged events
CONNECTIONS: Final = 16
LOAD_TIMEOUT_S: Final = 60.0
LAST_ANSWERS_S: Final = 3.0
EVENT_ID: Final = re.compile(rb'"event_id":"([0-9a-f-]{36})"')
LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Ledger:
    """Event ids that a success answer came for; `reached` once they are as many as `wanted`."""

    wanted: int
    acknowledged: set[str] = field(default_factory=set)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def answered(self, request: bytes, status: int, body: bytes) -> None:
        """Book one answer; raises AssertionError when it is no full success."""
        ids = {found.decode() for found in EVENT_ID.findall(request)}
        assert status == 204 or (status == 200 and json.loads(body)["accepted"] == len(ids)), (status, body)
        self.acknowledged |= ids
        if len(self.acknowledged) >= self.wanted:
            self.reached.set()


@dataclass(frozen=True, slots=True)
class Killed:
    """Events acknowledged before a kill -9, and how many of them are not in the table after the restart."""

    acknowledged: int
    lost: int


async def post_and_kill(port: int, ledger: Ledger, kill: Callable[[], object]) -> None:
    """Post EVENTS_PER_S until the ledger is full, then kill with requests under way; raises TimeoutError.

    Answers that were sent before the end are still booked.
    """
    mint = RequestMint("127.0.0.1", port, EVENTS_A_POST).mint
    pace = _Pace(EVENTS_PER_S / EVENTS_A_POST)
    posting = [asyncio.create_task(_post(port, mint, pace, ledger)) for _ in range(CONNECTIONS)]
    full = asyncio.create_task(ledger.reached.wait())
    try:
        done, _ = await asyncio.wait([full, *posting], timeout=LOAD_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if full not in done:
            for task in done:
                task.result()  # what broke it, if it said so
            raise TimeoutError(f"{len(ledger.acknowledged)} of {ledger.wanted} events acknowledged")
        kill()
        await asyncio.wait(posting, timeout=LAST_ANSWERS_S)
    finally:
        for task in (full, *posting):
            task.cancel()
        ended = await asyncio.gather(*posting, return_exceptions=True)
    for end in ended:
        if isinstance(end, Exception):
            raise end


class _Pace:
    """Turns of all connections together, so many a second."""

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s
        self._next_s = time.perf_counter()

    async def turn(self) -> None:
        self._next_s = max(time.perf_counter() - 1, self._next_s + self._interval_s)
        await asyncio.sleep(max(0.0, self._next_s - time.perf_counter()))


async def _post(port: int, mint: Callable[[], bytes], pace: _Pace, ledger: Ledger) -> None:
    """One connection, until it breaks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
        while True:
            await pace.turn()
            request = mint()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            ledger.answered(request, int(head[9:12]), body)


async def peer_killed(running: RunningPeer, wanted: int = KILL_AFTER) -> Killed:
    """kill -9 of all processes of a running peer, a restart, and the count when its table stands still."""
    await running.postgres.execute(f"TRUNCATE {running.table}")
    ledger = Ledger(wanted)
    await post_and_kill(running.process.port, ledger, running.process.kill)
    await running.start()
    return await _reckon(running.postgres, running.table, ledger)


async def gateway_killed(directory: Path, wanted: int = KILL_AFTER) -> Killed:
    """The same of a gateway in a directory of its own; its PostgreSQL and Valkey are its children, and die with it."""
    with Product(directory) as product:
        product.start()
        await asyncio.to_thread(product.wait_ready)
        ledger = Ledger(wanted)
        port = int(product.endpoints["http"].rsplit(":", 1)[1])
        await post_and_kill(port, ledger, product.kill_everything)
        product.start()
        await asyncio.to_thread(product.wait_ready)
        postgres = await asyncpg.connect(product.endpoints["postgres"])
        try:
            return await _reckon(postgres, "playback_events", ledger)
        finally:
            await postgres.close()


async def _reckon(postgres: asyncpg.Connection, table: str, ledger: Ledger) -> Killed:
    ids = sorted(ledger.acknowledged)

    async def kept() -> int:
        sql = f"SELECT count(DISTINCT event_id::text) FROM {table} WHERE event_id::text = ANY($1::text[])"
        found: int = await postgres.fetchval(sql, ids)
        return found

    found, _ = await stand_still(kept, len(ids))
    return Killed(len(ids), len(ids) - found)
