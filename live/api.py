"""Live numbers over HTTP: the routes that gateway/admin.py serves on the admin port.

GET /v1/live/{content_id}   viewers of one content
GET /v1/live?top=N          of all, and the contents that most watch
GET /v1/live/stream?top=N   the same every second, as server-sent events (stream.py)
"""

import random
import re
from typing import Final
from uuid import UUID

import orjson
from aiohttp import web

from ingest.answer import Answer, refusal, try_again
from ingest.codes import BY_NAME, INVALID_UUID, OUT_OF_RANGE
from ingest.decode.uuid import uuid_bytes
from live.source import TOP_MAX, Source, Unavailable, time_text
from live.stream import Stream

TOP_DEFAULT: Final = 20
TOP: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
WAIT_S: Final = {
    "counters_unavailable": 1.0,
    "catalogue_unavailable": 1.0,
    "rebuild_needed": 15.0,
    "too_many_subscribers": 5.0,
}
"""Until it is worth another try."""


class LiveApi:
    """The routes, and what is behind them."""

    def __init__(self, source: Source) -> None:
        self._source = source
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
        try:
            content_id = UUID(bytes=uuid_bytes(request.match_info["content_id"]))
        except ValueError:
            return answered(refusal(400, INVALID_UUID, BY_NAME[INVALID_UUID].sentence))
        try:
            found = await self._source.viewers(content_id)
        except Unavailable as unavailable:
            return answered(later(unavailable.code, unavailable.message))
        told = {"content_id": str(content_id), "viewers": found.viewers, "as_of": time_text(found.as_of_us)}
        return answered(Answer(200, orjson.dumps(told)))

    async def _top(self, request: web.Request) -> web.StreamResponse:
        if (top := top_of(request.query.getall("top", []))) is None:
            return answered(NO_TOP)
        try:
            sample = await self._source.sample()
        except Unavailable as unavailable:
            return answered(later(unavailable.code, unavailable.message))
        return answered(Answer(200, sample.body(top)))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if (top := top_of(request.query.getall("top", []))) is None:
            return answered(NO_TOP)
        if self._stream.is_full:
            return answered(later("too_many_subscribers", "No more streams are served; /v1/live says the same."))
        return await self._stream.serve(request, top)


def top_of(given: list[str]) -> int | None:
    """The number that a query says, once; None when it is none from 1 to TOP_MAX. Pure."""
    if not given:
        return TOP_DEFAULT
    if len(given) > 1 or not TOP.fullmatch(given[0]):
        return None
    top = int(given[0])
    return top if top <= TOP_MAX else None


NO_TOP: Final = refusal(400, OUT_OF_RANGE, f"top is not one whole number from 1 to {TOP_MAX}.")


def later(code: str, message: str) -> Answer:
    """A 503 by one of WAIT_S's codes."""
    return try_again(503, code, message, WAIT_S[code], random.random())


def answered(answer: Answer) -> web.Response:
    """As aiohttp sends it, and nobody keeps it."""
    headers = {"Cache-Control": "no-store", **dict(answer.headers)}
    return web.Response(status=answer.status, body=answer.body, headers=headers, content_type="application/json")
