"""The gateway's own numbers over HTTP, beside the live ones of live/api.py.

GET /v1/gateway          what comes in and is stored a second, lag, spool
GET /v1/gateway/stream   the same every second, as server-sent events (live/stream.py)
"""

from typing import Final

from aiohttp import web

from gateway.flow import FlowSource
from ingest.answer import Answer
from live.answers import answered, later
from live.source import Unavailable
from live.stream import Stream

FULL: Final = Unavailable("too_many_subscribers", "No more streams are served; /v1/gateway says the same.")


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
            return answered(later(unavailable))
        return answered(Answer(200, flow.body()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._stream.is_full:
            return answered(later(FULL))
        return await self._stream.serve(request, top=0)
