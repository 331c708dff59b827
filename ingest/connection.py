"""aiohttp's low-level server with our errors: what its HTTP parser refuses is told in the one JSON shape, too."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from config.settings import HttpSettings
from ingest import cors, metrics
from ingest.answer import Answer, refusal

log = logging.getLogger("ingest.connection")

SERVER = "streamverse-ingest"
"""Names the product, not its versions."""
LINGERING_S = 2.0
"""How long the rest of a refused body is read away, so that the client sees the answer and not a reset."""

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ()

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
        headers = cors.headers(None) | {"Content-Type": "application/json", "Server": SERVER}
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        response.force_close()
        return response


def _described(status: int, exc: BaseException | None) -> Answer:
    if isinstance(exc, LineTooLong):
        return refusal(431, "headers_too_large", "The request line or a header is too long.")
    if status < 500:
        return refusal(status, "invalid_http", "This is no HTTP request that can be read.")
    return refusal(500, "internal", "This is our fault, and in our log. Sending the same ids again is safe.")


class Server(web.Server):
    """Makes `Connection`s."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


def server(answering: Answering, http: HttpSettings) -> Server:
    """A protocol factory for a listening socket; bodies arrive as sent: what aiohttp cannot inflate would be a 500."""
    arguments: dict[str, Any] = {
        "access_log": None,
        "auto_decompress": False,
        "keepalive_timeout": float(http.keepalive_s),
        "lingering_time": LINGERING_S,
        "max_line_size": http.header_max_bytes,
        "max_field_size": http.header_max_bytes,
    }
    return Server(answering, **arguments)
