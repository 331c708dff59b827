"""aiohttp's low-level server with our errors: what its HTTP parser refuses is told in the one JSON shape, too."""

import asyncio
import logging
from array import array
from collections.abc import Awaitable, Callable
from fcntl import ioctl
from termios import FIONREAD
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from config.limits import KIB
from config.settings import HttpSettings
from ingest import cors, metrics
from ingest.answer import Answer, our_fault, refusal
from ingest.plain import HEADERS_MAX
from ingest.request_line import may_be_mended, mended

log = logging.getLogger("ingest.connection")

SERVER = "streamverse-ingest"
"""Names the product, not its versions."""
READ_AHEAD_BYTES = 16 * KIB
"""Of a body, before the budget knows of it; aiohttp stops reading at twice as much."""
LINGERING_S = 2.0
"""How long the rest of a refused body is read away, so that the client sees the answer and not a reset."""

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def has_arrived(transport: asyncio.Transport) -> bool:
    """Whether bytes wait in the socket: closing it now would reset the connection under a request."""
    if transport.is_closing():
        return False
    waiting = array("i", [0])
    ioctl(transport.get_extra_info("socket").fileno(), FIONREAD, waiting)
    return waiting[0] > 0


class Connection(web.RequestHandler):
    """One client's connection. A request line that nobody escaped is mended, as while a connection is lean, where its
    bytes come when nothing else is under way: where a request ends that came in the same piece, aiohttp alone knows.
    """

    __slots__ = ("_begun", "_held")

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **arguments: Any) -> None:
        super().__init__(manager, loop=loop, **arguments)
        self._held = b""
        """The beginning of a request line that may have to be mended, and is not whole."""
        self._begun = False
        """Part of a head was handed on, and no request came of it yet."""

    @property
    def _idle(self) -> bool:
        return self._current_request is None and not self._messages

    def data_received(self, data: bytes) -> None:
        """From the socket, or from the lean way."""
        if self._idle and not self._begun:
            data = self._held + data
            if len(data) <= self.max_line_size and may_be_mended(data):
                self._held = data
                return
            self._held, data = b"", mended(data)
        super().data_received(data)
        self._begun = self._idle

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Unparsable HTTP (400, 431) or our own bug (500); the connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        answer = _described(status, exc)
        if answer.status >= 500:
            log.error("unhandled", exc_info=exc)
        metrics.REQUESTS.labels("other", str(answer.status)).inc()
        headers = cors.headers(request.headers.get("Origin")) | {"Content-Type": "application/json", "Server": SERVER}
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        response.force_close()
        return response

    def let_go(self) -> None:
        """Close if it is idle; a request under way, or sent and not yet read, is answered first.

        aiohttp's own `close` would leave the rest of a body under way unread.
        """
        if self._idle and self.transport is not None and not has_arrived(self.transport):
            self.force_close()


def _described(status: int, exc: BaseException | None) -> Answer:
    if isinstance(exc, LineTooLong):
        return refusal(431, "headers_too_large", "The request line or a header is too long.")
    if status < 500:
        return refusal(status, "invalid_http", "This is no HTTP request that can be read.")
    return our_fault()


class Server(web.Server):
    """Makes `Connection`s."""

    count = 0
    """Connections that are open."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self.count += 1
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self.count -= 1
        super().connection_lost(handler, exc)


def server(answering: Answering, http: HttpSettings) -> Server:
    """A protocol factory for a listening socket; bodies arrive as sent: what aiohttp cannot inflate would be a 500."""
    arguments: dict[str, Any] = {
        "access_log": None,
        "auto_decompress": False,
        "keepalive_timeout": float(http.keepalive_s),
        "lingering_time": LINGERING_S,
        "max_headers": HEADERS_MAX,
        "max_line_size": http.header_max_bytes,
        "max_field_size": http.header_max_bytes,
        "read_bufsize": READ_AHEAD_BYTES,
    }
    return Server(answering, **arguments)
