"""Send one request until it is answered, as DESIGN §3 asks of clients: the same ids on every try, `sent_at` anew.

Resent: 408, 429, 502, 503, 504, broken connections, silence. Nothing else is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from loadtests.body import FORMS_WITH_SENT_AT, body
from loadtests.ledger import RESEND_STATUSES, Identity, LedgerFile, identity, verdict
from loadtests.viewing import wire_time

TRY_TIMEOUT_S: Final = 10.0
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MOST_S: Final = 5.0
# Phones lose their network in the middle of a request; the crowd does so on purpose, after this long at most.
HANG_UP_AFTER_MAX_S: Final = 0.03
EVENTS_PATH: Final = "/v1/events"


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
    that a crowd told to stop can shorten it. `hang_up_share` of the tries break their connection on purpose.
    """

    session: aiohttp.ClientSession
    url: str
    ledger: LedgerFile
    rng: random.Random
    tally: Tally
    gives_up_at: Callable[[], float]
    hang_up_share: float = 0.0

    async def post(self, events: Sequence[dict[str, Any]], form: str, skew_ms: int = 0) -> bool:
        """Send until answered; True when there was an answer, False when it was given up."""
        number = self.ledger.post(events)
        self.tally.posts += 1
        self.tally.posted += len(events)
        self.tally.in_flight += len(events)
        try:
            for tries in range(1_000_000):
                retry_after_s = await self._try(number, events, form, skew_ms)
                if retry_after_s is None:
                    return True
                backoff_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(tries, 10))
                pause_s = max(retry_after_s, 0.05) + self.rng.uniform(0, backoff_s)
                if time.monotonic() + pause_s >= self.gives_up_at():
                    break
                await asyncio.sleep(pause_s)
            self.tally.given_up += len(events)
            return False
        finally:
            self.tally.in_flight -= len(events)

    async def _try(self, number: int, events: Sequence[dict[str, Any]], form: str, skew_ms: int) -> float | None:
        """One try; None when it was answered for good, else the seconds that the gateway asks to wait (or 0)."""
        now_ms = time.time_ns() // 1_000_000
        sent_ms = now_ms + skew_ms
        carries_sent_at = form in FORMS_WITH_SENT_AT
        written = body(
            form, events, wire_time(sent_ms, "utc" if number % 2 else "epoch_ms") if carries_sent_at else None
        )
        self.ledger.attempt(number, now_ms * 1000, sent_ms * 1000 if carries_sent_at else None)
        self.tally.tries += 1
        hangs_up = self.rng.random() < self.hang_up_share
        timeout_s = self.rng.uniform(0, HANG_UP_AFTER_MAX_S) if hangs_up else TRY_TIMEOUT_S
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                response = await self.session.post(
                    self.url + EVENTS_PATH + written.query, data=written.data, headers=written.headers
                )
                async with response:
                    answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as lost:
            why = "hung up" if hangs_up else type(lost).__name__
            self.ledger.lost(number, time.time_ns() // 1000, why)
            self.tally.count_status(why)
            return 0.0
        except asyncio.CancelledError:
            self.ledger.lost(number, time.time_ns() // 1000, "cancelled")
            raise
        self.tally.latencies_ms.append((time.monotonic() - begun_s) * 1000)
        self.tally.count_status(str(response.status))
        said = verdict(response.status, answer, len(events))
        self.ledger.answer(number, time.time_ns() // 1000, response.status, said)
        if response.status in RESEND_STATUSES:
            return _seconds(response.headers.get("Retry-After"))
        if said.odd is None and response.status in (200, 204):
            refused = set(said.refused)
            for index, event in enumerate(events):
                if index not in refused:
                    self.tally.acknowledge(event)
        self.tally.refused += len(said.refused)
        return None


def _seconds(retry_after: str | None) -> float:
    """Retry-After as seconds; a date, or nonsense, is no advice."""
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        return 0.0
