"""Where connections come in: each begins lean (`ingest.lean`), and goes to aiohttp when it asks for more than that."""

import asyncio
import resource
from email.utils import formatdate
from heapq import nsmallest
from http import HTTPStatus
from typing import Final

from config.settings import HttpSettings
from ingest import cors
from ingest.answer import Answer
from ingest.connection import SERVER, Connection, Server
from ingest.intake import FromPage, Intake
from ingest.lean import LeanConnection
from ingest.request_line import mended

SWEEP_INTERVAL_S: Final = 0.5
"""Between looks at deadlines: they are in whole seconds."""
CROWDED_SHARE: Final = 0.8
"""Of the connections there may be: beyond it the ones idle for longest are closed, so that new ones get in."""
DESCRIPTORS_RESERVED: Final = 256
"""For the spool, the log and the listening sockets."""
DRAIN_INTERVAL_S: Final = 0.02
GENERAL_END_S: Final = 0.2
"""How long aiohttp's handlers get to notice that they are cancelled."""
RENDERED_MAX: Final = 1_024
"""Beginnings of answers remembered, by status and origin; and whole answers, by all they are made of."""
RENDERED_MAX_BYTES: Final = 1_024
"""Of an answer that is remembered whole."""


class Entrance:
    """Makes connections for a listening socket, and is all that they share. `run` must be running."""

    def __init__(self, intake: Intake, http: HttpSettings, general: Server) -> None:
        self.intake = intake
        self.general = general
        self.keepalive_s = float(http.keepalive_s)
        self.head_timeout_s = float(http.head_timeout_s)
        self.body_timeout_s = float(http.body_timeout_s)
        self.body_max_bytes = http.body_max_bytes
        self.header_max_bytes = http.header_max_bytes
        self.country_header = http.country_header.lower().encode()
        self._lean = http.lean
        self._general_max = http.general_connections_max
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._connections_max = min(http.connections_max, descriptors - DESCRIPTORS_RESERVED)
        self._connections: set[LeanConnection] = set()
        self._beginnings: dict[tuple[int, str, cors.Named, bool], bytes] = {}
        self._rendered: dict[tuple[Answer, cors.Named, bool], bytes] = {}
        """Whole answers of this second: nearly all are the same few."""
        self._date = b""
        self._look()

    def __call__(self) -> asyncio.Protocol:
        return LeanConnection(self) if self._lean else self.general()

    async def run(self) -> None:
        """Keep the clock of answers, and end what is overdue; until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            self._look()
            self.intake.pixels.look(self.now_s)
            for connection in [one for one in self._connections if one.deadline_s <= self.now_s]:
                connection.overdue()
            if (excess := len(self._connections) - int(self._connections_max * CROWDED_SHARE)) > 0:
                idle = [one for one in self._connections if one.idle]
                for connection in nsmallest(excess, idle, key=lambda one: one.deadline_s):
                    connection.overdue()

    async def drain(self, grace_s: float, timeout_s: float) -> None:
        """Outlive no connection; nobody listens any more.

        For `grace_s` requests are taken as ever, and every answer says that it is its connection's last. Then idle
        connections are closed, and what is under way has the rest of `timeout_s`. Asked again and again: a connection
        may only now have come, or have been handed over.
        """
        self.intake.admission.leaving = True
        clock = self.intake.clock
        begun_s = clock.monotonic_s()
        while (now_s := clock.monotonic_s()) < begun_s + timeout_s:
            if now_s >= begun_s + grace_s:
                for connection in list(self._connections):
                    connection.let_go()
                for general in self.general.connections:
                    assert isinstance(general, Connection)
                    general.let_go()
            if not self._connections and not self.general.connections:
                return
            await asyncio.sleep(DRAIN_INTERVAL_S)
        self.intake.admission.draining = True
        for connection in list(self._connections):
            connection.abort()
        await self.general.shutdown(GENERAL_END_S)

    def opened(self, connection: LeanConnection) -> bool:
        """False: there are as many as there may be."""
        self._connections.add(connection)
        return len(self._connections) + self.general.count <= self._connections_max

    @property
    def general_has_room(self) -> bool:
        """Whether aiohttp may have another connection."""
        return self.general.count < self._general_max

    def hand_over(self, connection: LeanConnection, data: bytes) -> None:
        """To aiohttp, for a connection that is not lean any more, with what it has not answered."""
        self.closed(connection)
        transport, successor = connection.transport, self.general()
        transport.set_protocol(successor)
        successor.connection_made(transport)
        transport.resume_reading()
        successor.data_received(mended(data))

    def closed(self, connection: LeanConnection) -> None:
        self._connections.discard(connection)

    def answered(self, path: str, answer: Answer, begun_s: float) -> None:
        """Count an answer; `begun_s` is when its head was here."""
        self.intake.tally.answered(path, answer.status, self.intake.clock.monotonic_s() - begun_s)

    def rendered(self, answer: Answer, asked: FromPage, *, closing: bool) -> bytes:
        """The bytes of the answer to a request (RFC 9112)."""
        origin = self.intake.named(asked, answer) if self.intake.keyed else asked.origin
        known = self._rendered.get((answer, origin, closing))
        if known is not None:
            return known
        key = answer.status, answer.media, origin, closing
        beginning = self._beginnings.get(key)
        if beginning is None:
            beginning = self._remember(key)
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers).encode() if answer.headers else b""
        if answer.status == HTTPStatus.NO_CONTENT:
            made = b"%b%b%b\r\n" % (beginning, extra, self._date)
        else:
            made = b"%b%b%bContent-Length: %d\r\n\r\n%b" % (
                beginning, extra, self._date, len(answer.body), answer.body,
            )  # fmt: skip
        if answer.status == HTTPStatus.FOUND:  # to somewhere else each time
            return made
        if len(made) <= RENDERED_MAX_BYTES and len(self._rendered) < RENDERED_MAX:
            self._rendered[answer, origin, closing] = made
        return made

    def _remember(self, key: tuple[int, str, cors.Named, bool]) -> bytes:
        status, media, origin, closing = key
        headers = cors.headers(origin) | {"Server": SERVER}
        if status != HTTPStatus.NO_CONTENT:
            headers["Content-Type"] = media
        if closing:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {headers[name]}" for name in headers)]
        if len(self._beginnings) >= RENDERED_MAX:
            self._beginnings.clear()
        beginning = self._beginnings[key] = "".join(line + "\r\n" for line in lines).encode()
        return beginning

    def _look(self) -> None:
        """At the clocks."""
        self.now_s = self.intake.clock.monotonic_s()
        date = f"Date: {formatdate(self.intake.clock.now_us() / 1e6, usegmt=True)}\r\n".encode()
        if date != self._date:
            self._date = date
            self._rendered.clear()
