"""What was acknowledged is delivered exactly once, in order, whatever stops the process or is forgotten by the disk."""

import pytest
import structlog

from ingest.spool.ending import DamagedEnding
from ingest.spool.reader import SegmentsGone
from tests.simulation.world import World

SEEDS_THAT_FAILED_ONCE = [48, 52, 73, 116, 184, 193, 195, 787, 852]
SEEDS_A_TEST = 25
LIVES = 5


@pytest.fixture(autouse=True)
def quiet():
    with structlog.testing.capture_logs():
        yield


@pytest.mark.parametrize("seed", SEEDS_THAT_FAILED_ONCE)
def test_a_seed_that_failed_once_does_not_fail_again(seed):
    world = World(seed)
    world.run(LIVES)
    world.verdict()


@pytest.mark.parametrize("first", range(0, 200, SEEDS_A_TEST))
def test_what_was_acknowledged_survives_every_crash(first):
    acknowledged = crashes = 0
    for seed in range(first, first + SEEDS_A_TEST):
        world = World(seed)
        try:
            world.run(LIVES)
            world.verdict()
        except BaseException as error:
            error.add_note(f"{seed=}")
            raise
        acknowledged += len(world.acknowledged)
        crashes += world.crashes
    assert acknowledged > 20 * SEEDS_A_TEST and crashes > SEEDS_A_TEST, (
        "a world in which nothing happens proves nothing"
    )


def test_a_world_is_the_same_for_the_same_seed():
    def told(seed: int) -> tuple[list[str], list[str], int]:
        world = World(seed)
        world.run(LIVES)
        return world.acknowledged, world.store.rows, world.crashes

    assert told(7) == told(7) and told(7) != told(8)


@pytest.mark.parametrize("forgets", [{"file"}, {"directory"}, {"file", "directory"}], ids=", ".join)
def test_a_disk_that_does_not_sync_is_noticed(forgets):
    noticed = 0
    for seed in range(30):
        world = World(seed, frozenset(forgets))
        try:
            world.run(LIVES)
            world.verdict()
        except (AssertionError, SegmentsGone, DamagedEnding):
            noticed += 1
    assert noticed >= 5
