"""What reads all rows of CQL and is killed on the way has changed nothing, and the next one comes to the same."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.scylla import ScyllaSettings
from gateway.report import as_json
from storage.redis import key
from tests.contract.connected import migrated
from tests.contract.house import CHECKOUT, now, some_signs
from tests.contract.test_cql_readers import CqlHouse
from tests.contract.test_rebuild import expected, only_in_force, schema_alone
from tests.contract.test_rebuild_killed import PATIENCE_S, altered

PLAYS = 4_000
KILLS = 3


def stores_of_commands(
    postgres_url: str, redis_url: str, cql: ScyllaSettings, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands find these, with the schema alone in the first."""
    migrated(postgres_url, schema_alone)
    for name, value in {
        "STORE": "scylla",
        "DATA_DIR": str(data_dir),
        "POSTGRES_URL": postgres_url,
        "REDIS_URL": redis_url,
        "SCYLLA_CONTACT_POINTS": cql.contact_points,
        "SCYLLA_PORT": str(cql.port),
        "SCYLLA_KEYSPACE": cql.keyspace,
        "SCYLLA_REPLICATION": "1",
    }.items():
        monkeypatch.setenv(f"INGEST_{name}", value)


@pytest.fixture
def house(
    embedded_url: str, valkey_url: str, cql_settings: ScyllaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CqlHouse]:
    """Some thousand plays, delivered to everybody; commands find the same stores."""
    stores_of_commands(embedded_url, valkey_url, cql_settings, tmp_path, monkeypatch)
    with CqlHouse(tmp_path, embedded_url, valkey_url, cql_settings) as made:
        chance = random.Random(1)
        for _ in range(PLAYS // 500):
            made.post(*(now(session=chance.randrange(10**6), content=chance.randrange(5)) for _ in range(500)))
        made.post(*some_signs(chance, 500))
        made.deliver(made.postgres, made.ads, made.redis, made.derived)
        yield made


def test_a_killed_rebuild_leaves_the_counts_in_force_and_the_next_one_counts_all(house: CqlHouse) -> None:
    chance, right = random.Random(2026), expected(house)
    wrong = altered(house)
    for number in range(KILLS):
        killed = house.rebuilding()
        until_s = time.monotonic() + PATIENCE_S
        while killed.poll() is None:
            if house.redis_do("EXISTS", key.REBUILD_REGISTRATION) and house.plays_counted() >= number * PLAYS // 4:
                time.sleep(chance.random() * 0.05)
                killed.kill()
                break
            assert time.monotonic() < until_s
        killed.communicate()
        found = house.views()
        assert found in (wrong, right)
        if found == right:  # the kill came behind the switch
            wrong = altered(house)
    done = house.rebuilding()
    stdout, stderr = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, stdout + stderr
    assert house.views() == right and only_in_force(house)


def test_a_killed_verify_has_changed_nothing_and_the_next_one_says_the_same(house: CqlHouse) -> None:
    before = as_json(house.verify())
    command = [sys.executable, "-m", "gateway.cli", "verify", "--json"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=os.environ, stderr=subprocess.PIPE, text=True) as killed:
        assert killed.stderr is not None
        said = next(line for line in killed.stderr if "events_by_session" in line)
        assert said == "  6 % of events_by_session read\n", "it says how far it is"
        killed.kill()
    done = subprocess.run(command, cwd=CHECKOUT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == before.strip() == as_json(house.verify()).strip()
