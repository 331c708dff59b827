"""Viewers for Locust: `locust -f loadtests/locustfile.py --host http://127.0.0.1:8080`, from the project's root.

Each user plays one seeded viewing after the other, at PACE seconds of film a second, in the forms that players use. The
refusal of a value that does not fit its column is a success here: it is right. Environment: VIEWING_SEED, VIEWING_PACE.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator
from typing import Any, Final, cast

from locust import FastHttpUser, constant, task

from loadtests.body import FORMS, FORMS_WITH_SENT_AT, body
from loadtests.viewing import Step, Viewing, viewing, wire_time

SEED: Final = int(os.environ.get("VIEWING_SEED", "1"))
PACE: Final = float(os.environ.get("VIEWING_PACE", "20"))
FLUSH_S: Final = 10
EVENTS_A_POST_MAX: Final = 100
EXPECTED_STATUSES: Final = frozenset({200, 204, 400})  # 400: the one event of a request was a bad one

_indices: Iterator[int] = itertools.count(random.SystemRandom().randrange(2**31))  # workers must not share viewings


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


class Viewer(FastHttpUser):
    """One viewer after the other on the same sofa."""

    wait_time = constant(0.2)
    network_timeout = 10.0

    @task
    def watch(self) -> None:
        """Play one viewing, each post when its last event is due."""
        told = viewing(SEED, next(_indices), time.time_ns() // 1_000_000, PACE)
        for steps in posts(told, PACE):
            time.sleep(max(0.0, steps[-1].due_ms / 1000 - time.time()))  # gevent's, by Locust's monkey patch
            self._post([step.event for step in steps], told)

    def _post(self, events: list[dict[str, Any]], told: Viewing) -> None:
        form = random.choice(FORMS)
        if form == "single" or (told.needs_sent_at and form not in FORMS_WITH_SENT_AT):
            form = "envelope"
        sent_ms = time.time_ns() // 1_000_000 + told.skew_ms
        written = body(form, events, wire_time(sent_ms, "utc") if form in FORMS_WITH_SENT_AT else None)
        with self.client.post(
            "/v1/events" + written.query,
            data=cast(Any, written.data),  # bytes do; its annotation knows texts only
            headers=dict(written.headers),
            name=f"/v1/events {form}",
            catch_response=True,
        ) as answer:
            if answer.status_code in EXPECTED_STATUSES:
                answer.success()
            else:
                answer.failure(f"{answer.status_code}: {(answer.text or '')[:200]}")
