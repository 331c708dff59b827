"""How hot contents are, over HTTP, on the admin port.

GET /v1/hotness/{content_id}     the columns of content_hotness
GET /v1/hotness?tier=1&top=20    the hottest, of one replication tier or of all
"""

from typing import Final

import orjson
from aiohttp import web

from ingest.answer import Answer, refusal
from ingest.codes import OUT_OF_RANGE
from live import hotness
from live.answers import NO_TOP, NO_UUID, answered, later, top_of, uuid_in
from live.source import Unavailable
from live.tables import Tables

TIERS: Final = {"1": 1, "2": 2, "3": 3}
NO_TIER: Final = refusal(400, OUT_OF_RANGE, "tier is not one of 1, 2 and 3.")
UNKNOWN: Final = refusal(404, "unknown_content", "It has no hotness: nobody has watched it, or the catalogue lacks it.")


class HotnessApi:
    """The routes, and the tables behind them, which are closed by who made them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [web.get("/v1/hotness", self._best), web.get("/v1/hotness/{content_id}", self._content)]

    async def _content(self, request: web.Request) -> web.StreamResponse:
        if (content_id := uuid_in(request, "content_id")) is None:
            return answered(NO_UUID)
        try:
            found = await hotness.of(self._tables, content_id)
        except Unavailable as unavailable:
            return answered(later(unavailable))
        return answered(UNKNOWN if found is None else Answer(200, orjson.dumps(found)))

    async def _best(self, request: web.Request) -> web.StreamResponse:
        if (top := top_of(request.query.getall("top", []))) is None:
            return answered(NO_TOP)
        given = request.query.getall("tier", [])
        if len(given) > 1 or any(tier not in TIERS for tier in given):
            return answered(NO_TIER)
        tier = TIERS[given[0]] if given else None
        try:
            found = await hotness.best(self._tables, tier, top)
        except Unavailable as unavailable:
            return answered(later(unavailable))
        return answered(Answer(200, orjson.dumps({"tier": tier, "contents": found})))
