"""A gateway with a past: three crowds in three incarnations, players with broken clocks, events sent twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.ledger import Ledger
from loadtests.reconcile import reconcile_when_drained
from tests.acceptance.audience import Audience
from tests.acceptance.client import Book, an_event, eventually, sql, stored_ids
from tests.acceptance.gateway_process import Gateway

DRAIN_S: Final = 60.0
YEAR_1970_MS: Final = 3_600_000
YEAR_2038_MS: Final = 2_147_483_647_000


@dataclass(frozen=True)
class Scene:
    """A gateway after its crowd: all of it drained, in three incarnations."""

    gateway: Gateway
    ledger: Ledger
    rows: int
    repaired: str
    """Event id of a clock at 1970, sent twice."""
    resent: str
    """Event id of one that was sent in two requests."""

    @property
    def postgres(self) -> str:
        return self.gateway.endpoints["postgres"]


@contextmanager
def played(directory: Path) -> Iterator[Scene]:
    """Play it in `directory`: a crowd, a clean restart, a crowd, a kill, a crowd, broken clocks and resends."""
    (directory / "data").mkdir()
    with Gateway(directory / "data") as gateway:
        gateway.start()
        url = gateway.wait_ready().endpoints["http"]
        with Audience(directory, url, number=0) as crowd:
            crowd.acknowledged_more(3)
        gateway.stop()
        gateway.start()
        gateway.wait_ready()
        with Audience(directory, url, number=1) as crowd:
            crowd.acknowledged_more(2)
        gateway.kill_everything()
        gateway.start()
        at = gateway.wait_ready().endpoints
        with Audience(directory, url, number=2) as crowd:
            crowd.acknowledged_more(1)
        ledger = Ledger.read(sorted(directory.glob("*.ledger")))
        assert not ledger.unanswered()
        report = asyncio.run(reconcile_when_drained(ledger, at, own_contents_only=False, wait_s=DRAIN_S))
        assert report.equal, report.text()

        book, broken, resent = Book(), an_event(occurred_at=YEAR_1970_MS), an_event()
        for _ in range(2):
            book.post(url, [broken], sent_at=YEAR_1970_MS + 5_000)
            book.post(url, [an_event(occurred_at=YEAR_2038_MS)], sent_at=YEAR_2038_MS + 5_000)
            book.post(url, [resent, an_event(bitrate=-1), an_event(event_type="heartbeat")])
        rows = report.stored + len(book.rows)
        eventually(lambda: stored_ids(at["postgres"]).total() == rows, DRAIN_S, "all are rows, once")
        settled(gateway)
        assert sql(at["postgres"], "SELECT count(*) AS many FROM clock_repairs")[0]["many"] >= 3
        assert sql(at["postgres"], "SELECT count(DISTINCT incarnation) AS n FROM ingest_positions")[0]["n"] >= 3
        yield Scene(gateway, ledger, rows, broken["event_id"], resent["event_id"])


def settled(gateway: Gateway) -> None:
    """Wait until both readers have everything and said so."""
    for _ in range(2):  # the second look comes after a status that was written behind the first
        time.sleep(1.1)
        eventually(lambda: not any(r["lag_frames"] for r in gateway.statusz()["readers"]), DRAIN_S, "all delivered")
