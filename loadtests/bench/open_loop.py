"""Requests at a rate, whatever comes back: each is due at its moment, and its latency counts from then.

A closed loop waits for a slow answer and does not ask meanwhile, so it measures the slow moments least (coordinated
omission). Here a request that is due while every connection is busy waits, and its wait is in the figure.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from loadtests.bench.client import LAST_ANSWERS_S, Load, head_length, own_cpu_s

LOOK_S: Final = 0.001  # between looks at what is due: the resolution of a latency


class _Connection(asyncio.Protocol):
    """One keep-alive connection, idle or waiting for one answer."""

    def __init__(self, loop: _OpenLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._due_s = 0.0
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop.free(self)

    def send(self, due_s: float, request: bytes) -> None:
        assert self._transport is not None
        self._due_s, self.waiting = due_s, True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        head_end, length_bytes = head_length(data)
        if head_end < 0 or len(data) < head_end + length_bytes:
            self._buffer = data
            return
        self._buffer, self.waiting = b"", False
        self._loop.answered(data[9:12], time.perf_counter() - self._due_s)
        self._loop.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self.waiting = False
            self._loop.lost()
        self._loop.gone(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _OpenLoop:
    """What the connections share."""

    def __init__(self, mint: Callable[[], bytes], events_count: int) -> None:
        self.load = Load()
        self.connections: set[_Connection] = set()
        self.idle: deque[_Connection] = deque()
        self.due: deque[float] = deque()
        self._mint = mint
        self._events_count = events_count

    def free(self, connection: _Connection) -> None:
        self.connections.add(connection)
        self.idle.append(connection)
        self.send()

    def send(self) -> None:
        """What is due, as far as there are connections for it."""
        while self.due and self.idle:
            self.idle.popleft().send(self.due.popleft(), self._mint())

    def gone(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def answered(self, status: bytes, took_s: float) -> None:
        load = self.load
        load.posts += 1
        name = status.decode()
        load.statuses[name] = load.statuses.get(name, 0) + 1
        load.latencies_s.append(took_s)
        if status == b"200":
            load.acknowledged += self._events_count
        else:
            load.unsure += self._events_count

    def lost(self) -> None:
        self.load.lost += 1
        self.load.unsure += self._events_count


async def run_open_loop(
    host: str,
    port: int,
    mint: Callable[[], bytes],
    *,
    events_count: int,
    connections: int,
    seconds: float,
    posts_per_s: float,
) -> Load:
    """Send `posts_per_s` for `seconds` over `connections`; latencies count from when each was due.

    Requests that every connection was too busy for to the end are not sent, and counted as `lost`. A refusal (429, 503)
    is an answer, with its latency.
    """
    loop, shared = asyncio.get_running_loop(), _OpenLoop(mint, events_count)
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(shared), host, port)
    load = shared.load
    load.began_at = time.time()
    began_s, cpu_before_s = time.perf_counter(), own_cpu_s()
    asked, count = 0, int(seconds * posts_per_s)
    while asked < count or shared.due:
        now_s = time.perf_counter()
        if now_s > began_s + seconds + LAST_ANSWERS_S or not shared.connections:
            break
        while asked < count and began_s + asked / posts_per_s <= now_s:
            shared.due.append(began_s + asked / posts_per_s)
            asked += 1
        shared.send()
        await asyncio.sleep(LOOK_S)
    load.lost += len(shared.due) + count - asked
    deadline_s = time.perf_counter() + LAST_ANSWERS_S
    while any(connection.waiting for connection in shared.connections) and time.perf_counter() < deadline_s:
        await asyncio.sleep(LOOK_S)
    load.seconds, load.client_cpu_s = time.perf_counter() - began_s, own_cpu_s() - cpu_before_s
    for connection in list(shared.connections):
        connection.close()
    return load
