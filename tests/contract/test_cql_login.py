"""A CQL server that asks for a name and a password, and speaks TLS alone."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.scylla import ScyllaSettings
from gateway.cql import CassandraMissing, Plan, Ring, configuration
from gateway.cql.ring import READY_TIMEOUT_S, free_ports
from storage.dead_letter import box
from storage.scylla.driver import CqlError, CqlGone, CqlRefused, connected
from storage.sink import SinkRefused, SinkUnavailable
from tests.conftest import left_out
from tests.contract.cql_store import CqlStore, make, run
from tests.spooled import Spooled, rows_of

PASSWORD = "of-the-keystore"


def certificate(directory: Path, name: str) -> Path:
    """A certificate for 127.0.0.1, signed by itself, as PEM; its key is in a keystore beside it."""
    keystore, pem = directory / f"{name}.p12", directory / f"{name}.pem"
    keytool = ["keytool", "-keystore", str(keystore), "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", name]
    subprocess.run(
        [*keytool, "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "2", "-dname", f"CN={name}",
         "-ext", "SAN=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run([*keytool, "-exportcert", "-rfc", "-file", str(pem)], check=True, capture_output=True)
    return pem


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScyllaSettings]:
    """How such a server is reached."""
    if shutil.which("keytool") is None:
        left_out("keytool is not there, which makes certificates (apt install openjdk-17-jre-headless)")
    directory = tmp_path_factory.mktemp("locked")
    pem = certificate(directory, "node")
    port, storage_port = free_ports(Plan().addresses)
    written = configuration.yaml

    def locked_yaml(*arguments: Any) -> str:
        encryption = {
            "enabled": True, "optional": False, "keystore": str(directory / "node.p12"),
            "keystore_password": PASSWORD, "store_type": "PKCS12",
        }  # fmt: skip
        changes = {
            "authenticator": "PasswordAuthenticator",
            "client_encryption_options": encryption,
            "data_disk_usage_max_disk_size": "10MiB",  # little: a node that is full, for all but its superuser
            "data_disk_usage_percentage_fail_threshold": 1,
        }
        return json.dumps(json.loads(written(*arguments)) | changes)

    ring = Ring(directory / "ring", replace(Plan(), port=port, storage_port=storage_port))
    settings = ScyllaSettings(
        contact_points=ring.contact_points, port=port, replication=1, keyspace="test_locked",
        username="cassandra", password="cassandra", tls_ca_file=str(pem),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(configuration, "yaml", locked_yaml)
        try:
            ring.spawn(is_tied=True)
        except CassandraMissing as missing:
            left_out(str(missing))
    try:
        asyncio.run(until_made(settings))
        yield settings
    finally:
        ring.kill()


async def until_made(settings: ScyllaSettings) -> None:
    until_s = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            await make(settings)
        except CqlError:
            assert time.monotonic() < until_s
            await asyncio.sleep(0.5)
        else:
            return


@pytest.fixture(params=["acsylla", "cassandra"])
def settings(request: pytest.FixtureRequest, locked: ScyllaSettings) -> ScyllaSettings:
    return msgspec.structs.replace(locked, driver=request.param)


def test_with_name_password_and_certificate_rows_are_stored(settings: ScyllaSettings, tmp_path: Path) -> None:
    async def scenario() -> None:
        store, rows = CqlStore(settings, tmp_path), rows_of(30)
        await store.write(Spooled().slice(rows))
        assert set(await store.rows()) >= set(rows)

    run(scenario)


@pytest.mark.parametrize("wrong", [{"password": "guessed"}, {"username": "nobody"}, {"username": ""}], ids=str)
def test_a_wrong_name_or_password_is_for_an_engineer_and_is_not_told(
    settings: ScyllaSettings, tmp_path: Path, wrong: dict[str, str]
) -> None:
    async def scenario() -> None:
        with pytest.raises(SinkRefused) as refused:
            await CqlStore(msgspec.structs.replace(settings, **wrong), tmp_path).opened()
        assert "guessed" not in str(refused.value)

    run(scenario)


def test_a_server_of_another_certificate_is_not_spoken_to(settings: ScyllaSettings, tmp_path: Path) -> None:
    async def scenario() -> None:
        other = str(certificate(tmp_path, "other"))
        with pytest.raises(SinkRefused):
            await CqlStore(msgspec.structs.replace(settings, tls_ca_file=other), tmp_path).opened()

    run(scenario)


def test_a_certificate_of_another_address_is_not_spoken_to(settings: ScyllaSettings, tmp_path: Path) -> None:
    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", settings.port)
        await asyncio.gather(piped(reader, forth), piped(back, writer), return_exceptions=True)

    async def scenario() -> None:
        between = await asyncio.start_server(through, "127.0.0.77", settings.port)
        try:
            with pytest.raises(SinkRefused):
                await CqlStore(msgspec.structs.replace(settings, contact_points="127.0.0.77"), tmp_path).opened()
        finally:
            between.close()

    run(scenario)


async def piped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65_536):
        writer.write(some)
        await writer.drain()
    writer.close()


def test_without_tls_a_server_of_tls_alone_is_not_reached(settings: ScyllaSettings) -> None:
    async def scenario() -> None:
        with pytest.raises((CqlRefused, CqlGone)):
            await connected(msgspec.structs.replace(settings, tls_ca_file="", connect_timeout_ms=1_000))

    run(scenario)


def test_a_certificate_file_that_is_not_there_is_said(settings: ScyllaSettings, tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(CqlRefused, match="tls_ca_file"):
            await connected(msgspec.structs.replace(settings, tls_ca_file=str(tmp_path / "no.pem")))

    run(scenario)


def test_a_node_whose_disk_is_full_is_an_outage_and_buries_nothing(settings: ScyllaSettings, tmp_path: Path) -> None:
    """Cassandra says it with the code of an invalid query, which would be the row's fault."""

    async def scenario() -> None:
        driver = await connected(settings, keyspace=False)
        await driver.run("CREATE ROLE IF NOT EXISTS gateway WITH PASSWORD = 'its own' AND LOGIN = true")
        await driver.close()
        ordinary = msgspec.structs.replace(settings, username="gateway", password="its own")
        store = CqlStore(ordinary, tmp_path)
        await CqlStore(settings, tmp_path).write(Spooled().slice(rows_of(1)))  # the day is open
        before = await store.positions()
        with pytest.raises(SinkUnavailable, match="disk usage"):
            await store.write(Spooled().slice(rows_of(40)))
        assert list(box.read(tmp_path)) == [] and await store.positions() == before

    run(scenario)
