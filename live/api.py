"""Live numbers over HTTP: the routes that gateway/admin.py serves on the admin port.

GET /v1/live/{content_id}   viewers of one content
GET /v1/live?top=N          of all, and the contents that most watch
GET /v1/live/stream?top=N   the same every second, as server-sent events (stream.py)
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson
from aiohttp import web

from ingest.answer import Answer
from live.answers import NO_TOP, NO_UUID, answered, later, top_of, uuid_in
from live.source import Source, Unavailable, nameless, row_of, time_text
from live.stream import Stream

FULL: Final = Unavailable("too_many_subscribers", "No more streams are served; /v1/live says the same.")


class LiveApi:
    """The routes, and what is behind them."""

    def __init__(self, source: Source, named: Callable[[Sequence[str]], Awaitable[dict[str, str]]] = nameless) -> None:
        self._source = source
        self._named = named
        self._stream = Stream(source)

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [
            web.get("/v1/live", self._top),
            web.get("/v1/live/stream", self._events, allow_head=False),
            web.get("/v1/live/{content_id}", self._content),
        ]

    async def end_streams(self, _: web.Application) -> None:
        """Before the application waits for its answers under way."""
        self._stream.close()

    async def close(self, _: web.Application) -> None:
        """Behind the last answer."""
        await self._source.close()

    async def _content(self, request: web.Request) -> web.StreamResponse:
        if (content_id := uuid_in(request, "content_id")) is None:
            return answered(NO_UUID)
        try:
            found = await self._source.viewers(content_id)
        except Unavailable as unavailable:
            return answered(later(unavailable))
        content = str(content_id)
        name = (await self._named([content])).get(content)
        told = row_of(content, found.viewers, name) | {"as_of": time_text(found.as_of_us)}
        return answered(Answer(200, orjson.dumps(told)))

    async def _top(self, request: web.Request) -> web.StreamResponse:
        if (top := top_of(request.query.getall("top", []))) is None:
            return answered(NO_TOP)
        try:
            sample = await self._source.sample()
        except Unavailable as unavailable:
            return answered(later(unavailable))
        return answered(Answer(200, sample.body(top)))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if (top := top_of(request.query.getall("top", []))) is None:
            return answered(NO_TOP)
        if self._stream.is_full:
            return answered(later(FULL))
        return await self._stream.serve(request, top)
