"""A real Cassandra on loopback: its start, its end and its place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cql import CassandraMissing, Plan, Ring, RingError, jars
from gateway.cql.asking import ask
from gateway.cql.ring import free_ports
from tests.conftest import left_out
from tests.cql_server import Cassandra

ROOT = Path(__file__).resolve().parents[2]

# Starts a tied node in the directory it is given, says its pid, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from gateway.cql import Plan, Ring
from gateway.cql.ring import free_ports
port, storage_port = free_ports(Plan().addresses)
ring = Ring(Path(sys.argv[1]), Plan(port=port, storage_port=storage_port))
ring.spawn(is_tied=True)
print(ring.nodes[0].pid, flush=True)
time.sleep(120)
"""


def rows(ring: Ring, *statements: str) -> list[Any]:
    """What the last of these statements gives, asked of the first node."""
    node = ring.nodes[0]
    return ask(node.address, node.port, *((statement, "ONE") for statement in statements))[-1]


def ended(pid: int, within_s: float) -> bool:
    """Whether a process that is no child of ours ends within that time."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.02)
    return False


def cql(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command; its output is read to its end, which a server that kept it open would never let come."""
    command = [sys.executable, "-P", "-m", "gateway.cql", arguments[0], "--directory", str(directory), *arguments[1:]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory with a blank in its name, and nothing left running in it."""
    if not jars.is_installed():
        left_out("Cassandra is not in .cache/cassandra (./gw test fetches it)")
    place = tmp_path / "our ring"
    yield place
    for nodes in (1, 3):
        try:
            Ring(place, Plan(nodes)).kill()
        except RingError:
            pass


def test_all_tests_of_a_run_share_one_server(cassandra: Cassandra) -> None:
    [[local]] = ask(cassandra.contact_points, cassandra.port, ("SELECT data_center FROM system.local", "ONE"))
    assert local.data_center == "datacenter1"


def test_a_started_node_answers_outlives_its_starter_and_ends_when_told(directory: Path) -> None:
    started = cql(directory, "start")
    assert started.returncode == 0, started.stderr
    assert "contact points  127.0.0.1  port" in started.stdout
    ring = Ring(directory, Plan())
    pid = ring.nodes[0].pid
    assert pid is not None
    assert os.getsid(pid) == pid
    assert {Path(os.readlink(f"/proc/{pid}/fd/{number}")).name for number in (1, 2)} == {"cassandra.log"}
    assert cql(directory, "start").returncode == 0
    assert ring.nodes[0].pid == pid, "started a second time beside itself"
    assert "1 of 1 up" in cql(directory, "status").stdout
    rows(
        ring,
        "CREATE KEYSPACE kept WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE TABLE kept.numbers (number int PRIMARY KEY)",
        "INSERT INTO kept.numbers (number) VALUES (41)",
        "INSERT INTO kept.numbers (number) VALUES (42)",
    )
    ring.nodes[0].kill()  # at once: what it acknowledged has to be on disk
    said = cql(directory, "status")
    assert said.returncode == 1 and "0 of 1 up" in said.stdout
    assert cql(directory, "start").returncode == 0
    assert sorted(row.number for row in rows(ring, "SELECT number FROM kept.numbers")) == [41, 42]
    assert cql(directory, "stop").stdout == "stopped 1 of 1\n"
    assert [node.state for node in ring.nodes] == ["absent"]
    assert cql(directory, "stop").stdout == "nothing ran\n"


def test_a_tied_node_ends_with_a_killed_starter(directory: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert ended(pid, within_s=10)


def test_a_killed_run_leaves_no_server(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import time\ndef test_it(cassandra):\n    print('served', cassandra.port, flush=True)\n    time.sleep(120)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-s",
            "-p",
            "tests.cql_server",
            "--rootdir",
            str(tmp_path),
            "--basetemp",
            str(tmp_path / "run"),
            str(tmp_path / "test_it.py"),
        ],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert any("served" in line for line in run.stdout), "it did not start"
    node = Ring(tmp_path / "run" / "cassandra" / "ring", Plan()).nodes[0]
    pid = node.pid
    assert pid is not None
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    assert ended(pid, within_s=10)


def test_a_node_that_cannot_start_says_why(directory: Path) -> None:
    port, storage_port = free_ports(Plan().addresses)
    with pytest.raises(RingError, match="ended before it was ready"):
        Ring(directory, Plan(port=port, storage_port=storage_port, heap_mib=10**9)).start(is_tied=True)


def test_a_ring_keeps_its_size_and_its_ports(directory: Path) -> None:
    (directory).mkdir()
    (directory / "ring.json").write_text('{"nodes": 3, "port": 5042, "storage_port": 5043, "heap_mib": 400}')
    assert Ring(directory, Plan(3)).plan.port == 5042
    with pytest.raises(RingError, match="holds a ring of 3"):
        Ring(directory, Plan(1))


def test_jars_that_are_not_as_listed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    (tmp_path / "b.jar").write_bytes(b"b")
    sums = jars.expected(jars.sums_of(tmp_path.iterdir()))
    jars.check(tmp_path, sums)
    (tmp_path / "a.jar").write_bytes(b"another")
    (tmp_path / "c.jar").touch()
    with pytest.raises(CassandraMissing, match=r"a\.jar, c\.jar"):
        jars.check(tmp_path, sums)
    (tmp_path / "b.jar").unlink()
    with pytest.raises(CassandraMissing, match=r"b\.jar"):
        jars.check(tmp_path, sums)
