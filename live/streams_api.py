"""What a user watches now, over HTTP, on the admin port.

GET /v1/streams/{user_id}   sessions of the user's profiles that play, beside what the plan allows
"""

from typing import Final

import orjson
from aiohttp import web

from ingest.answer import Answer, refusal
from live.answers import NO_UUID, answered, later, uuid_in
from live.catalogue import Catalogue
from live.source import Source, Unavailable, time_text

UNKNOWN: Final = refusal(404, "unknown_user", "There is no such user in the catalogue.")


class StreamsApi:
    """The route, and what is behind it, which is closed by who made it."""

    def __init__(self, source: Source, catalogue: Catalogue) -> None:
        self._source = source
        self._catalogue = catalogue

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [web.get("/v1/streams/{user_id}", self._user)]

    async def _user(self, request: web.Request) -> web.StreamResponse:
        if (user_id := uuid_in(request, "user_id")) is None:
            return answered(NO_UUID)
        try:
            account = await self._catalogue.account(user_id)
            if account is None:
                return answered(UNKNOWN)
            found = await self._source.streams(account.profiles)
        except Unavailable as unavailable:
            return answered(later(unavailable))
        told = {
            "user_id": str(user_id),
            "plan": account.plan,
            "limit": account.streams_max,
            "streams": [
                {
                    "session_id": str(stream.session_id),
                    "profile_id": str(stream.profile_id),
                    "content_id": str(stream.content_id),
                    "since": time_text(stream.since_us),
                    "until": time_text(stream.until_us),
                }
                for stream in found.streams
            ],
            "as_of": time_text(found.as_of_us),
        }
        return answered(Answer(200, orjson.dumps(told)))
