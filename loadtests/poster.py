"""Posts by aiohttp until there is an answer; `posting` says what is sent again, and when. Keeps the crowd's tally."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from loadtests.ledger import Identity, LedgerFile, identity
from loadtests.posting import EVENTS_PATH, Posting

ADVISED_STATUSES: Final = frozenset({429, 503})  # these say when to come back, or they are counted apart
UNADVISED: Final = " without Retry-After"


@dataclass(slots=True)
class Tally:
    """What one crowd process has done so far; everything counts events but `posts`, `tries` and `statuses`."""

    posts: int = 0
    tries: int = 0
    posted: int = 0
    acknowledged: int = 0
    refused: int = 0
    given_up: int = 0
    in_flight: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)  # since the last stats line
    row_identities: set[Identity] = field(default_factory=set)
    view_identities: set[tuple[str, str]] = field(default_factory=set)

    def acknowledge(self, event: dict[str, Any]) -> None:
        """Book one promise: rows and views are counted once, however often they were sent."""
        self.acknowledged += 1
        if event["event_type"] != "heartbeat":
            self.row_identities.add(identity(event))
        if event["event_type"] == "play" and event.get("test") is not True:
            self.view_identities.add((event["session_id"], event["content_id"]))

    def count_status(self, status: str) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1


@dataclass(slots=True)
class Poster:
    """Everything that the viewers of one process share on their way to the gateway.

    `gives_up_at` says until when (time.monotonic) an unanswered request is resent; it is asked before every try, so
    that a crowd told to stop can shorten it. `hang_up_share` of the tries break their connection on purpose. A crowd
    in a hurry comes back within `pause_max_s`, whatever it is advised.
    """

    session: aiohttp.ClientSession
    url: str
    ledger: LedgerFile
    rng: random.Random
    tally: Tally
    gives_up_at: Callable[[], float]
    hang_up_share: float = 0.0
    pause_max_s: float = math.inf

    async def post(self, events: Sequence[dict[str, Any]], form: str, skew_ms: int = 0) -> bool:
        """Send until answered; True when there was an answer, False when it was given up."""
        posting = Posting(self.ledger, self.rng, events, form, skew_ms, self.hang_up_share)
        self.tally.posts += 1
        self.tally.posted += len(events)
        self.tally.in_flight += len(events)
        try:
            while not await self._try(posting):
                pause_s = posting.pause_s(self.pause_max_s)
                if time.monotonic() + pause_s >= self.gives_up_at():
                    self.tally.given_up += len(events)
                    return False
                await asyncio.sleep(pause_s)
            return True
        finally:
            self.tally.in_flight -= len(events)

    async def _try(self, posting: Posting) -> bool:
        """One try; whether it was answered for good."""
        written = posting.begin()
        self.tally.tries += 1
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(posting.timeout_s):
                response = await self.session.post(
                    self.url + EVENTS_PATH + written.query, data=written.data, headers=written.headers
                )
                async with response:
                    answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as lost:
            self.tally.count_status(posting.lost(type(lost).__name__))
            return False
        except asyncio.CancelledError:
            posting.lost("cancelled")
            raise
        self.tally.latencies_ms.append((time.monotonic() - begun_s) * 1000)
        advice = response.headers.get("Retry-After")
        advised = advice is not None or response.status not in ADVISED_STATUSES
        self.tally.count_status(f"{response.status}" if advised else f"{response.status}{UNADVISED}")
        said = posting.answered(response.status, advice, answer)
        if said is None:
            return False
        if said.odd is None and response.status in (200, 204):
            refused = set(said.refused)
            for index, event in enumerate(posting.events):
                if index not in refused:
                    self.tally.acknowledge(event)
        self.tally.refused += len(said.refused)
        return True
