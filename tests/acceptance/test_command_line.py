"""The command line about a gateway that runs: endpoints.json is exact, schema and spool at hand, a stop is clean."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from tests.acceptance.client import Book, an_event, ask, eventually, sql, stored_ids
from tests.acceptance.commands import (
    External,
    Forwarder,
    Second,
    assert_ends_cleanly,
    assert_one_clear_line,
    run,
)
from tests.acceptance.gateway_process import Gateway, let_others_through

SOON_S: Final = 15.0
SETTLED_S: Final = 40.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("command-line")
    let_others_through(made)
    return made


@pytest.fixture(scope="module")
def served(directory: Path) -> Iterator[Gateway]:
    """A gateway with embedded stores; tests that stop it leave it stopped."""
    (directory / "data").mkdir()
    with Gateway(directory / "data") as made:
        yield made


def running(served: Gateway) -> Gateway:
    if served.ended():
        served.start()
        served.wait_ready()
    return served


@pytest.fixture
def gateway(served: Gateway) -> Gateway:
    """It, running."""
    return running(served)


@pytest.fixture(scope="module")
def book(served: Gateway) -> Book:
    """Some posts to it, delivered."""
    at, posted = running(served).endpoints, Book()
    for _ in range(3):
        posted.post(at["http"], [an_event(), an_event(event_type="heartbeat"), an_event(bitrate=-1)])
    eventually(lambda: stored_ids(at["postgres"]) == Counter(posted.rows), SOON_S, "all are rows")
    return posted


@pytest.fixture(scope="module")
def second(served: Gateway) -> Iterator[Second]:
    other = Second(served.data_dir)
    yield other
    other.kill()


# ── a running one ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_endpoints_are_exactly_four_and_for_the_owner_alone(gateway: Gateway, second: Second) -> None:
    second.begin()
    path = gateway.data_dir / "endpoints.json"
    told = json.loads(path.read_text())
    assert list(told) == ["http", "admin", "postgres", "redis"]
    assert [url for url in told.values() if url.endswith("/")] == []
    assert path.stat().st_mode & 0o777 == 0o600
    assert ask(told["http"] + "/v1/events", "OPTIONS").status == 204
    assert ask(told["admin"] + "/readyz").status == 200
    assert sql(told["postgres"], "SELECT 1 AS one")[0]["one"] == 1
    with redis.Redis.from_url(told["redis"]) as store:
        assert store.ping()


def dumped(gateway: Gateway, *arguments: str, data_dir: Path | None = None) -> list[dict[str, Any]]:
    done = run("spool", "dump", "--data-dir", str(data_dir or gateway.data_dir), *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_spool_is_whole_and_shows_what_was_posted(gateway: Gateway, book: Book) -> None:
    verified = run("spool", "verify", "--data-dir", str(gateway.data_dir))
    assert verified.returncode == 0, verified.stdout
    frames = dumped(gateway)
    events = [event for frame in frames for event in frame["events"]]
    assert {event["event_id"] for event in events if event["event_type"] != "heartbeat"} == book.rows
    assert len(events) == book.said["accepted"]
    assert f"{len(frames)} frames whole" in verified.stdout
    assert len(dumped(gateway, "--limit", "1")) == 1
    incarnation = frames[0]["segment"].partition("/")[0]
    assert dumped(gateway, "--incarnation", incarnation[:8]) == frames
    status = run("spool", "status", "--data-dir", str(gateway.data_dir))
    lines = [json.loads(line) for line in status.stdout.splitlines()]
    assert [line["incarnation"] for line in lines if "segments" in line] == [incarnation]

    def everywhere() -> bool:
        told = run("spool", "status", "--data-dir", str(gateway.data_dir)).stdout.splitlines()
        readers = [line for line in map(json.loads, told) if "reader" in line]
        assert {line["reader"] for line in readers} == {"postgres", "stage", "redis", "derived", "qoe"}
        return {line["positions"].get(incarnation) for line in readers} == {len(frames)}

    eventually(everywhere, SETTLED_S, "all readers have all of it")


def test_the_schema_of_a_running_gateway_goes_down_and_up_and_it_goes_on(gateway: Gateway, book: Book) -> None:
    def migrate(*arguments: str) -> str:
        done = run("migrate", *arguments, "--data-dir", str(gateway.data_dir))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def applied() -> list[bool]:
        lines = [line.split() for line in migrate("status").splitlines() if line.startswith("  ")]
        return [line[1] == "applied" for line in lines]

    assert migrate("up") == "0 applied\n"
    assert all(applied()) and len(applied()) > 5
    assert migrate("down") == "1 taken back\n"
    assert applied() == [True] * (len(applied()) - 1) + [False]
    assert migrate("up") == "1 applied\n"
    assert all(applied())
    book.post(gateway.endpoints["http"], [an_event()])
    url = gateway.endpoints["postgres"]
    eventually(lambda: stored_ids(url) == Counter(book.rows), SETTLED_S, "it delivers again, nothing twice")


@pytest.fixture
def database(gateway: Gateway) -> Iterator[str]:
    """URL of an empty database that no gateway knows."""
    url = gateway.endpoints["postgres"]
    name = f"other_{time.time_ns()}"
    sql(url, f"CREATE DATABASE {name}")
    yield f"{url.rpartition('/')[0]}/{name}"
    sql(url, f"DROP DATABASE {name} WITH (FORCE)")


def test_the_schema_of_an_external_database_is_migrated_by_its_url(database: str, tmp_path: Path) -> None:
    def migrate(*arguments: str) -> subprocess.CompletedProcess[str]:
        more = ("--data-dir", str(tmp_path))
        return run("migrate", *arguments, *more, environment={"INGEST_POSTGRES_URL": database})

    def versions() -> list[tuple[int, bool]]:
        return [(row["version"], row["dirty"]) for row in sql(database, "SELECT version, dirty FROM schema_migrations")]

    assert migrate("status").stdout.startswith("version none\n")
    assert migrate("up", "3").stdout == "3 applied\n"
    assert versions() == [(3, False)]
    everything = len(migrate("status").stdout.splitlines()) - 1
    assert migrate("up").stdout == f"{everything - 3} applied\n"
    assert migrate("down", "2").stdout == "2 taken back\n"
    sql(database, "UPDATE schema_migrations SET dirty = true")
    assert_one_clear_line(migrate("up"), "dirty", str(everything - 2))
    assert ", dirty" in migrate("status").stdout.splitlines()[0]
    assert migrate("force", str(everything - 2)).returncode == 0
    assert versions() == [(everything - 2, False)]
    assert_one_clear_line(migrate("force", "999"), "999")
    assert migrate("down", "--all").stdout == f"{everything - 2} taken back\n"
    left = sql(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert [row["tablename"] for row in left] == ["schema_migrations"]


def test_external_stores_may_come_up_after_the_gateway_and_then_all_is_delivered(
    gateway: Gateway, database: str, directory: Path
) -> None:
    postgres = Forwarder(database)
    data_dir = directory / "external"
    data_dir.mkdir()
    with External(data_dir, postgres=postgres.url, redis=gateway.endpoints["redis"] + "/1") as external:
        external.start()
        at, posted = external.wait_ready().endpoints, Book()
        assert (at["postgres"], at["redis"]) == (postgres.url, gateway.endpoints["redis"] + "/1")
        assert len({*at.values(), *gateway.endpoints.values()}) == 8, "--port 0: ports of its own"
        assert ask(at["admin"] + "/readyz").status == 200
        event = an_event()
        assert posted.post(at["http"], [event]).status == 200
        states = eventually(lambda: {r["reader"]: r["state"] for r in external.statusz()["readers"]}, SOON_S, "told")
        assert states["postgres"] != "running"
        assert external.statusz()["ready"] is True
        roles = {process["role"] for process in external.statusz()["processes"]}
        assert roles == {"supervisor", "collector", "stage", "postgres_drain", "readers"}
        postgres.open()
        posted.post(at["http"], [an_event()])
        eventually(lambda: stored_ids(database) == Counter(posted.rows), SETTLED_S, "schema made, all delivered")
        with redis.Redis.from_url(at["redis"], decode_responses=True) as store:
            hour = event["occurred_at"] // 3_600_000
            assert store.hget(f"{{ingest}}:views:{hour}", event["content_id"]) == "1"
        stores = {"INGEST_POSTGRES_URL": at["postgres"], "INGEST_REDIS_URL": at["redis"]}
        verified = run("verify", "--data-dir", str(data_dir), environment=stores)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert_ends_cleanly(external, signal.SIGTERM)
        postgres.close()
    assert ask(gateway.endpoints["admin"] + "/readyz").status == 200, "the stores' own gateway is none of its business"


def test_a_second_gateway_on_the_same_directory_gives_up_and_says_why(gateway: Gateway, second: Second) -> None:
    done = second.end()
    assert_one_clear_line(done, str(gateway.data_dir), "another gateway")
    assert f"waits up to 30 s for the gateway in {gateway.data_dir} to end" in done.stderr
    assert ask(gateway.endpoints["admin"] + "/readyz").status == 200
    assert (gateway.data_dir / "endpoints.json").exists(), "the first one's endpoints are untouched"


# ── its end ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_a_start_goes_on(
    served: Gateway, book: Book, second: Second, number: signal.Signals
) -> None:
    second.kill()  # else it would take the directory now
    gateway = running(served)
    assert len(gateway.pids()) >= 7
    book.post(gateway.endpoints["http"], [an_event()])
    assert_ends_cleanly(gateway, number)
    gateway.start()
    assert not (gateway.data_dir / "endpoints.json").exists(), "absent until it is ready"
    gateway.wait_ready()
    assert ask(gateway.endpoints["admin"] + "/readyz").status == 200, "ready is ready for everything"
    url = gateway.endpoints["postgres"]
    eventually(lambda: stored_ids(url) == Counter(book.rows), SOON_S, "all rows, each once")


def test_a_spool_at_rest_shows_what_was_posted_and_one_flipped_byte_is_found(
    served: Gateway, book: Book, second: Second, tmp_path: Path
) -> None:
    second.kill()
    running(served)
    served.stop()
    at_rest = tmp_path / "at-rest"
    shutil.copytree(served.data_dir / "spool", at_rest / "spool")
    before = run("spool", "verify", "--data-dir", str(at_rest))
    assert before.returncode == 0, before.stdout
    frames = dumped(served, data_dir=at_rest)
    events = [event for frame in frames for event in frame["events"]]
    assert {event["event_id"] for event in events if event["event_type"] != "heartbeat"} == book.rows

    path = at_rest / "spool" / frames[0]["segment"]
    assert path.suffix == ".sealed"
    whole = path.read_bytes()
    for at in (frames[0]["offset"] + 30, frames[0]["offset"] + 140, len(whole) // 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        flipped = run("spool", "verify", "--data-dir", str(at_rest))
        assert flipped.returncode == 1, (at, flipped.stdout)
        assert frames[0]["segment"] in flipped.stdout
    last = max(
        (frame for frame in frames if frame["segment"] == frames[0]["segment"]), key=lambda frame: frame["offset"]
    )
    path.write_bytes(whole[: last["offset"]])  # cut between two frames: all that is left is whole
    cut = run("spool", "verify", "--data-dir", str(at_rest))
    assert cut.returncode == 1, cut.stdout
    assert path.parent.name in cut.stdout
    path.write_bytes(whole)
    assert run("spool", "verify", "--data-dir", str(at_rest)).returncode == 0


def test_a_damaged_ending_is_a_line_of_the_status(served: Gateway, second: Second, tmp_path: Path) -> None:
    second.kill()
    running(served)
    served.stop()
    shutil.copytree(served.data_dir / "spool", tmp_path / "spool")
    ended = next((tmp_path / "spool").glob("*/ended"))
    ended.write_bytes(ended.read_bytes().replace(b'"sequence":', b'"sequence": '))
    tombstone = tmp_path / "spool" / "tombstones" / ("f" * 32)
    tombstone.parent.mkdir(exist_ok=True)
    tombstone.write_bytes(b"{}\n")
    status = run("spool", "status", "--data-dir", str(tmp_path))
    assert status.returncode == 0, status.stderr
    lines = [json.loads(line) for line in status.stdout.splitlines()]
    damaged = {line["incarnation"]: line["damaged"] for line in lines if line.get("state") == "damaged"}
    assert damaged.keys() == {ended.parent.name, tombstone.name}
    verified = run("spool", "verify", "--data-dir", str(tmp_path))
    assert verified.returncode == 1, verified.stderr
    assert str(ended) in verified.stdout and str(tombstone) in verified.stdout
