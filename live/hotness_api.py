"""How hot contents are, over HTTP, on the admin port.

GET /v1/hotness/{content_id}     the columns of content_hotness
GET /v1/hotness?tier=1&top=20    the hottest, of one replication tier or of all
"""

import random
from typing import Final
from uuid import UUID

import orjson
from aiohttp import web

from ingest.answer import Answer, refusal, try_again
from ingest.codes import BY_NAME, INVALID_UUID, OUT_OF_RANGE
from ingest.decode.uuid import uuid_bytes
from live.api import NO_TOP, answered, top_of
from live.hotness import Hotness
from live.source import Unavailable

WAIT_S: Final = 1.0
"""Until it is worth another try."""
TIERS: Final = {"1": 1, "2": 2, "3": 3}
NO_TIER: Final = refusal(400, OUT_OF_RANGE, "tier is not one of 1, 2 and 3.")
UNKNOWN: Final = refusal(404, "unknown_content", "It has no hotness: nobody has watched it, or the catalogue lacks it.")


class HotnessApi:
    """The routes, and what is behind them."""

    def __init__(self, hotness: Hotness) -> None:
        self._hotness = hotness

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [web.get("/v1/hotness", self._best), web.get("/v1/hotness/{content_id}", self._content)]

    async def close(self, _: web.Application) -> None:
        """Behind the last answer."""
        await self._hotness.close()

    async def _content(self, request: web.Request) -> web.StreamResponse:
        try:
            content_id = UUID(bytes=uuid_bytes(request.match_info["content_id"]))
        except ValueError:
            return answered(refusal(400, INVALID_UUID, BY_NAME[INVALID_UUID].sentence))
        try:
            found = await self._hotness.of(content_id)
        except Unavailable as unavailable:
            return _later(unavailable)
        return answered(UNKNOWN if found is None else Answer(200, orjson.dumps(found)))

    async def _best(self, request: web.Request) -> web.StreamResponse:
        if (top := top_of(request.query.getall("top", []))) is None:
            return answered(NO_TOP)
        given = request.query.getall("tier", [])
        if len(given) > 1 or any(tier not in TIERS for tier in given):
            return answered(NO_TIER)
        tier = TIERS[given[0]] if given else None
        try:
            found = await self._hotness.best(tier, top)
        except Unavailable as unavailable:
            return _later(unavailable)
        return answered(Answer(200, orjson.dumps({"tier": tier, "contents": found})))


def _later(unavailable: Unavailable) -> web.Response:
    return answered(try_again(503, unavailable.code, unavailable.message, WAIT_S, random.random()))
