"""Clients that are no use to anybody: they hold connections open, trickle, stall, announce and never read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final, cast

MIB: Final = 2**20
TRICKLE_INTERVAL_S: Final = 1.0
AT_ONCE: Final = 250
"""Connections opened together: more than a listening socket's backlog holds would only wait."""
_POST: Final = b"POST /v1/events HTTP/1.1\r\nHost: burden\r\nContent-Type: application/json\r\n"

Script = Callable[[], Iterator[bytes]]
"""What one client sends: at once, then a piece every TRICKLE_INTERVAL_S; at its end it holds its connection."""


def _nothing() -> Iterator[bytes]:
    return iter(())


def _head_by_bytes() -> Iterator[bytes]:
    return chain([_POST + b"X-Slow: "], repeat(b"a"))


def _body_by_bytes() -> Iterator[bytes]:
    return chain([_POST + b"Content-Length: 100000\r\n\r\n["], repeat(b" "))


def _announced() -> Iterator[bytes]:
    return iter([_POST + b"Content-Length: %d\r\n\r\n" % MIB])


def _all_but_the_last_byte() -> Iterator[bytes]:
    return iter([_POST + b"Content-Length: %d\r\n\r\n" % MIB + b" " * (MIB - 1)])


def _chunk_and_no_more() -> Iterator[bytes]:
    return iter([_POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 60_000 + b" " * 60_000 + b"\r\n"])


def _answers_unread() -> Iterator[bytes]:
    return iter([(_POST + b"Content-Length: 2\r\n\r\n[]") * 20_000])


SCRIPTS: Final[dict[str, Script]] = {
    "idle": _nothing,
    "heads by bytes": _head_by_bytes,
    "bodies by bytes": _body_by_bytes,
    "bodies announced": _announced,
    "bodies stalled": _all_but_the_last_byte,
    "chunks stalled": _chunk_and_no_more,
    "answers unread": _answers_unread,
}


@dataclass(slots=True)
class Standing:
    """How it goes for them."""

    opened: int = 0
    refused: int = 0
    """Connections that could not be had, or were answered and closed."""


class _Client(asyncio.Protocol):
    def __init__(self, standing: Standing, *, reads: bool) -> None:
        self._standing = standing
        self._reads = reads
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = opened = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        if not self._reads:
            opened.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._standing.refused += 1


class Burden:
    """`count` clients of one script. `run` until cancelled; then every connection is gone."""

    def __init__(self, host: str, port: int, script: str, count: int) -> None:
        self.standing = Standing()
        self._at = host, port
        self._script = script
        self._count = count
        self._clients: list[tuple[_Client, Iterator[bytes]]] = []

    async def open(self) -> None:
        """All of them connected, and the first piece on its way."""
        for first in range(0, self._count, AT_ONCE):
            await asyncio.gather(*(self._connect() for _ in range(min(AT_ONCE, self._count - first))))

    async def run(self) -> None:
        """Go on trickling."""
        try:
            while True:
                await asyncio.sleep(TRICKLE_INTERVAL_S)
                for client, pieces in self._clients:
                    self._send(client, pieces)
        finally:
            for client, _ in self._clients:
                if client.transport is not None:
                    client.transport.abort()

    async def _connect(self) -> None:
        client = _Client(self.standing, reads=self._script != "answers unread")
        try:
            await asyncio.get_running_loop().create_connection(lambda: client, *self._at)
        except OSError:
            self.standing.refused += 1
            return
        self.standing.opened += 1
        pieces = SCRIPTS[self._script]()
        self._clients.append((client, pieces))
        self._send(client, pieces)

    def _send(self, client: _Client, pieces: Iterator[bytes]) -> None:
        with contextlib.suppress(StopIteration):
            if client.transport is not None and not client.transport.is_closing():
                client.transport.write(next(pieces))
