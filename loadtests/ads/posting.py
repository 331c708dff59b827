"""The requests on their way: many at once, each resent until it is answered, and the book of every try."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from yarl import URL

from loadtests.ads.request import Request
from loadtests.body import FORMS_WITH_SENT_AT, body
from loadtests.crowd import Pacing
from loadtests.ledger import NOT_KEPT_STATUSES, RESEND_STATUSES, verdict
from loadtests.posting import EVENTS_PATH

CONNECTIONS: Final = 24
TRY_TIMEOUT_S: Final = 10.0
GIVE_UP_S: Final = 120.0  # of one request
PAUSE_MAX_S: Final = 0.5
HANG_UP_SHARE: Final = 0.005
HANG_UP_AFTER_MAX_S: Final = 0.02
UNHEARD_US: Final = 60_000_000  # how long after a try without answer the gateway may still read it
GIF_BYTES: Final = 43


@dataclass(frozen=True, slots=True)
class Try:
    """One that may have been kept, whole: received between `begun_us` and `ended_us`. `acknowledged`: it was kept."""

    begun_us: int
    ended_us: int
    acknowledged: bool


@dataclass(slots=True)
class Sent:
    """One request and all of its tries that may have been kept."""

    request: Request
    tries: list[Try] = field(default_factory=list)

    @property
    def acknowledged(self) -> bool:
        return any(one.acknowledged for one in self.tries)


@dataclass(slots=True)
class Book:
    """Everything that was sent. `odd` are answers that nobody should get; `lost` tries had none."""

    sent: list[Sent] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    acknowledged: int = 0
    lost: int = 0
    refused: int = 0
    """Events that no gateway takes, each counted once."""
    played: set[str] = field(default_factory=set)
    """Ids of playback events that were taken beside the ads."""


def client() -> aiohttp.ClientSession:
    """A session that notes each time a request goes out: aiohttp sends one again by itself when a connection that was
    kept alive turns out to be broken."""
    tracing = aiohttp.TraceConfig()

    async def goes_out(session: aiohttp.ClientSession, context: Any, what: object) -> None:
        context.trace_request_ctx.append(time.time_ns() // 1_000)

    tracing.on_request_headers_sent.append(goes_out)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trace_configs=[tracing])


class Posting:
    """Requests by a `client` to a gateway at `url`, some of which hang up on purpose. At most `per_s` a second."""

    def __init__(self, session: aiohttp.ClientSession, url: str, book: Book, seed: int, per_s: float) -> None:
        self._session, self._url, self._book = session, url, book
        self._rng = random.Random(f"ads:posting:{seed}")
        self._pacing = Pacing(per_s)

    async def all(self, requests: Iterable[Request]) -> None:
        """In about this order. Raises TimeoutError when one was not answered for long."""
        ahead = iter(requests)

        async def one_after_the_other() -> None:
            for request in ahead:
                await self._pacing.turn()
                await self._until_answered(request)

        async with asyncio.TaskGroup() as posting:
            for _ in range(CONNECTIONS):
                posting.create_task(one_after_the_other())

    async def _until_answered(self, request: Request) -> None:
        sent = Sent(request)
        self._book.sent.append(sent)
        until_s = time.monotonic() + GIVE_UP_S
        while not await self._try(sent):
            if time.monotonic() > until_s:
                raise TimeoutError(f"{request.target or EVENTS_PATH} was never answered")
            await asyncio.sleep(self._rng.uniform(0.02, PAUSE_MAX_S))
        self._book.acknowledged += 1
        self._book.refused += len(request.refused)
        self._book.played |= {body["event_id"] for body in request.bodies if "event_id" in body}

    async def _try(self, sent: Sent) -> bool:
        """Whether there was an answer for good."""
        hangs_up = self._rng.random() < HANG_UP_SHARE
        timeout_s = self._rng.uniform(0, HANG_UP_AFTER_MAX_S) if hangs_up else TRY_TIMEOUT_S
        begun_us = time.time_ns() // 1_000
        out_us: list[int] = []
        try:
            async with asyncio.timeout(timeout_s):
                status, answer = await self._ask(sent.request, begun_us, out_us)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._book.lost += bool(out_us)
            unheard_us = time.time_ns() // 1_000 + UNHEARD_US
            sent.tries += [Try(begun_us, unheard_us, acknowledged=False) for _ in out_us]
            return False
        ended_us = time.time_ns() // 1_000
        sent.tries += [Try(begun_us, ended_us, acknowledged=False) for _ in out_us[1:]]
        self._book.statuses[status] = self._book.statuses.get(status, 0) + 1
        if status in RESEND_STATUSES:
            if status not in NOT_KEPT_STATUSES:
                sent.tries.append(Try(begun_us, ended_us, acknowledged=False))
            return False
        if odd := self._odd(sent.request, status, answer):
            self._book.odd.append(odd)
        sent.tries.append(Try(begun_us, ended_us, acknowledged=not odd))
        return True

    async def _ask(self, request: Request, now_us: int, out_us: list[int]) -> tuple[int, bytes]:
        """Status and body; `out_us` gets the moment of each time that it goes out."""
        headers = {"User-Agent": request.user_agent}
        if request.target is None:
            sent_at = (now_us + request.skew_us) // 1_000 if request.form in FORMS_WITH_SENT_AT else None
            written = body(request.form, request.bodies, sent_at)
            url = URL(self._url + EVENTS_PATH + written.query)
            headers |= written.headers
            asked = self._session.post(url, data=written.data, headers=headers, trace_request_ctx=out_us)
        else:
            url = URL(self._url + request.target, encoded=True)  # to the letter, unescaped brackets too
            asked = self._session.request(request.method, url, headers=headers, trace_request_ctx=out_us)
        async with asked as response:
            return response.status, await response.read()

    def _odd(self, request: Request, status: int, answer: bytes) -> str:
        """What is wrong with an answer for good; empty when nothing is."""
        if request.target is not None:
            length = 0 if request.method == "HEAD" else GIF_BYTES
            right = status == 200 and len(answer) == length
            return "" if right else f"{status} with {len(answer)} bytes to {request.method} {request.target}"
        said = verdict(status, answer, len(request.bodies))
        if said.odd or status not in (200, 204):
            return said.odd or f"{status}: {answer[:200]!r}"
        if frozenset(said.refused) != request.refused:
            return f"refused {said.refused}, not {sorted(request.refused)}: {answer[:300]!r}"
        return ""
