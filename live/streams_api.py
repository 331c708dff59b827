"""What a user watches now, over HTTP, on the admin port.

GET /v1/streams/{user_id}   sessions of the user's profiles that play, beside what the plan allows
"""

from uuid import UUID

import orjson
from aiohttp import web

from ingest.answer import Answer, refusal
from ingest.codes import BY_NAME, INVALID_UUID
from ingest.decode.uuid import uuid_bytes
from live.api import answered, later
from live.catalogue import Catalogue
from live.source import Source, Unavailable, time_text


class StreamsApi:
    """The route, and what is behind it; the source is closed by who made it."""

    def __init__(self, source: Source, catalogue: Catalogue) -> None:
        self._source = source
        self._catalogue = catalogue

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [web.get("/v1/streams/{user_id}", self._user)]

    async def close(self, _: web.Application) -> None:
        """Behind the last answer."""
        self._catalogue.close()

    async def _user(self, request: web.Request) -> web.StreamResponse:
        try:
            user_id = UUID(bytes=uuid_bytes(request.match_info["user_id"]))
        except ValueError:
            return answered(refusal(400, INVALID_UUID, BY_NAME[INVALID_UUID].sentence))
        try:
            account = await self._catalogue.account(user_id)
            if account is None:
                return answered(refusal(404, "unknown_user", "There is no such user in the catalogue."))
            found = await self._source.streams(account.profiles)
        except Unavailable as unavailable:
            return answered(later(unavailable.code, unavailable.message))
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
