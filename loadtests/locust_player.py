"""A player for Locust: posts what a viewing tells, resends as `posting` says, and writes its process's ledger.

It ends as people do: what it has gathered is still posted, and what was posted is resent until it is answered, for
RESEND_S at most. Nothing of a viewing is said after that.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import gevent
from gevent.event import Event
from locust import FastHttpUser, constant
from locust.env import Environment

from loadtests.body import some_form
from loadtests.ledger import LedgerFile
from loadtests.posting import EVENTS_PATH, TRY_TIMEOUT_S, Posting
from loadtests.viewing import Step, Viewing

FLUSH_S: Final = 10
EVENTS_A_POST_MAX: Final = 100
RESEND_S: Final = 30.0  # after its end, until it is answered
END_S: Final = RESEND_S + TRY_TIMEOUT_S  # how long an end takes at most
EXPECTED_STATUSES: Final = frozenset({200, 204, 400})  # 400: all events of a request were bad ones, and it is right


def posts(told: Viewing, pace: float) -> Iterator[list[Step]]:
    """The steps of a viewing gathered as a player gathers them: for ten seconds of film, or a hundred events."""
    gathered: list[Step] = []
    for step in told.steps:
        if gathered and (
            step.due_ms > gathered[0].due_ms + FLUSH_S * 1000 / pace or len(gathered) == EVENTS_A_POST_MAX
        ):
            yield gathered
            gathered = []
        gathered.append(step)
    if gathered:
        yield gathered


def open_ledger(directory: str) -> LedgerFile:
    """The ledger of this process, in `directory`; with none, one that nobody reads."""
    return LedgerFile(Path(directory) / f"locust-{os.getpid()}.ledger" if directory else Path(os.devnull))


class LocustPlayer(FastHttpUser):
    """What all users have in common; `ledger` is set before the first one posts, once a process."""

    abstract = True
    wait_time = constant(0.2)
    network_timeout = TRY_TIMEOUT_S
    connection_timeout = TRY_TIMEOUT_S
    ledger: LedgerFile

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        assert options is not None
        self.pace = float(options.pace)
        self.seed = int(options.seed)
        self._hang_up_share = float(options.hang_up_share)
        self._rng = random.Random()
        self._leaving = Event()
        self._left_s: float | None = None

    def stop(self, force: bool = False) -> Any:
        """Locust says that this user has to go: it wakes, and posts what it has."""
        self._left_s = time.monotonic()
        self._leaving.set()
        return super().stop(force)

    def play(self, told: Viewing) -> None:
        """Play a viewing, each post when its last event is due, until its end or this user's."""
        for steps in posts(told, self.pace):
            self._leaving.wait(max(0.0, steps[-1].due_ms / 1000 - time.time()))
            now_ms = time.time() * 1000  # an end comes before the last of them are due
            due = [step.event for step in steps if step.due_ms <= now_ms or not self._leaving.is_set()]
            form = some_form(self._rng, needs_sent_at=told.needs_sent_at, last=steps[-1] is told.steps[-1])
            requests = [[event] for event in due] if form == "single" else [due] if due else []
            for events in requests:
                self._post(events, form, told.skew_ms)
            if self._leaving.is_set():
                return

    def _post(self, events: list[dict[str, Any]], form: str, skew_ms: int) -> None:
        posting = Posting(self.ledger, self._rng, events, form, skew_ms, self._hang_up_share)
        while not self._try(posting, form):
            pause_s = posting.pause_s()
            if time.monotonic() + pause_s >= (self._left_s or time.monotonic()) + RESEND_S:
                return
            gevent.sleep(pause_s)

    def _try(self, posting: Posting, form: str) -> bool:
        """One try; whether it was answered for good. Locust's client turns what breaks it into a status of 0."""
        written = posting.begin()
        with (
            gevent.Timeout(posting.timeout_s),
            self.client.post(
                EVENTS_PATH + written.query,
                data=cast(Any, written.data),  # bytes do; its annotation knows texts only
                headers=dict(written.headers),
                name=f"{EVENTS_PATH} {form}",
                catch_response=True,
            ) as answer,
        ):
            status = answer.status_code
            broken = answer.request_meta["exception"]
            if status and not (broken and status < 300):  # a body that broke off promises nothing
                said = posting.answered(status, answer.headers.get("Retry-After"), answer.content or b"")
                if status in EXPECTED_STATUSES:
                    answer.success()
                else:
                    answer.failure(f"{status}: {(answer.text or '')[:200]}")
                return said is not None
            why = posting.lost(type(broken).__name__)
            if posting.hangs_up:
                answer.request_meta["name"] = why
                answer.success()  # it did as it meant to
            else:
                answer.failure(why)
        return False
