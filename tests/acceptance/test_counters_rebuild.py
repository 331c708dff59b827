"""`counters rebuild` beside a gateway under load: what Redis lost comes back whole, and counts go on, once each."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from loadtests.ledger import Ledger
from loadtests.product import ROOT
from loadtests.reconcile import reconcile_when_drained
from tests.acceptance.audience import Audience
from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, stopped
from tests.acceptance.commands import assert_one_clear_line, run
from tests.acceptance.gateway_process import Gateway, let_others_through

QUOTA_BYTES: Final = 2 << 20
EVENT_BYTES: Final = 174  # an event on disk is at least that long: so says DESIGN
BACK_S: Final = 60.0
DRAIN_S: Final = 90.0
HOUR_MS: Final = 3_600_000
KILLS: Final = 3


class Posted:
    """What this test posted itself beside its crowd: a view each, in the hour it says, but for test traffic."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.views: Counter[tuple[str, int]] = Counter()

    def post(self, number: int, ago_ms: int = 0, **changes: Any) -> None:
        """Until it is acknowledged."""
        at_ms = time.time_ns() // 1_000_000 - ago_ms
        events = [an_event(occurred_at=at_ms, **changes) for _ in range(number)]
        eventually(lambda: self._is_taken(events), DRAIN_S, "taken")
        if not changes.get("test"):
            self.views.update((event["content_id"], at_ms // HOUR_MS) for event in events)

    def _is_taken(self, events: list[dict[str, Any]]) -> bool:
        return Book().post(self.url, events).status == 200

    def post_past_the_quota(self) -> None:
        for _ in range(2 * QUOTA_BYTES // EVENT_BYTES // 500):
            self.post(500)


def counted(gateway: Gateway) -> Counter[tuple[str, int]]:
    """(content, hour) → views in Redis."""
    found: Counter[tuple[str, int]] = Counter()
    with redis.Redis.from_url(gateway.endpoints["redis"]) as store:
        for key in store.scan_iter(match="{ingest}:views:*"):
            for content, views in store.hgetall(key).items():
                found[content.decode(), int(key.rpartition(b":")[2])] += int(views)
    return found


def state(gateway: Gateway, reader: str = "redis") -> str:
    (told,) = (told for told in gateway.statusz()["readers"] if told["reader"] == reader)
    return str(told["state"])


def metric(gateway: Gateway, name: str) -> float:
    lines = ask(gateway.endpoints["admin"] + "/metrics").text.splitlines()
    (line,) = (line for line in lines if line.startswith(name + " "))
    return float(line.rpartition(" ")[2])


class Loss:
    """A gateway with two collectors that keeps little, its crowd, and what Redis has to say in the end."""

    def __init__(self, directory: Path, gateway: Gateway) -> None:
        self.directory = directory
        self.gateway = gateway
        self.posted = Posted(gateway.endpoints["http"])

    def crowd(self, number: int) -> Audience:
        return Audience(self.directory, self.gateway.endpoints["http"], number=number, viewers=30)

    def rebuild(self) -> None:
        done = self.gateway.command("counters", "rebuild")
        assert done.returncode == 0, done.stdout + done.stderr
        eventually(lambda: state(self.gateway) == "running", BACK_S, "counting again, without a restart")

    def assert_counts(self) -> None:
        """What was posted is counted, all of it, once; and `verify` agrees."""
        ledger = Ledger.read(sorted(self.directory.glob("*.ledger")))
        assert not ledger.unanswered()
        at = self.gateway.endpoints
        report = asyncio.run(reconcile_when_drained(ledger, at, own_contents_only=True, wait_s=DRAIN_S))
        assert report.equal, report.text() + "\n" + self.gateway.log_tail()
        assert report.views > 0

        def own() -> bool:
            found = counted(self.gateway)
            return {at: found[at] for at in self.posted.views} == self.posted.views

        eventually(own, DRAIN_S, "its own views")
        eventually(self.agrees, DRAIN_S, "verify compares views, and agrees")

    def agrees(self) -> bool:
        done = self.gateway.command("verify")
        assert done.returncode == 0, done.stdout
        return "by the tables and by Redis" in done.stdout


@pytest.fixture
def loss(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Loss]:
    let_others_through(tmp_path)
    (tmp_path / "data").mkdir()
    environment = {"INGEST_SPOOL_QUOTA_BYTES": str(QUOTA_BYTES), "INGEST_SPOOL_KEPT_S": "0"}
    environment |= getattr(request, "param", {})
    with Gateway(tmp_path / "data", arguments=("--workers", "2"), environment=environment) as gateway:
        gateway.start()
        yield Loss(tmp_path, gateway.wait_ready())


def bury_one(loss: Loss) -> None:
    """A collector dies; its incarnation is delivered and gone."""
    graves = loss.gateway.data_dir / "spool" / "tombstones"
    (pid, *_) = (p["pid"] for p in loss.gateway.statusz()["processes"] if p["role"] == "collector")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: graves.is_dir() and len(list(graves.iterdir())) > 0, BACK_S, "a tombstone")


def test_a_lost_redis_comes_back_whole_while_the_crowd_goes_on(loss: Loss) -> None:
    gateway, posted = loss.gateway, loss.posted
    posted.post(20, ago_ms=9 * 24 * HOUR_MS)
    posted.post(20, test=True)
    posted.post_past_the_quota()
    rng = random.Random(5)
    with loss.crowd(0) as crowd:
        crowd.acknowledged_more(2)
        bury_one(loss)
        with redis.Redis.from_url(gateway.endpoints["redis"]) as store:
            store.flushall()
        eventually(lambda: state(gateway) == "rebuild_needed", BACK_S, "it is off")
        assert metric(gateway, 'ingest_reader_rebuild_needed{reader="redis"}') == 1
        assert ask(gateway.endpoints["admin"] + "/readyz").status == 200
        assert not counted(gateway), "rather none than wrong ones"
        for _ in range(KILLS):
            killed = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "counters", "rebuild", "--data-dir", str(gateway.data_dir)],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(0.5 + rng.random())
            killed.kill()
            killed.wait()
        crowd.acknowledged_more(1)
        loss.rebuild()
        assert metric(gateway, 'ingest_reader_rebuild_needed{reader="redis"}') == 0
        crowd.acknowledged_more(2)
    posted.post(50)
    loss.assert_counts()


def test_counters_that_were_cut_loose_come_back_and_so_do_wrong_ones(loss: Loss) -> None:
    gateway, posted = loss.gateway, loss.posted
    with loss.crowd(0) as crowd:
        crowd.acknowledged_more(1)
        with stopped(pid_of(gateway, "redis")):
            # what the reader holds in memory may be all that goes at first: it would miss nothing, and rightly say so
            for _ in range(2):
                posted.post_past_the_quota()
                eventually(lambda: ask(gateway.endpoints["admin"] + "/readyz").status == 200, BACK_S, "ready")
        eventually(lambda: state(gateway) == "rebuild_needed", BACK_S, "cut loose")
        loss.rebuild()
        crowd.acknowledged_more(1)
    loss.assert_counts()
    (at, *_) = posted.views
    with redis.Redis.from_url(gateway.endpoints["redis"]) as store:
        store.hincrby(f"{{ingest}}:views:{at[1]}", at[0], 100_000)
    told = gateway.command("counters", "rebuild", "--dry-run")
    assert told.returncode == 0 and ": 1 counts differ" in told.stdout
    assert counted(gateway)[at] > 100_000, "a dry run changes nothing"
    with loss.crowd(1) as crowd:
        crowd.acknowledged_more(1)
        loss.rebuild()
        crowd.acknowledged_more(1)
    loss.assert_counts()


@pytest.mark.parametrize("loss", [{"INGEST_REDIS_REBUILD_AUTOMATICALLY": "true"}], indirect=True, ids=[""])
def test_if_told_to_it_rebuilds_by_itself(loss: Loss) -> None:
    loss.posted.post_past_the_quota()
    with loss.crowd(0) as crowd:
        crowd.acknowledged_more(1)
        eventually(lambda: loss.gateway.spool_begins() > 0, BACK_S, "the beginning is delivered, and gone")
        with redis.Redis.from_url(loss.gateway.endpoints["redis"]) as store:
            store.flushall()
        eventually(lambda: state(loss.gateway) == "rebuild_needed", BACK_S, "it is off")
        eventually(lambda: state(loss.gateway) == "running", BACK_S, "it is on again")
        crowd.acknowledged_more(1)
    loss.assert_counts()
    begun_s = time.monotonic()
    loss.gateway.stop()
    assert time.monotonic() - begun_s < 15


# ── what cannot be ──────────────────────────────────────────────────────────────────────────────────────────────────

NOBODY: Final = {
    "INGEST_POSTGRES_URL": "postgresql://a:secret@127.0.0.1:1/c",
    "INGEST_REDIS_URL": "redis://127.0.0.1:1",
}


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_stores_that_are_away_are_named(loss: Loss, flags: tuple[str, ...]) -> None:
    at, data_dir = loss.gateway.endpoints, str(loss.gateway.data_dir)
    loss.posted.post(3)
    there = {"INGEST_POSTGRES_URL": at["postgres"], "INGEST_REDIS_URL": at["redis"]}
    for name, store in (("INGEST_POSTGRES_URL", "PostgreSQL"), ("INGEST_REDIS_URL", "Redis")):
        environment = {**there, name: NOBODY[name]}
        done = run("counters", "rebuild", *flags, "--data-dir", data_dir, environment=environment)
        assert_one_clear_line(done, store)
        assert done.returncode == 1 and "secret" not in done.stderr
    eventually(loss.agrees, BACK_S, "nothing has changed")


def test_without_a_spool_or_a_gateway_it_says_so(tmp_path: Path) -> None:
    assert_one_clear_line(run("counters", "rebuild", "--data-dir", str(tmp_path), environment=NOBODY), "no spool")
    (tmp_path / "spool").mkdir()
    assert_one_clear_line(run("counters", "rebuild", "--data-dir", str(tmp_path)), "no gateway is running")
    only = {"INGEST_POSTGRES_URL": NOBODY["INGEST_POSTGRES_URL"]}
    done = run("counters", "rebuild", "--data-dir", str(tmp_path), environment=only)
    assert_one_clear_line(done, "INGEST_REDIS_URL")
