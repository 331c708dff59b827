"""A rebuild killed by SIGKILL, or one whose Redis is killed, leaves the counts of before or the new ones, whole."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from gateway.embedded import EmbeddedValkey
from storage.redis import key
from tests.contract.connected import migrated
from tests.contract.house import House, now, some_signs
from tests.contract.test_rebuild import expected, only_in_force, schema_alone
from tests.signs import content_of

PLAYS = 12_000
KILLS = 8
PATIENCE_S = 120

Views = dict[tuple[UUID, int], int]


def filled(house: House, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(PLAYS // 500):
        house.post(*(now(session=rng.randrange(10**6), content=rng.randrange(5)) for _ in range(500)))
    house.post(*some_signs(rng, 500))
    house.deliver()


def altered(house: House) -> Views:
    """The counts in force, wrong in every hour."""
    for _, hour in set(house.views()):
        house.redis_do("HINCRBY", key.views(hour), str(content_of(9)), 1)
    return house.views()


@pytest.fixture
def house(embedded_url: str, valkey_url: str, tmp_path: Path) -> Iterator[House]:
    migrated(embedded_url, schema_alone)
    with House(tmp_path, embedded_url, valkey_url) as made:
        yield made


def test_killed_at_any_moment_it_leaves_old_counts_or_new_ones_and_never_a_mixture(house: House) -> None:
    rng = random.Random(2026)
    filled(house, 1)
    right, ends = expected(house), set()
    wrong = altered(house)
    for _ in range(KILLS):
        plays = rng.choice([0, rng.randrange(PLAYS), rng.randrange(PLAYS), PLAYS - 1])
        killed = house.rebuilding()
        deadline = time.monotonic() + PATIENCE_S
        is_begun = False
        while killed.poll() is None:
            found = house.views()
            assert found in (wrong, right)
            is_begun = is_begun or bool(house.redis_do("EXISTS", key.REBUILD_REGISTRATION))
            if is_begun and (house.plays_counted() >= plays or found == right):
                time.sleep(rng.random() * 0.05)
                killed.kill()
                break
            assert time.monotonic() < deadline
        killed.communicate()
        found = house.views()
        assert found in (wrong, right)
        ends.add(found == right)
        if found == right:
            wrong = altered(house)
    assert False in ends, "no kill came before the switch"
    house.post(*some_signs(rng, 50))
    done = house.rebuilding()
    stdout, stderr = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, stdout + stderr
    assert house.views() == right
    assert only_in_force(house), "what the dead ones left is swept away"
    house.deliver()
    assert house.views() == expected(house)


def test_two_at_once_in_one_directory_are_one(house: House) -> None:
    filled(house, 2)
    altered(house)
    first = house.rebuilding()
    deadline = time.monotonic() + PATIENCE_S
    while not house.redis_do("EXISTS", key.REBUILD_REGISTRATION):
        assert time.monotonic() < deadline
    os.kill(first.pid, signal.SIGSTOP)
    second = house.rebuilding()
    _, stderr = second.communicate(timeout=PATIENCE_S)
    os.kill(first.pid, signal.SIGCONT)
    assert second.returncode == 1 and "Another rebuild is under way" in stderr
    assert first.wait(PATIENCE_S) == 0
    first.communicate()
    assert house.views() == expected(house)


@pytest.mark.parametrize("seed", range(3))
def test_a_redis_killed_in_the_middle_ends_it_and_the_next_one_succeeds(
    embedded_url: str, tmp_path: Path, seed: int
) -> None:
    migrated(embedded_url, schema_alone)
    rng = random.Random(seed)
    server = EmbeddedValkey(tmp_path)
    loop = asyncio.Runner()
    url = loop.run(server.start())
    try:
        with House(tmp_path / "data", embedded_url, url) as house:
            filled(house, seed)
            wrong, right = altered(house), expected(house)
            ended, plays = house.rebuilding(), rng.randrange(PLAYS // 2)
            deadline = time.monotonic() + PATIENCE_S
            while not house.redis_do("EXISTS", key.REBUILD_REGISTRATION) or house.plays_counted() < plays:
                assert time.monotonic() < deadline
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            loop.run(server.wait())
            stdout, stderr = ended.communicate(timeout=PATIENCE_S)
            assert ended.returncode == 1
            (line,) = [line for line in stderr.splitlines() if line.startswith("Error: ")]
            assert "Redis" in line and "Traceback" not in stdout + stderr
            loop.run(server.start())
            house.reconnect()
            assert house.views() == wrong
            house.rebuild()
            house.deliver()
            assert house.views() == right
            assert only_in_force(house)
    finally:
        loop.run(server.stop())
        loop.close()
