"""Players that keep their connections: raw sockets, one a player, closed when the gateway says so and not before.

Nothing here knows the gateway. A player that is answered books its event; whatever else befalls it is a failure.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from tests.acceptance.client import an_event

ANSWER_TIMEOUT_S: Final = 20.0


@dataclass
class Players:
    """`with Players(url) as players:` posts from `count` connections until the block ends."""

    url: str
    count: int = 12
    pause_s: float = 0.02
    resend: bool = False
    """After a failure go on, with the same event: what a player does while a gateway is away."""
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    closed: int = 0
    """Answers that said to close."""

    def __enter__(self) -> Self:
        self._ended = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._play()))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended = True
        self._thread.join(ANSWER_TIMEOUT_S + 5)
        assert not self._thread.is_alive()

    async def _play(self) -> None:
        await asyncio.gather(*(self._player() for _ in range(self.count)))

    async def _player(self) -> None:
        at = urlsplit(self.url)
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        event = an_event()
        while not self._ended:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    if connection is None:
                        connection = await asyncio.open_connection(at.hostname, at.port)
                    status, closing = await post(*connection, json.dumps(event).encode())
            except (OSError, EOFError, TimeoutError) as error:
                self.failures.append(repr(error))
                if not self.resend:
                    return
                connection = None
                await asyncio.sleep(0.2)
                continue
            self.statuses[status] += 1
            if status == 200:
                self.acknowledged.add(event["event_id"])
                event = an_event()
            if closing:
                self.closed += 1
                connection[1].close()
                connection = None
            await asyncio.sleep(self.pause_s)
        if connection is not None:
            connection[1].close()


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> tuple[int, bool]:
    """The status, and whether the connection is to be closed. Raises EOFError, OSError without a whole answer."""
    head = f"POST /v1/events HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    await reader.readexactly(int(headers["content-length"]))
    return int(lines[0].split()[1]), headers.get("connection") == "close"
