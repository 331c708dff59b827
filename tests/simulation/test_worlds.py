"""What was acknowledged is stored exactly once, whatever stops the processes, the machine, the disk or the stores."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.seeds import SEEDS_THAT_FAILED_ONCE
from tests.simulation.simulate import lived
from tests.simulation.world import World

CHECKOUT = Path(__file__).resolve().parents[2]
SEEDS_A_TEST = 30


@pytest.mark.parametrize("seed", SEEDS_THAT_FAILED_ONCE)
def test_a_seed_that_failed_once_does_not_fail_again(seed):
    World(seed).run()


@pytest.mark.parametrize("first", range(1_000_000, 1_000_300, SEEDS_A_TEST))
def test_what_was_acknowledged_is_stored_once_whatever_happens(first):
    results = [lived(seed) for seed in range(first, first + SEEDS_A_TEST)]
    assert [(one.seed, one.failure) for one in results if one.failure] == []
    deaths = sum(one.happened.get("power cut", 0) + one.happened.get("killed", 0) for one in results)
    assert sum(one.acknowledged for one in results) > 30 * SEEDS_A_TEST and deaths > SEEDS_A_TEST, (
        "a world in which nothing happens proves nothing"
    )


STORY = "from tests.simulation.world import World\nWorld({seed}, story=print).run()"


@pytest.mark.parametrize("seed", [7, 12])
def test_a_world_is_the_same_for_the_same_seed_in_every_process(seed):
    told = [
        subprocess.run(
            [sys.executable, "-c", STORY.format(seed=seed)],
            cwd=CHECKOUT, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True, timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1] and told[0].count(b"\n") > 50
