"""What is away for long: the door stays open, what was missed is said. (What dies under load is in test_faults.py.)"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from loadtests.ledger import Ledger
from loadtests.reconcile import reconcile_when_drained
from tests.acceptance.audience import Audience
from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, stopped, stored_ids
from tests.acceptance.gateway_process import Gateway, let_others_through

PLAYED_S: Final = 2.0  # before and after each blow
BACK_S: Final = 30.0
DRAIN_S: Final = 60.0
QUOTA_BYTES: Final = 512 * 1024
HIGH_MARK: Final = 0.9


def reader(gateway: Gateway, name: str) -> dict[str, Any]:
    (told,) = (told for told in gateway.statusz()["readers"] if told["reader"] == name)
    return dict(told)


def counted_views(gateway: Gateway) -> int:
    with redis.Redis.from_url(gateway.endpoints["redis"]) as store:
        return sum(int(views) for key in store.scan_iter(match="{ingest}:views:*") for views in store.hvals(key))


class Theatre:
    """A gateway, and all the crowds that ever played to it: one ledger, which the stores must equal after each act."""

    def __init__(self, directory: Path, gateway: Gateway) -> None:
        self.directory = directory
        self.gateway = gateway
        self._numbers = count()

    def crowd(self) -> Audience:
        return Audience(self.directory, self.gateway.endpoints["http"], number=next(self._numbers))

    def assert_equal(self) -> None:
        """Every acknowledged event is stored once, with its values, and every view is counted once."""
        ledger = Ledger.read(sorted(self.directory.glob("*.ledger")))
        assert not ledger.unanswered(), "every request is resent until it is answered"
        at = self.gateway.endpoints
        report = asyncio.run(reconcile_when_drained(ledger, at, own_contents_only=False, wait_s=DRAIN_S))
        assert report.equal, report.text() + "\n" + self.gateway.log_tail()
        assert report.acknowledged == ledger.acknowledged_rows() > 0
        assert report.views > 0


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    directory = tmp_path_factory.mktemp("outage")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as gateway:
        gateway.start()
        gateway.wait_ready()
        yield Theatre(directory, gateway)


def test_the_door_stays_open_while_both_stores_are_away(theatre: Theatre) -> None:
    gateway = theatre.gateway
    with stopped(pid_of(gateway, "postgres"), pid_of(gateway, "redis")), theatre.crowd() as crowd:
        crowd.acknowledged_more(PLAYED_S)
        assert set(crowd.figures["statuses"]) <= {"200", "204", "400", "TimeoutError", "hung up"}
        assert ask(gateway.endpoints["admin"] + "/readyz").status == 200
    theatre.assert_equal()


def test_what_two_collectors_left_undelivered_one_delivers(theatre: Theatre) -> None:
    gateway = theatre.gateway
    gateway.stop()
    two = Gateway(gateway.data_dir, arguments=("--workers", "2"))
    with two:
        two.start()
        at, book = two.wait_ready().endpoints, Book()
        before = set((gateway.data_dir / "spool").glob("*/*.open"))
        assert len(before) == 2
        with stopped(pid_of(two, "postgres_drain"), pid_of(two, "readers")):
            for _ in range(200):  # until both collectors have taken some
                assert book.post(at["http"], [an_event() for _ in range(3)]).status == 200
                if min(path.stat().st_size for path in before) > 1_000:
                    break
            assert min(path.stat().st_size for path in before) > 1_000, "one collector took everything"
            assert not book.rows & set(stored_ids(at["postgres"])), "undelivered"
            two.kill_everything()
    gateway.start()
    gateway.wait_ready()

    def all_there() -> bool:
        stored = stored_ids(gateway.endpoints["postgres"])
        return all(stored[event_id] == 1 for event_id in book.rows)

    eventually(all_there, DRAIN_S, "all delivered, once")
    # what was open when its collector died is sealed and ended: nobody will ever add to it
    assert not [path for path in before if path.exists()]
    assert all(path.with_suffix(".sealed").exists() and (path.parent / "ended").exists() for path in before)
    verified = eventually(
        lambda: (done := gateway.command("verify")).stdout.count("views") and done, BACK_S, "both at one position"
    )
    assert not isinstance(verified, int)
    assert verified.returncode == 0, verified.stdout


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that keeps nothing it has delivered, and not much of what it has not."""
    let_others_through(tmp_path)
    (tmp_path / "data").mkdir()
    environment = {"INGEST_SPOOL_QUOTA_BYTES": str(QUOTA_BYTES), "INGEST_SPOOL_KEPT_S": "0"}
    with Gateway(tmp_path / "data", environment=environment) as gateway:
        gateway.start()
        yield gateway.wait_ready()


def post_past_the_quota(gateway: Gateway, book: Book) -> None:
    """Post twice the quota; what is refused for now is sent again."""
    committed = 0
    deadline = time.monotonic() + DRAIN_S
    while committed < 2 * QUOTA_BYTES:
        events = [an_event() for _ in range(100)]
        while (answer := book.post(gateway.endpoints["http"], events)).status == 503:
            assert time.monotonic() < deadline, f"the spool stays full: {answer.text}"
            time.sleep(0.5)
        assert answer.status == 200
        committed += 100 * 174  # an event on disk is at least that long: so says DESIGN


def test_redis_never_stops_the_intake_and_what_it_missed_is_said(tight: Gateway) -> None:
    book = Book()
    book.post(tight.endpoints["http"], [an_event()])

    def has_room() -> bool:
        spool = tight.statusz()["spool"]
        return bool(spool["used_bytes"] < HIGH_MARK * spool["quota_bytes"])

    with stopped(pid_of(tight, "redis")):
        # what the reader holds in memory may be all that goes at first: it would miss nothing, and rightly say so
        for _ in range(2):
            post_past_the_quota(tight, book)
            eventually(has_room, BACK_S, "segments that only Redis lacks are let go")
        eventually(lambda: book.post(tight.endpoints["http"], [an_event()]).status == 200, BACK_S, "open")
    told = eventually(lambda: (r := reader(tight, "redis"))["state"] == "rebuild_needed" and r, BACK_S, "cut loose")
    assert isinstance(told, dict)
    assert told["reason"]
    # without it everything goes on, as long as one likes
    post_past_the_quota(tight, book)
    eventually(lambda: stored_ids(tight.endpoints["postgres"]) == Counter(book.rows), DRAIN_S, "all are rows, once")
    eventually(lambda: ask(tight.endpoints["admin"] + "/readyz").status == 200, BACK_S, "ready again")


def test_a_redis_that_is_flushed_after_segments_are_gone_is_off_and_the_rest_goes_on(tight: Gateway) -> None:
    book = Book()
    post_past_the_quota(tight, book)
    os.kill(pid_of(tight, "collector"), signal.SIGKILL)  # its incarnation ends, is delivered, and leaves a tombstone
    graves = tight.data_dir / "spool" / "tombstones"
    eventually(lambda: graves.is_dir() and len(list(graves.iterdir())) == 1, BACK_S, "a tombstone")
    eventually(lambda: book.post(tight.endpoints["http"], [an_event()]).status == 200, BACK_S, "open again")
    eventually(lambda: stored_ids(tight.endpoints["postgres"]) == Counter(book.rows), DRAIN_S, "all are rows, once")

    def agrees() -> bool:
        verified = tight.command("verify")
        assert verified.returncode == 0, verified.stdout
        return "by the tables and by Redis" in verified.stdout

    eventually(agrees, BACK_S, "tombstones are part of the equation")

    with redis.Redis.from_url(tight.endpoints["redis"]) as store:
        store.flushall()
    book.post(tight.endpoints["http"], [an_event()])
    told = eventually(lambda: (r := reader(tight, "redis"))["state"] == "rebuild_needed" and r, BACK_S, "it is off")
    assert isinstance(told, dict)
    assert told["reason"]
    assert counted_views(tight) == 0, "rather none than wrong ones"
    post_past_the_quota(tight, book)
    eventually(lambda: stored_ids(tight.endpoints["postgres"]) == Counter(book.rows), DRAIN_S, "all are rows, once")
    assert reader(tight, "postgres")["state"] == "running"
