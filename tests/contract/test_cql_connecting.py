"""What cannot be reached, and why, as a sink tells it: by waiting where it may pass, red where an engineer decides."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from config.scylla import ScyllaSettings
from storage.scylla.driver import connected
from storage.sink import SinkRefused, SinkUnavailable
from tests.contract.cql_store import CqlStore, run
from tests.contract.house import CHECKOUT


@pytest.fixture
def silent() -> Iterator[int]:
    """A port of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_unknown_data_centre_is_for_an_engineer(each_driver: ScyllaSettings, tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(SinkRefused, match=r"scylla\.local_dc"):
            await CqlStore(msgspec.structs.replace(each_driver, local_dc="elsewhere"), tmp_path).opened()

    run(scenario)


@pytest.mark.parametrize("where", [{"contact_points": "no.such.host.invalid"}, {"port": 1}, {"port": 0}], ids=str)
def test_what_cannot_be_reached_is_an_outage(
    each_driver: ScyllaSettings, tmp_path: Path, silent: int, where: dict[str, Any]
) -> None:
    if where.get("port") == 0:
        where = {"port": silent}

    async def scenario() -> None:
        settings = msgspec.structs.replace(each_driver, connect_timeout_ms=1_000, **where)
        with pytest.raises(SinkUnavailable):
            await CqlStore(settings, tmp_path).opened()

    run(scenario)


STOPPED: Final = """
import asyncio, sys
import msgspec
from config.scylla import ScyllaSettings
from storage.scylla.driver import connected

async def stop(delay_s):
    connecting = asyncio.create_task(connected(msgspec.json.decode(sys.argv[1], type=ScyllaSettings)))
    await asyncio.sleep(delay_s)
    connecting.cancel()
    await asyncio.wait([connecting])

for number in range(12):
    asyncio.run(stop(0.002 * number))
"""


def test_who_is_stopped_while_it_connects_ends(each_driver: ScyllaSettings) -> None:
    given = msgspec.json.encode(each_driver).decode()
    subprocess.run([sys.executable, "-c", STOPPED, given], check=True, timeout=60, cwd=CHECKOUT)


def test_one_contact_point_that_answers_is_enough(each_driver: ScyllaSettings) -> None:
    async def scenario() -> None:
        hosts = f"no.such.host.invalid,127.0.0.99,{each_driver.contact_points}"
        driver = await connected(msgspec.structs.replace(each_driver, contact_points=hosts))
        await driver.close()

    run(scenario)
