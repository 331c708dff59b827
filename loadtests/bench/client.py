"""A closed loop of HTTP connections that costs as little as Python can: one Protocol, no parser beyond what it needs.

Each connection sends its next request when its last one is answered. After a refusal (503, 429) it waits a moment; what
was refused is not sent again, since the next request is as good. A broken connection is opened anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

REFUSED_PAUSE_S: Final = 0.1
REOPEN_PAUSE_S: Final = 0.2
LAST_ANSWERS_S: Final = 10.0
HEAD_END: Final = b"\r\n\r\n"


@dataclass(slots=True)
class Load:
    """What one load did: events acknowledged, requests by status, broken connections, latencies, time and own CPU."""

    seconds: float = 0.0
    posts: int = 0
    acknowledged: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    unsure: int = 0  # events of requests without a clear answer: kept or not
    latencies_s: list[float] = field(default_factory=list)
    client_cpu_s: float = 0.0
    began_at: float = 0.0  # epoch seconds

    @property
    def per_s(self) -> float:
        """Events acknowledged a second."""
        return self.acknowledged / self.seconds

    def latency_ms(self, share: float) -> float:
        """The latency that `share` of the answers were no slower than."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_s = 0.0
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        if self._loop.stopping:
            self._transport.close()
            return
        self.waiting = True
        self._sent_s = time.perf_counter()
        self._transport.write(self._loop.mint())

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        body_at, length_bytes = head_length(data)
        if body_at < 0 or len(data) < body_at + length_bytes:
            self._buffer = data
            return
        self._buffer = b""
        self.waiting = False
        self._loop.load.latencies_s.append(time.perf_counter() - self._sent_s)
        pause_s = self._loop.answered(data[9:12], data[body_at : body_at + length_bytes])
        if pause_s:
            asyncio.get_running_loop().call_later(pause_s, self._send_if_open)
        else:
            self._send()

    def _send_if_open(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self._loop.broke()
            self.waiting = False
        self._loop.closed(self)


def head_length(data: bytes) -> tuple[int, int]:
    """Where an answer's body begins, -1 when its head is not whole, and how long it is by its header, 0 without one."""
    head_end = data.find(HEAD_END)
    if head_end < 0:
        return -1, 0
    at = data.find(b"Content-Length:", 0, head_end)
    if at < 0:  # servers write the name in either case
        at = data[:head_end].lower().find(b"content-length:")
        if at < 0:
            return head_end + 4, 0
    return head_end + 4, int(data[at + 15 : data.find(b"\r", at)])


class _Loop:
    """What the connections of one load share."""

    def __init__(self, mint: Callable[[], bytes], events_count: int, posts_per_s: float = 0.0) -> None:
        self.mint = mint
        self._posts_per_s = posts_per_s
        self._next_s = 0.0
        self.load = Load()
        self.stopping = False
        self.connections: set[_Connection] = set()
        self._events_count = events_count
        self._all_taken = b""

    def answered(self, status: bytes, body: bytes) -> float:
        """Book an answer; returns how long its connection should pause."""
        load = self.load
        load.posts += 1
        if status == b"200" and body == self._all_taken:
            load.acknowledged += self._events_count
            load.statuses["200"] += 1
            return self._turn_s() if self._posts_per_s else 0.0
        if status == b"204":  # "all is well", without a body
            load.acknowledged += self._events_count
            load.statuses["204"] = load.statuses.get("204", 0) + 1
            return self._turn_s() if self._posts_per_s else 0.0
        name = status.decode()
        load.statuses[name] = load.statuses.get(name, 0) + 1
        if status == b"200":
            accepted = self._events_count if body.startswith(b"GIF") else json.loads(body)["accepted"]
            load.acknowledged += accepted
            if accepted == self._events_count:
                self._all_taken = body
            return self._turn_s() if self._posts_per_s else 0.0
        load.unsure += self._events_count
        return REFUSED_PAUSE_S

    def _turn_s(self) -> float:
        """How long until the next post is due."""
        now_s = time.perf_counter()
        self._next_s = max(now_s, self._next_s + 1 / self._posts_per_s)
        return self._next_s - now_s

    def broke(self) -> None:
        """Book a connection that ended while an answer was due."""
        self.load.lost += 1
        self.load.unsure += self._events_count

    def closed(self, connection: _Connection) -> None:
        self.connections.discard(connection)

    async def keep_open(self, host: str, port: int, count: int) -> None:
        """Open `count` connections, and another for each that breaks, until told to stop."""
        loop = asyncio.get_running_loop()
        while not self.stopping:
            for _ in range(count - len(self.connections)):
                connection = _Connection(self)
                try:
                    await loop.create_connection(lambda made=connection: made, host, port)  # type: ignore[misc]
                except OSError:
                    self.load.lost += 1
                    break
                self.connections.add(connection)
            await asyncio.sleep(REOPEN_PAUSE_S)


async def run_load(
    host: str,
    port: int,
    mint: Callable[[], bytes],
    *,
    events_count: int,
    connections: int,
    seconds: float,
    posts_per_s: float = 0.0,
    done: asyncio.Event | None = None,
) -> Load:
    """Drive the server for `seconds`, or until `done`, then wait for the answers under way (at most LAST_ANSWERS_S).

    `posts_per_s`: no more than so many; 0: as fast as answers come.
    """
    loop = _Loop(mint, events_count, posts_per_s)
    loop.load.began_at = time.time()
    began_s, cpu_before_s = time.perf_counter(), own_cpu_s()
    keeper = asyncio.create_task(loop.keep_open(host, port, connections))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for((done or asyncio.Event()).wait(), seconds)
    loop.stopping = True
    await keeper
    deadline_s = time.perf_counter() + LAST_ANSWERS_S
    while any(connection.waiting for connection in loop.connections) and time.perf_counter() < deadline_s:
        await asyncio.sleep(0.005)
    loop.load.seconds = time.perf_counter() - began_s
    loop.load.client_cpu_s = own_cpu_s() - cpu_before_s
    return loop.load


def own_cpu_s() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
