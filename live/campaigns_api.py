"""What campaigns reached and cost, over HTTP, on the admin port.

GET /v1/campaigns?top=20                                those with most impressions in the last 24 hours
GET /v1/campaigns/{campaign_id}?profile_id=             one; and how often a profile has seen it
GET /v1/campaigns/{campaign_id}/hours?from=&to=         its hours
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import orjson
from aiohttp import web

from ingest.answer import Answer, refusal
from ingest.clock import Clock
from ingest.codes import BY_NAME, INVALID_TIME, OUT_OF_RANGE
from ingest.decode.time import text_us
from ingest.decode.uuid import uuid_bytes
from ingest.tuple import TIME_MAX_US, TIME_MIN_US
from live import campaigns
from live.answers import NO_TOP, NO_UUID, answered, later, top_of, uuid_in
from live.source import EPOCH, Unavailable, time_text
from live.tables import Tables

SPAN_DEFAULT: Final = timedelta(hours=24)
UNKNOWN: Final = refusal(404, "unknown_campaign", "The table ad_campaigns has no row of it; what it reached is kept.")
NO_TIME: Final = refusal(400, INVALID_TIME, BY_NAME[INVALID_TIME].sentence)
TWICE: Final = refusal(400, OUT_OF_RANGE, "from or to is given more than once.")


class Span(NamedTuple):
    """From `begin` to before `end`."""

    begin: datetime
    end: datetime


class CampaignsApi:
    """The routes, and the tables behind them, which are closed by who made them."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [
            web.get("/v1/campaigns", self._busiest),
            web.get("/v1/campaigns/{campaign_id}", self._campaign),
            web.get("/v1/campaigns/{campaign_id}/hours", self._hours),
        ]

    async def _busiest(self, request: web.Request) -> web.StreamResponse:
        if (top := top_of(request.query.getall("top", []))) is None:
            return answered(NO_TOP)
        as_of = time_text(self._clock.now_us())
        try:
            found = await campaigns.busiest(self._tables, top)
        except Unavailable as unavailable:
            return answered(later(unavailable))
        return answered(Answer(200, orjson.dumps({"as_of": as_of, "campaigns": found})))

    async def _campaign(self, request: web.Request) -> web.StreamResponse:
        campaign_id, profile = uuid_in(request, "campaign_id"), profile_of(request.query.getall("profile_id", []))
        if campaign_id is None or isinstance(profile, Answer):
            return answered(NO_UUID)
        try:
            found = await campaigns.of(self._tables, campaign_id, profile)
        except Unavailable as unavailable:
            return answered(later(unavailable))
        return answered(UNKNOWN if found is None else Answer(200, orjson.dumps(found)))

    async def _hours(self, request: web.Request) -> web.StreamResponse:
        if (campaign_id := uuid_in(request, "campaign_id")) is None:
            return answered(NO_UUID)
        now = EPOCH + timedelta(microseconds=self._clock.now_us())
        span = span_of(request.query.getall("from", []), request.query.getall("to", []), now)
        if isinstance(span, Answer):
            return answered(span)
        try:
            found = await campaigns.hours(self._tables, campaign_id, span.begin, span.end)
        except Unavailable as unavailable:
            return answered(later(unavailable))
        if found is None:
            return answered(UNKNOWN)
        told = {"campaign_id": str(campaign_id), "hours": found.hours, "next": found.next}
        return answered(Answer(200, orjson.dumps(told)))


def profile_of(given: list[str]) -> UUID | Answer | None:
    """The profile that a query names, None for none, or its refusal. Pure."""
    if not given:
        return None
    try:
        return UUID(bytes=uuid_bytes(given[0])) if len(given) == 1 else NO_UUID
    except ValueError:
        return NO_UUID


def span_of(begin: list[str], end: list[str], now: datetime) -> Span | Answer:
    """The hours that a query asks for, or its refusal. Without `to` up to now, without `from` the 24 hours before `to`.
    Pure."""
    if len(begin) > 1 or len(end) > 1:
        return TWICE
    try:
        until = _time(end[0]) if end else now
        return Span(_time(begin[0]) if begin else until - SPAN_DEFAULT, until)
    except ValueError:
        return NO_TIME


def _time(text: str) -> datetime:
    """Of years in which no event lies (ingest.tuple), the nearest moment that may have one. Raises ValueError."""
    return EPOCH + timedelta(microseconds=min(max(text_us(text), TIME_MIN_US), TIME_MAX_US))
