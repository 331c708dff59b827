"""Quality of experience over HTTP: the route that gateway/admin.py serves on the admin port.

GET /v1/qoe?by=cdn_edge&window=5m&top=20
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from ingest.answer import Answer, refusal
from ingest.clock import Clock
from ingest.codes import OUT_OF_RANGE
from live.answers import NO_TOP, answered, later, top_of
from live.quality import Question, ask
from live.source import Unavailable
from storage.qoe.answer import WINDOWS_MIN
from storage.qoe.figures import DIMENSIONS
from storage.reader_status import ReaderStatus

WINDOW_DEFAULT: Final = "5m"
NO_BY: Final = refusal(400, OUT_OF_RANGE, f"by is not one of {', '.join(DIMENSIONS)}.")
NO_WINDOW: Final = refusal(400, OUT_OF_RANGE, f"window is not one of {', '.join(WINDOWS_MIN)}.")


class QualityApi:
    """The route. `door`: where the reader is asked; `status`: what it said last."""

    def __init__(self, door: Path, status: Callable[[], ReaderStatus | None], clock: Clock) -> None:
        self._door = door
        self._status = status
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [web.get("/v1/qoe", self._quality)]

    async def _quality(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        question = question_of(query.getall("by", []), query.getall("window", []), query.getall("top", []))
        if isinstance(question, Answer):
            return answered(question)
        try:
            body = await ask(self._door, self._status(), question, self._clock.now_us())
        except Unavailable as unavailable:
            return answered(later(unavailable))
        return answered(Answer(200, body))


def question_of(by: list[str], window: list[str], top: list[str]) -> Question | Answer:
    """What the values of a query ask for, or its refusal. Pure."""
    if len(by) > 1 or (by and by[0] not in DIMENSIONS):
        return NO_BY
    if len(window) > 1 or (window and window[0] not in WINDOWS_MIN):
        return NO_WINDOW
    if (most := top_of(top)) is None:
        return NO_TOP
    return Question(by[0] if by else None, window[0] if window else WINDOW_DEFAULT, most)
