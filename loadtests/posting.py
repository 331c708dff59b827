"""One request from its first try to its answer, without I/O, as DESIGN §3 asks of clients: the same ids on every try,
`sent_at` anew, and the ledger written before a byte is sent and after the answer.

Resent: 408, 429, 502, 503, 504, broken connections, silence. Nothing else is. Who sends (aiohttp in `poster`, gevent in
`locust_player`) asks `begin` for a body, and tells `answered` or `lost`; `pause_s` is how long to wait before the next.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from typing import Any, Final

from loadtests.body import FORMS_WITH_SENT_AT, Body, body
from loadtests.ledger import RESEND_STATUSES, LedgerFile, Verdict, verdict
from loadtests.viewing import wire_time

TRY_TIMEOUT_S: Final = 10.0
PAUSE_LEAST_S: Final = 0.05
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MOST_S: Final = 5.0
# Phones lose their network in the middle of a request; a crowd does so on purpose, after this long at most.
HANG_UP_AFTER_MAX_S: Final = 0.03
EVENTS_PATH: Final = "/v1/events"
HUNG_UP: Final = "hung up"


class Posting:
    """`events` on their way, in one of body's FORMS; `skew_ms` is how far the player's clock is off.

    `hang_up_share` of the tries break their connection on purpose: `hangs_up` and `timeout_s` say so of the last begun.
    """

    def __init__(
        self,
        ledger: LedgerFile,
        rng: random.Random,
        events: Sequence[dict[str, Any]],
        form: str,
        skew_ms: int = 0,
        hang_up_share: float = 0.0,
    ) -> None:
        self.events = events
        self.tries = 0
        self.hangs_up = False
        self.timeout_s = TRY_TIMEOUT_S
        self._ledger = ledger
        self._rng = rng
        self._form = form
        self._skew_ms = skew_ms
        self._hang_up_share = hang_up_share
        self._advised_s = 0.0
        self._number = ledger.post(events)

    def begin(self) -> Body:
        """Write down another try, and say what it carries: to be posted to EVENTS_PATH and its query now."""
        now_us = time.time_ns() // 1000
        sent_ms = now_us // 1000 + self._skew_ms
        carries_sent_at = self._form in FORMS_WITH_SENT_AT
        sent_at = wire_time(sent_ms, "utc" if self._number % 2 else "epoch_ms") if carries_sent_at else None
        written = body(self._form, self.events, sent_at)
        self._ledger.attempt(self._number, now_us, sent_ms * 1000 if carries_sent_at else None)
        self.tries += 1
        self.hangs_up = self._rng.random() < self._hang_up_share
        self.timeout_s = self._rng.uniform(0, HANG_UP_AFTER_MAX_S) if self.hangs_up else TRY_TIMEOUT_S
        return written

    def answered(self, status: int, retry_after: str | None, answer: bytes) -> Verdict | None:
        """Write down an answer; what it says of the events, None when it asks for another try."""
        said = verdict(status, answer, len(self.events))
        self._ledger.answer(self._number, time.time_ns() // 1000, status, said)
        self._advised_s = _seconds(retry_after)
        return None if status in RESEND_STATUSES else said

    def lost(self, why: str) -> str:
        """Write down that a try ended without an answer, and return what is written: a hang-up is one, whatever else
        was seen of it."""
        said = HUNG_UP if self.hangs_up else why
        self._ledger.lost(self._number, time.time_ns() // 1000, said)
        self._advised_s = 0.0
        return said

    def pause_s(self, most_s: float = math.inf) -> float:
        """How long to wait before the next try: what was advised, and a jitter that grows from try to try; those in a
        hurry come back within `most_s`, whatever they are advised."""
        backoff_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self.tries - 1, 10))
        pause_s = max(self._advised_s, PAUSE_LEAST_S) + self._rng.uniform(0, backoff_s)
        return min(pause_s, most_s * self._rng.uniform(0.5, 1))


def _seconds(retry_after: str | None) -> float:
    """Retry-After as seconds; a date, or nonsense, is no advice."""
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        return 0.0
