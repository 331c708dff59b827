"""The embedded servers: what they promise about their start, their end and their place, on real processes."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.limits import MIB
from gateway.embedded import EmbeddedPostgres, EmbeddedServerError, EmbeddedValkey, account, postgres, valkey
from gateway.embedded.account import Account
from gateway.embedded.binaries import postgres_binaries, valkey_binary
from gateway.embedded.child import NICENESS
from tests.conftest import left_out

SMALL = {"shared_buffers": "32MB"}
CHECKOUT = Path(__file__).resolve().parents[2]

# A gateway in small: starts both servers in the directory it is given, says where they are, and waits to be killed.
OWNER = """
import asyncio, sys, time
from pathlib import Path
from config.limits import MIB
from gateway.embedded import EmbeddedPostgres, EmbeddedValkey
stores = [EmbeddedPostgres(Path(sys.argv[1]), settings={"shared_buffers": "32MB"}), EmbeddedValkey(Path(sys.argv[1]))]
for store in stores:
    print(asyncio.run(store.start()), store.pid, flush=True)
time.sleep(120)
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory that does not exist yet, below one that only we may enter, with a blank and a quote in its name."""
    (tmp_path / "closed").mkdir(mode=0o700)
    return tmp_path / "closed" / 'our "data"'


@pytest.fixture
def database(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test's own, not yet started."""
    if postgres_binaries() is None:
        left_out("no PostgreSQL found")
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    yield server
    asyncio.run(server.stop())


@pytest.fixture
def counters(data_dir: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey of this test's own, not yet started."""
    if valkey_binary() is None:
        left_out("no Valkey found")
    server = EmbeddedValkey(data_dir, memory_max_bytes=64 * MIB)
    yield server
    asyncio.run(server.stop())


def sql(url: str, statement: str) -> object:
    """The first value that a statement answers."""

    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def ended(pid: int, within_s: float) -> bool:
    """Whether a process that is no child of ours ends within that time."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            if Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(") ")[2][0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def owner_of(data_dir: Path) -> tuple[subprocess.Popen[str], list[tuple[str, int]]]:
    """OWNER, running, with each of its servers' URL and pid."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    servers = []
    for _ in range(2):
        url, pid = owner.stdout.readline().split()
        servers.append((url, int(pid)))
    return owner, servers


def test_rows_and_settings_outlive_a_restart(database: EmbeddedPostgres) -> None:
    url = asyncio.run(database.start())
    for name, value in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("TimeZone", "UTC"),
    ]:
        assert sql(url, f"SHOW {name}") == value
    assert sql(url, "SHOW server_encoding") == "UTF8"
    sql(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    asyncio.run(database.stop())
    assert database.pid is None
    assert asyncio.run(database.start()) == url
    assert sql(url, "SELECT answer FROM kept") == 42


def test_counters_outlive_a_restart(counters: EmbeddedValkey) -> None:
    url = asyncio.run(counters.start())
    with redis.Redis.from_url(url) as client:
        client.incr("kept")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("maxmemory") == {"maxmemory": str(64 * MIB)}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    asyncio.run(counters.stop())
    assert asyncio.run(counters.start()) == url
    with redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"1"


def test_stores_step_back_behind_who_acknowledges(database: EmbeddedPostgres, counters: EmbeddedValkey) -> None:
    for server in (database, counters):
        asyncio.run(server.start())
        assert os.getpriority(os.PRIO_PROCESS, server.pid or 0) == min(19, os.nice(0) + NICENESS)
        group = Path(f"/proc/{server.pid}/autogroup")  # cores are shared between sessions first, where it is there
        assert not group.exists() or group.read_text().split()[-1] == str(NICENESS)


def test_nobody_gets_in_without_the_password(database: EmbeddedPostgres, counters: EmbeddedValkey) -> None:
    asyncio.run(database.start())
    asyncio.run(counters.start())
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(f"postgresql://streamverse:guess@127.0.0.1:{database.port}/streamverse", "SELECT 1")
    with (
        redis.Redis("127.0.0.1", counters.port or 0, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    for file in database.data_dir.glob("*.password"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_servers_leave_no_file_outside_their_directory(database: EmbeddedPostgres, counters: EmbeddedValkey) -> None:
    above = database.data_dir.parent
    shared = set(os.listdir("/dev/shm"))
    asyncio.run(database.start())
    asyncio.run(counters.start())
    assert list(above.iterdir()) == [database.data_dir]
    assert stat.S_IMODE(above.stat().st_mode) == 0o700
    assert {name for name in set(os.listdir("/dev/shm")) - shared if name.startswith("PostgreSQL")} == set()


def test_servers_end_with_a_killed_owner_and_start_again_at_once(data_dir: Path) -> None:
    owner, [(postgres_url, postmaster), (_, valkey_pid)] = owner_of(data_dir)
    sql(postgres_url, "CREATE TABLE kept AS SELECT 7 AS answer")
    owner.kill()
    owner.wait()
    database, counters = EmbeddedPostgres(data_dir, settings=SMALL), EmbeddedValkey(data_dir)
    try:
        url = asyncio.run(database.start())  # at once: it waits for what still lives
        asyncio.run(counters.start())
        assert sql(url, "SELECT answer FROM kept") == 7
        assert ended(postmaster, within_s=0.1)
        assert ended(valkey_pid, within_s=0.1)
    finally:
        asyncio.run(database.stop())
        asyncio.run(counters.stop())


def test_a_start_waits_for_a_backend_that_outlives_its_postmaster(database: EmbeddedPostgres) -> None:
    async def story() -> None:
        url = await database.start()
        connection = await asyncpg.connect(url)
        pid = connection.get_server_pid()
        busy = asyncio.create_task(connection.execute("SELECT sum(n) FROM generate_series(1, 10000000) n"))
        await asyncio.sleep(0.3)
        os.kill(database.pid or 0, signal.SIGKILL)
        assert await database.wait() == -signal.SIGKILL
        assert not ended(pid, within_s=0.1), "the query is too short for this machine"
        assert await database.start() == url  # on the same port
        assert ended(pid, within_s=0.01)
        await asyncio.gather(busy, return_exceptions=True)

    asyncio.run(story())


def test_the_pid_of_another_program_in_the_pid_file_blocks_nothing(database: EmbeddedPostgres) -> None:
    asyncio.run(database.start())
    os.kill(database.pid or 0, signal.SIGKILL)
    asyncio.run(database.wait())
    pid_file = database.cluster / "postmaster.pid"
    lines = pid_file.read_text("utf-8").splitlines()
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n", "utf-8")
    asyncio.run(database.start())


def test_a_cluster_half_made_is_made_anew(database: EmbeddedPostgres) -> None:
    half = database.cluster.with_suffix(".new")
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n", "ascii")
    (database.data_dir / "postgres.password.initdb").touch()
    url = asyncio.run(database.start())
    assert sql(url, "SELECT 1") == 1
    assert not half.exists()


def test_a_port_taken_in_between_is_given_up(
    database: EmbeddedPostgres, counters: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        for module, server in ((postgres, database), (valkey, counters)):
            ports = iter([number, module.free_port()])
            monkeypatch.setattr(module, "free_port", lambda ports=ports: next(ports))
            asyncio.run(server.start())
            assert server.port != number


def test_a_second_owner_is_refused(database: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    url = asyncio.run(database.start())
    monkeypatch.setattr(postgres, "START_PATIENCE_S", 0.2)
    with pytest.raises(EmbeddedServerError, match="still runs on"):
        asyncio.run(EmbeddedPostgres(database.data_dir, settings=SMALL).start())
    assert sql(url, "SELECT 1") == 1


def test_a_failed_start_says_why_and_leaves_nothing_running(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings={"shared_buffers": "much"})
    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "shared_buffers"'):
        asyncio.run(server.start())
    assert server.pid is None


def test_a_lost_password_and_foreign_data_are_named(database: EmbeddedPostgres) -> None:
    asyncio.run(database.start())
    asyncio.run(database.stop())
    (database.cluster / "PG_VERSION").write_text("9\n", "ascii")
    with pytest.raises(EmbeddedServerError, match=r"was made by PostgreSQL 9; the one in .* is 1[58]"):
        asyncio.run(database.start())
    (database.data_dir / "postgres.password").unlink()
    with pytest.raises(EmbeddedServerError, match=r"postgres\.password is missing"):
        asyncio.run(database.start())


def test_root_without_any_way_is_told_what_was_tried(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has to look for another account")
    monkeypatch.setattr(account, "_refusal", lambda way, *_: f"no {way.way}")
    with pytest.raises(
        EmbeddedServerError, match=r"as namespace: no namespace; as nobody: .*; as passing: .*INGEST_POSTGRES_URL"
    ):
        asyncio.run(EmbeddedPostgres(data_dir).start())


@pytest.mark.parametrize("way", ["nobody", "passing"])
def test_postgres_runs_as_nobody_where_namespaces_are_refused(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another account")
    nobody = pwd.getpwnam("nobody")
    theirs = Account(way, nobody.pw_uid, nobody.pw_gid)
    binaries = postgres_binaries()
    if binaries is None or account._refusal(theirs, binaries / "postgres", Path("/")):
        pytest.skip("this checkout is closed to `nobody`")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o711 if way == "nobody" else 0o700)  # what `nobody` needs, and no more
        server = EmbeddedPostgres(Path(directory) / "data", settings=SMALL)
        try:
            sql(asyncio.run(server.start()), "CREATE TABLE kept AS SELECT 7 AS answer")
            asyncio.run(server.stop())
            monkeypatch.setattr(postgres, "account_for_postgres", lambda *_: theirs)
            assert sql(asyncio.run(server.start()), "SELECT answer FROM kept") == 7  # the files changed hands
            assert server.cluster.stat().st_uid == nobody.pw_uid
            asyncio.run(server.stop())
            shutil.rmtree(server.cluster)
            (server.data_dir / "postgres.password").unlink()
            assert sql(asyncio.run(server.start()), "SELECT 1") == 1  # made anew, by that account
            asyncio.run(server.stop())
            monkeypatch.undo()
            assert sql(asyncio.run(server.start()), "SELECT 1") == 1  # and back
        finally:
            asyncio.run(server.stop())
