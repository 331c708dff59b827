"""Numbers of the moment as server-sent events: one sample a second for all who listen, only the latest is sent.

    retry: 1000                          first of all
    id: <epoch ms>  event: live          data: as /v1/live (or another kind of sample, and as its route)
                    event: unavailable   data: why there are no numbers, once; a comment every second while it lasts

A reader that is slow misses samples, which pile up nowhere: what is not sent yet is one event and a socket's buffers.
The id is the sample's time; there is nothing to be sent again to who comes back, the next sample is the newest.
"""

import asyncio
from typing import Any, Final, Protocol

import orjson
import structlog
from aiohttp import web

from live.source import Unavailable

log: Any = structlog.get_logger()

PERIOD_S: Final = 1.0
SUBSCRIBERS_MAX: Final = 64
"""Some 150 KB each when they do not read; a page of the team's own, and no door for viewers."""
SILENCE_MAX_S: Final = 5.0
"""Then a comment keeps the connection, whatever holds the sample up."""
STALLED_S: Final = 30.0
"""A reader that takes nothing for so long is let go."""
RETRY_MS: Final = 1_000
OPENING: Final = b"retry: %d\n\n" % RETRY_MS
KEEP_ALIVE: Final = b": keep-alive\n\n"
HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would wait for more
}


class Known(Protocol):
    """Numbers of one moment, the same for all subscribers."""

    @property
    def kind(self) -> bytes:
        """The event's name."""
        ...

    @property
    def as_of_us(self) -> int: ...

    def body(self, top: int) -> bytes:
        """JSON; `top` is what the subscriber asked for."""
        ...


class Sampled(Protocol):
    """What a stream is fed by."""

    async def sample(self) -> Known:
        """The numbers of now. Raises Unavailable."""
        ...


Moment = Known | Unavailable


def event(moment: Moment, top: int) -> bytes:
    """A moment as an event. Pure."""
    if isinstance(moment, Unavailable):
        body = orjson.dumps({"error": moment.code, "message": moment.message})
        return b"event: unavailable\ndata: %b\n\n" % body
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (moment.as_of_us // 1_000, moment.kind, moment.body(top))


def told(moment: Moment, before: Moment | None, top: int) -> bytes:
    """What one subscriber is sent of a moment, after the one it was told `before`. Pure."""
    if isinstance(moment, Unavailable) and isinstance(before, Unavailable) and moment.code == before.code:
        return KEEP_ALIVE
    return event(moment, top)


class Stream:
    """All subscribers, and the one task that samples for them, while there are any."""

    def __init__(self, source: Sampled) -> None:
        self._source = source
        self._subscribers = 0
        self._sampling: asyncio.Task[None] | None = None
        self._moment: Moment | None = None
        self._changed = asyncio.Event()
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether nobody more is taken."""
        return self._subscribers >= SUBSCRIBERS_MAX or self._is_closed

    async def serve(self, request: web.Request, top: int) -> web.StreamResponse:
        """Send events until the reader goes, or the gateway ends. Not when it `is_full`."""
        assert not self.is_full
        self._subscribers += 1
        try:
            response = web.StreamResponse(headers=HEADERS)
            await response.prepare(request)
            if self._sampling is None or self._sampling.done():
                self._sampling = asyncio.create_task(self._sample())
                self._sampling.add_done_callback(_ended)
            await self._send(request, response, top, self._sampling)
        finally:
            self._subscribers -= 1
            if not self._subscribers:
                self._stop()
        return response

    def close(self) -> None:
        """End every response after what is being sent."""
        self._is_closed = True
        self._stop()
        self._changed.set()

    async def _send(
        self, request: web.Request, response: web.StreamResponse, top: int, sampling: asyncio.Task[None]
    ) -> None:
        data, before = OPENING, None
        try:
            while True:
                async with asyncio.timeout(STALLED_S):
                    await response.write(data)
                if before is self._moment:
                    await self._next()
                if self._is_closed or sampling.done():  # a new one is begun by who comes back
                    await response.write_eof()
                    return
                moment = self._moment
                if moment is None or moment is before:
                    data = KEEP_ALIVE
                else:
                    data, before = told(moment, before, top), moment
        except TimeoutError:
            log.info("live_subscriber_stalled")
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            return  # it went

    async def _next(self) -> None:
        """Until there is another moment, or for SILENCE_MAX_S."""
        try:
            async with asyncio.timeout(SILENCE_MAX_S):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _sample(self) -> None:
        clock = asyncio.get_running_loop()
        while True:
            begun_s = clock.time()
            moment: Moment
            try:
                moment = await self._source.sample()
            except Unavailable as unavailable:
                moment = unavailable
            self._moment = moment
            self._changed.set()
            self._changed = asyncio.Event()
            await asyncio.sleep(max(0.0, begun_s + PERIOD_S - clock.time()))

    def _stop(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
        self._sampling = self._moment = None


def _ended(sampling: asyncio.Task[None]) -> None:
    if not sampling.cancelled() and (error := sampling.exception()) is not None:
        log.error("live_sampling_failed", exc_info=error)
