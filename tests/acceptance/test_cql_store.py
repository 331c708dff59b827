"""A gateway that keeps playback events in CQL, as a process: kills, an outage, a lost keyspace, and all that reads."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy

from gateway.cql import CassandraMissing, Plan, Ring
from gateway.cql.ring import free_ports
from loadtests.ledger import Ledger
from loadtests.reconcile import reconcile_when_drained
from tests.acceptance.audience import Audience
from tests.acceptance.client import ask, eventually, pid_of, sql
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.acceptance.test_outage import counted_views, reader
from tests.conftest import left_out
from tests.cql_server import Cassandra

PLAYED_S: Final = 3.0
DRAIN_S: Final = 90.0
RED_S: Final = 60.0
OUTAGE_S: Final = 8.0


class Cinema:
    """A gateway with store = scylla on a keyspace of its own, and its crowds."""

    def __init__(self, directory: Path, contact_points: str, port: int) -> None:
        self.directory = directory
        self.keyspace = f"test_{secrets.token_hex(6)}"
        self.at = contact_points, port
        self.environment = {
            "INGEST_STORE": "scylla",
            "INGEST_SCYLLA_CONTACT_POINTS": contact_points,
            "INGEST_SCYLLA_PORT": str(port),
            "INGEST_SCYLLA_KEYSPACE": self.keyspace,
            "INGEST_SCYLLA_REPLICATION": "1",
        }
        (directory / "data").mkdir()
        let_others_through(directory)
        self.gateway = Gateway(directory / "data", environment=self.environment)

    def crowd(self, number: int) -> Audience:
        return Audience(self.directory, self.gateway.url, number=number)

    def command(self, *arguments: str) -> str:
        """What it says; it has to end well."""
        done = self.gateway.command(*arguments, timeout_s=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def assert_equal(self) -> None:
        """Every acknowledged event is one row of each table that asks for it, and every view is counted once."""
        ledger = Ledger.read(sorted(self.directory.glob("*.ledger")))
        assert not ledger.unanswered(), "every request is resent until it is answered"
        at = self.gateway.endpoints
        assert at["cql"].endswith(self.keyspace)
        report = asyncio.run(reconcile_when_drained(ledger, at, own_contents_only=False, wait_s=DRAIN_S))
        assert report.equal, report.text() + "\n" + self.gateway.log_tail()
        assert report.acknowledged == ledger.acknowledged_rows() > 0 and report.views > 0

    def delivered(self) -> bool:
        return all(one.get("lag_frames") == 0 for one in self.gateway.statusz()["readers"])

    def cql(self, statement: str) -> list[Any]:
        hosts, port = self.at
        profile = ExecutionProfile(RoundRobinPolicy(), request_timeout=60)
        profiles = {EXEC_PROFILE_DEFAULT: profile}
        with Cluster(hosts.split(","), port=port, execution_profiles=profiles, protocol_version=4) as cluster:
            return list(cluster.connect().execute(statement))


@pytest.fixture
def cinema(cassandra: Cassandra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cinema]:
    made = Cinema(tmp_path, cassandra.contact_points, cassandra.port)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)  # of commands, too
    with made.gateway:
        made.gateway.start()
        made.gateway.wait_ready()
        yield made
    made.cql(f"DROP KEYSPACE IF EXISTS {made.keyspace}")


def test_through_kills_of_the_gateway_and_of_its_drain_every_event_is_once_in_every_table(cinema: Cinema) -> None:
    gateway = cinema.gateway
    with cinema.crowd(0) as crowd:
        crowd.acknowledged_more(PLAYED_S)
        os.kill(pid_of(gateway, "scylla_drain"), signal.SIGKILL)
        crowd.acknowledged_more(PLAYED_S)
        gateway.kill_everything()
        gateway.start()
        gateway.wait_ready()
        crowd.acknowledged_more(PLAYED_S)
        os.kill(pid_of(gateway, "scylla_drain"), signal.SIGKILL)
        os.kill(pid_of(gateway, "postgres_drain"), signal.SIGKILL)
        crowd.acknowledged_more(PLAYED_S)
    cinema.assert_equal()
    eventually(cinema.delivered, DRAIN_S, "all readers are through")
    verified = json.loads(cinema.command("verify", "--json"))
    assert verified["agrees"] and verified["totals"]["stored"] > 0 and verified["views"] > 0
    at = gateway.endpoints
    assert sql(at["postgres"], "SELECT count(*) FROM playback_events") == [(0,)]
    (hours,) = sql(at["postgres"], "SELECT sum(views)::int FROM content_views_hourly")
    assert hours[0] == counted_views(gateway)

    before = counted_views(gateway)
    assert "0 counts differ" in cinema.command("counters", "rebuild", "--dry-run")
    cinema.command("counters", "rebuild")
    eventually(lambda: reader(gateway, "redis")["state"] == "running", DRAIN_S, "it counts on from there")
    assert counted_views(gateway) == before
    assert "0 counts differ" in cinema.command("counters", "rebuild", "--dry-run")
    cinema.command("verify")


def test_what_reads_the_spool_or_redis_needs_no_rows(cinema: Cinema) -> None:
    with cinema.crowd(0) as crowd:
        crowd.acknowledged_more(PLAYED_S)
        admin = cinema.gateway.endpoints["admin"]
        eventually(lambda: ask(f"{admin}/v1/live").json.get("viewers", 0) > 0, DRAIN_S, "somebody watches")
        eventually(lambda: ask(f"{admin}/v1/qoe?window=1h").json["groups"], DRAIN_S, "sessions are followed")
        told = ask(f"{admin}/v1/gateway").json
        assert next(one["reader"] for one in told["readers"]) == "scylla"
        eventually(lambda: ask(f"{admin}/v1/gateway").json["delivered_per_s"] > 0, DRAIN_S, "what CQL takes is told")


def test_views_and_watch_history_are_made_anew_from_the_rows_in_cql(cinema: Cinema) -> None:
    gateway = cinema.gateway
    with cinema.crowd(0) as crowd:
        crowd.acknowledged_more(PLAYED_S)
    eventually(cinema.delivered, DRAIN_S, "all readers are through")
    at = gateway.endpoints["postgres"]
    views = "SELECT content_id::text, hour, views FROM content_views_hourly WHERE views > 0 ORDER BY 1, 2"
    waiting = "SELECT count(*)::int FROM watch_history_waiting"
    before, waited = sql(at, views), sql(at, waiting)
    assert before and waited[0][0] > 0
    gateway.stop()
    gateway.start()
    gateway.wait_ready()
    at = gateway.endpoints["postgres"]
    forget = "DELETE FROM ingest_registration WHERE reader = 'derived' RETURNING 1"
    assert len(sql(at, forget)) == 1
    os.kill(pid_of(gateway, "readers"), signal.SIGKILL)
    registered = "SELECT count(*)::int FROM ingest_registration WHERE reader = 'derived'"
    eventually(lambda: sql(at, registered) == [(1,)], DRAIN_S, "they are read anew, piece by piece")
    eventually(lambda: sql(at, views) == before and sql(at, waiting) == waited, DRAIN_S, "all of them")


def test_a_keyspace_that_was_dropped_is_told_and_nothing_is_let_go(cinema: Cinema) -> None:
    gateway = cinema.gateway
    with cinema.crowd(0) as crowd:
        crowd.acknowledged_more(PLAYED_S)
        cinema.cql(f"DROP KEYSPACE {cinema.keyspace}")
        red = eventually(
            lambda: (told := reader(gateway, "scylla"))["state"] == "red" and told, RED_S, "the drain is red"
        )
        assert "DATA/scylla" in red["reason"] or "exist" in red["reason"] or "keyspace" in red["reason"].lower(), red
        crowd.acknowledged_more(PLAYED_S)  # the door is open
    assert gateway.command("verify").returncode == 1, "what it cannot say is no agreement"
    gateway.stop()
    gateway.start()  # the schema is made anew, and empty: no start may take that for a new store
    gateway.wait_ready()
    told = eventually(lambda: (one := reader(gateway, "scylla"))["state"] == "red" and one, RED_S, "it is still red")
    assert "registration" in told["reason"]
    assert 'ingest_reader_up{reader="scylla"} 0.0' in ask(gateway.endpoints["admin"] + "/metrics").text.splitlines()


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[Ring]:
    """A Cassandra of this test alone: it may freeze and kill it."""
    port, storage_port = free_ports(Plan().addresses)
    made = Ring(tmp_path / "ring", Plan(port=port, storage_port=storage_port, heap_mib=400))
    try:
        made.start(is_tied=True)
    except CassandraMissing as missing:
        left_out(str(missing))
    yield made
    made.kill()


def test_a_cluster_that_hangs_or_is_gone_is_lag_and_no_more(
    own_node: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cinema = Cinema(tmp_path, own_node.contact_points, own_node.plan.port)
    for name, value in cinema.environment.items():
        monkeypatch.setenv(name, value)
    (node,) = own_node.nodes
    with cinema.gateway as gateway:
        gateway.start()
        gateway.wait_ready()
        with cinema.crowd(0) as crowd:
            crowd.acknowledged_more(PLAYED_S)
            node.freeze()
            crowd.acknowledged_more(OUTAGE_S)
            eventually(lambda: reader(gateway, "scylla")["lag_s"] > 1, RED_S, "it lags")
            assert ask(gateway.endpoints["admin"] + "/readyz").json["ready"]
            assert reader(gateway, "postgres")["state"] == "running" == reader(gateway, "redis")["state"]
            node.resume()
            eventually(lambda: reader(gateway, "scylla")["lag_s"] < 2, DRAIN_S, "it caught up")
            node.kill()
            crowd.acknowledged_more(OUTAGE_S)
            eventually(lambda: reader(gateway, "scylla")["state"] == "waiting", RED_S, "it waits")
            node.spawn(is_tied=True)
            own_node.wait_ready()
            crowd.acknowledged_more(1.0)
        cinema.assert_equal()
        cinema.command("verify")
