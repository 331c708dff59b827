"""A client of the door that sends any bytes, cut anywhere, and reads every answer to its last byte.

It shares the server's event loop, so it knows without a clock when all was read and answered.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

TURNS: Final = 3
"""Of the event loop, in which the server has read what lies in its sockets."""
PATIENCE_S: Final = 10.0
DATE: Final = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


class Answer(NamedTuple):
    """As the two ways are compared: header names in lower case and in order, Date only by its form."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Its value; None when it is not there."""
        return dict(self.headers).get(name)


class Told(NamedTuple):
    """What a client was told so far."""

    answers: list[Answer]
    closed: bool
    """The server hung up."""

    @property
    def statuses(self) -> list[int]:
        """Of the answers, with a 0 behind them when the server hung up."""
        return [answer.status for answer in self.answers] + [0] * self.closed


def parsed(data: bytes, *, of_head: bool = False) -> tuple[list[Answer], bytes]:
    """The whole answers in `data`, and the rest of it; `of_head`: to HEAD requests, which get no bodies."""
    found: list[Answer] = []
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return found, data
        first, *lines = head.decode("latin-1").split("\r\n")
        status = re.fullmatch(r"HTTP/\d\.\d (\d{3}) (.+)", first)
        assert status, first
        headers = [(name.lower(), value) for name, value in (line.split(": ", 1) for line in lines)]
        assert len(dict(headers)) == len(headers), f"a header twice: {head!r}"
        by_name = dict(headers)
        bodiless = of_head or status[1] in ("100", "204", "304")
        size_bytes = 0 if bodiless else int(by_name["content-length"])
        if len(rest) < size_bytes:
            return found, data
        if status[1] != "100":
            assert DATE.fullmatch(by_name.pop("date")), head
        found.append(Answer(int(status[1]), status[2], tuple(sorted(by_name.items())), rest[:size_bytes]))
        data = rest[size_bytes:]


class Client:
    """A connection to the door. `settled()` returns when all that was sent is read, and told as far as it can be."""

    def __init__(self, connection: socket.socket, settled: Callable[[], Awaitable[None]]) -> None:
        self._socket = connection
        self._settled = settled
        self._received = self._rest = b""
        self.closed = False

    async def send(self, *pieces: bytes) -> None:
        """Each piece is read by the server before the next one is sent; what a closed door does not take is dropped."""
        async with asyncio.timeout(PATIENCE_S):
            for piece in pieces:
                sent_bytes = self.offer(piece)
                await turns()
                while sent_bytes < len(piece):
                    sent_bytes += self.offer(piece[sent_bytes:])
                    await turns()

    def offer(self, data: bytes) -> int:
        """How many bytes of `data` are taken at once."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return len(data)

    def say_no_more(self) -> None:
        """Half-close: from here on the client only reads."""
        self._socket.shutdown(socket.SHUT_WR)

    def heard(self, *, of_head: bool = False) -> Told:
        """What was answered so far."""
        self._receive()
        answers, self._rest = parsed(self._received, of_head=of_head)
        return Told(answers, self.closed)

    async def told(self, *, of_head: bool = False) -> Told:
        """All that was answered to all that was sent, once nothing more is to come but by the clock."""
        quiet = 0
        while quiet < 2:
            await self._settled()
            quiet = 0 if self._receive() else quiet + 1
        told = self.heard(of_head=of_head)
        assert not self._rest, "half an answer"
        return told

    async def until(self, answers: int = 0, *, closed: bool = False) -> Told:
        """So many answers are here, or the server hung up."""
        async with asyncio.timeout(PATIENCE_S):
            while len((told := self.heard()).answers) < answers or (closed and not told.closed):
                await asyncio.sleep(0.002)
        return told

    async def ask(self, *pieces: bytes) -> Told:
        """Send, and hear."""
        await self.send(*pieces)
        return await self.told()

    def _receive(self) -> bool:
        """Whether there was anything new."""
        if self.closed:
            return False
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        self._received += data
        self.closed = not data
        return True

    def hang_up(self, *, at_once: bool = False) -> None:
        """`at_once`: with a reset, and nothing on its way arrives."""
        if at_once:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


async def turns() -> None:
    """Let the server read and act."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def until(true: Callable[[], bool]) -> None:
    """It has to become true."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.002)
