"""What the routes of the read side have in common: how they read a request, refuse it, and answer it."""

import random
import re
from typing import Final
from uuid import UUID

from aiohttp import web

from ingest.answer import Answer, refusal, try_again
from ingest.codes import BY_NAME, INVALID_UUID, OUT_OF_RANGE
from ingest.decode.uuid import uuid_bytes
from live.source import TOP_MAX, Unavailable

TOP_DEFAULT: Final = 20
TOP: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
WAIT_S: Final = {
    "counters_unavailable": 1.0,
    "data_directory_unreadable": 5.0,
    "qoe_unavailable": 2.0,
    "rebuild_needed": 15.0,
    "store_unavailable": 1.0,
    "too_many_subscribers": 5.0,
}
"""Until it is worth another try."""
NO_TOP: Final = refusal(400, OUT_OF_RANGE, f"top is not one whole number from 1 to {TOP_MAX}.")
NO_UUID: Final = refusal(400, INVALID_UUID, BY_NAME[INVALID_UUID].sentence)


def top_of(given: list[str]) -> int | None:
    """The number that a query says, once; None when it is none from 1 to TOP_MAX. Pure."""
    if not given:
        return TOP_DEFAULT
    if len(given) > 1 or not TOP.fullmatch(given[0]):
        return None
    top = int(given[0])
    return top if top <= TOP_MAX else None


def uuid_in(request: web.Request, name: str) -> UUID | None:
    """The identifier at a place of the path; None when it is none."""
    try:
        return UUID(bytes=uuid_bytes(request.match_info[name]))
    except ValueError:
        return None


def later(why: Unavailable) -> Answer:
    """A 503 by one of WAIT_S's codes."""
    return try_again(503, why.code, why.message, WAIT_S[why.code], random.random())


def answered(answer: Answer) -> web.Response:
    """As aiohttp sends it, and nobody keeps it."""
    headers = {"Cache-Control": "no-store", **dict(answer.headers)}
    return web.Response(status=answer.status, body=answer.body, headers=headers, content_type="application/json")
