"""One Cassandra for a whole test run, both lanes: started when a test first asks for it, gone when the run is, however
that ends. A keyspace of its own is each test's business.

The keeper (this file as a program) owns the server, and waits for a lock that every worker holds with others: when it
gets it, the last of them has ended. The server dies with its keeper.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from gateway.cql import CassandraMissing, Plan, Ring, RingError
from gateway.cql.ring import READY_TIMEOUT_S, free_ports

ROOT: Final = Path(__file__).resolve().parents[1]
MISSING: Final = 3
"""The keeper's exit code when Cassandra cannot be had here."""
KEEPER_TIMEOUT_S: Final = READY_TIMEOUT_S + 60


@dataclass(frozen=True)
class Cassandra:
    """Where one node answers CQL, in data centre datacenter1. Replication 1 is all it can do."""

    contact_points: str
    port: int


@pytest.fixture(scope="session", autouse=True)
def cassandra_room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of this run's server; while this holds its lock, the server stays."""
    run = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        run = run.parent
    room = run / "cassandra"
    room.mkdir(exist_ok=True)
    with (room / "users").open("wb") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield room


@pytest.fixture(scope="session")
def cassandra(cassandra_room: Path) -> Cassandra:
    """A real Cassandra of one node, the same for all tests of this run."""
    from tests.conftest import left_out

    with (cassandra_room / "start").open("wb") as start:
        fcntl.flock(start, fcntl.LOCK_EX)
        served = cassandra_room / "served.json"
        if not served.exists():
            code = start_keeper(cassandra_room)
            said = (cassandra_room / "keeper.log").read_text()
            if code == MISSING:
                left_out(said.strip())
            assert code is None, f"no Cassandra: {said}"
        return Cassandra(**json.loads(served.read_text()))


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    """A Cassandra of three nodes, of this test alone: it may kill them. They die with this process."""
    from tests.conftest import left_out

    port, storage_port = free_ports(Plan(3).addresses)
    made = Ring(tmp_path / "ring", Plan(3, port, storage_port, heap_mib=400))
    try:
        made.start(is_tied=True)
    except CassandraMissing as missing:
        left_out(str(missing))
    try:
        yield made
    finally:
        made.kill()


def start_keeper(room: Path) -> int | None:
    """Start it and wait until it serves; its exit code if it has ended instead."""
    with (room / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.cql_server", str(room)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until_s = time.monotonic() + KEEPER_TIMEOUT_S
    while not (room / "served.json").exists():
        if keeper.poll() is not None:
            return keeper.returncode
        assert time.monotonic() < until_s, "the keeper neither serves nor ends"
        time.sleep(0.1)
    return None


def keep(room: Path) -> int:
    """Serve until nobody uses the room any more; what Cassandra had is removed then."""
    addresses = Plan().addresses
    port, storage_port = free_ports(addresses)
    ring = Ring(room / "ring", Plan(port=port, storage_port=storage_port))
    try:
        ring.start(is_tied=True)
    except CassandraMissing as missing:
        print(missing)
        return MISSING
    except RingError as error:
        print(error)
        return 1
    try:
        unfinished = room / "served.json.new"
        unfinished.write_text(json.dumps({"contact_points": ring.contact_points, "port": port}))
        unfinished.rename(room / "served.json")
        users = os.open(room / "users", os.O_RDONLY)
        fcntl.flock(users, fcntl.LOCK_EX)
    finally:
        ring.kill()
        shutil.rmtree(room, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1])))
