"""A start: the door waits for no store, and a store that cannot be started ends it with one clear line."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.faults.disk import SmallDisk
from loadtests.faults.fault import LeftOut
from loadtests.faults.full_disk import fill
from loadtests.port import free_ports
from tests.acceptance.client import Book, an_event, eventually, stored_ids
from tests.acceptance.gateway_process import Gateway
from tests.acceptance.nonsense_store import HALF_AN_AUTHENTICATION, READY_WITHOUT_A_VERSION, NonsenseStore

OPEN_S, SETTLED_S = 30, 60
TRIED_MIN = 2


def test_events_are_taken_while_postgresql_is_still_being_made(make_gateway: Callable[..., Gateway]) -> None:
    gateway, book = make_gateway(), Book()
    gateway.start()
    early = eventually(lambda: book.post(gateway.url, [an_event()]), OPEN_S, "an answer")
    assert early.status == 200
    assert not (gateway.data_dir / "endpoints.json").exists(), "the stores were faster than the door"
    gateway.wait_ready()
    eventually(lambda: stored_ids(gateway.endpoints["postgres"]) == Counter(book.rows), SETTLED_S, "stored once")


def test_an_embedded_postgresql_that_cannot_start_ends_the_start_with_its_reason(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    gateway.start()
    gateway.wait_ready()
    assert gateway.stop() == 0
    (broken,) = (path.parent for path in gateway.data_dir.rglob("PG_VERSION") if (path.parent / "global").is_dir())
    shutil.rmtree(broken / "global")
    os.mkdir(broken / "global")
    gateway.start()
    eventually(gateway.ended, OPEN_S, "it gave up")
    assert gateway.stop() == 1
    told = gateway.log_tail()
    assert "Traceback" not in told
    assert "global/pg_control" in told.splitlines()[-1], "what PostgreSQL said"


def test_an_embedded_valkey_that_cannot_start_stops_neither_intake_nor_commands(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway, book = make_gateway(environment={"REDIS_SERVER_BIN": "/bin/false"}), Book()
    gateway.start()
    gateway.wait_ready()
    assert book.post(gateway.url, [an_event()]).status == 200
    eventually(lambda: stored_ids(gateway.endpoints["postgres"]) == Counter(book.rows), SETTLED_S, "stored once")
    assert gateway.endpoints["redis"] == ""
    told = gateway.command("dead-letters", "list")
    assert told.returncode == 0, told.stderr


def test_a_postgresql_of_others_that_is_away_is_only_lag(make_gateway: Callable[..., Gateway]) -> None:
    (port,) = free_ports(1)
    away = f"postgresql://nobody@127.0.0.1:{port}/none"
    gateway, book = make_gateway(environment={"INGEST_POSTGRES_URL": away}), Book()
    gateway.start()
    gateway.wait_ready()
    assert book.post(gateway.url, [an_event()]).status == 200
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    "answer", [HALF_AN_AUTHENTICATION, READY_WITHOUT_A_VERSION], ids=["half-an-authentication", "no-version"]
)
def test_a_server_that_is_no_postgresql_closes_no_door(make_gateway: Callable[..., Gateway], answer: bytes) -> None:
    with NonsenseStore(answer) as url:
        gateway, book = make_gateway(environment={"INGEST_POSTGRES_URL": url}), Book()
        gateway.start()
        gateway.wait_ready()
        eventually(lambda: gateway.everything_logged().count("schema_not_prepared") >= TRIED_MIN, OPEN_S, "it tried")
        assert not gateway.ended()
        assert book.post(gateway.url, [an_event()]).status == 200
        assert gateway.stop() == 0


def test_a_full_disk_ends_no_start(tmp_path: Path) -> None:
    disk = tmp_path / "small"
    try:
        small = SmallDisk(disk, 16 * 2**20)
    except LeftOut as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))
    ports = free_ports(2)
    away = {
        "INGEST_POSTGRES_URL": f"postgresql://nobody@127.0.0.1:{ports[0]}/none",
        "INGEST_REDIS_URL": f"redis://127.0.0.1:{ports[1]}",
        "INGEST_SPOOL_DISK_RESERVE_BYTES": str(2**16),
    }
    (disk / "data").mkdir()
    gateway, book = Gateway(disk / "data", environment=away), Book()
    gateway.log = tmp_path / "serve.log"
    try:
        gateway.start()
        gateway.wait_ready()
        assert book.post(gateway.url, [an_event()]).status == 200
        gateway.kill_everything()
        gateway.start()

        def refused() -> bool:
            fill(disk / "filling")  # again and again: a start lets go of what the last one left
            assert not gateway.ended(), gateway.log_tail()
            return "endpoints_not_written" in gateway.everything_logged()

        eventually(refused, OPEN_S, "a place that could not be told")
        answer = eventually(lambda: book.post(gateway.url, [an_event()]), OPEN_S, "an answer")
        assert answer.status in (200, 503)
        assert "Traceback" not in gateway.everything_logged()
        (disk / "filling").unlink()
        gateway.wait_ready()
        eventually(lambda: book.post(gateway.url, [an_event()]).status == 200, OPEN_S, "room again")
    finally:
        gateway.kill_everything()
        gateway.stop()
        small.close()
