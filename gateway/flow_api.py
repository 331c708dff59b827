"""The gateway's own numbers over HTTP, beside the live ones of live/api.py.

GET /v1/gateway          what comes in and is stored a second, lag, spool
GET /v1/gateway/stream   the same every second, as server-sent events (live/stream.py)
"""

import random
from typing import Final

from aiohttp import web

from gateway.flow import FlowSource
from ingest.answer import Answer, try_again
from live.source import Unavailable
from live.stream import Stream

WAIT_S: Final = 5.0
"""Until it is worth another try."""


class FlowApi:
    """The routes, and what is behind them."""

    def __init__(self, source: FlowSource) -> None:
        self._source = source
        self._stream = Stream(source)

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [
            web.get("/v1/gateway", self._now),
            web.get("/v1/gateway/stream", self._events, allow_head=False),
        ]

    async def end_streams(self, _: web.Application) -> None:
        """Before the application waits for its answers under way."""
        self._stream.close()

    async def close(self, _: web.Application) -> None:
        """Behind the last answer."""
        await self._source.close()

    async def _now(self, _: web.Request) -> web.StreamResponse:
        try:
            flow = await self._source.sample()
        except Unavailable as unavailable:
            return _answered(_later(unavailable.code, unavailable.message))
        return _answered(Answer(200, flow.body()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._stream.is_full:
            return _answered(_later("too_many_subscribers", "No more streams are served; /v1/gateway says the same."))
        return await self._stream.serve(request, top=0)


def _later(code: str, message: str) -> Answer:
    return try_again(503, code, message, WAIT_S, random.random())


def _answered(answer: Answer) -> web.Response:
    headers = {"Cache-Control": "no-store", **dict(answer.headers)}
    return web.Response(status=answer.status, body=answer.body, headers=headers, content_type="application/json")
