"""`./gw simulate`: worlds by their seeds, on all cores; a table, and how to repeat what failed.

Ends with 1 when a world failed, and names the seeds.
"""

import argparse
import gc
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from multiprocessing import get_context
from typing import NamedTuple

from tests.simulation.world import NOTHING, World

SEEDS_A_TURN = 10
"""Given to a process at a time."""
FAILURES_SHOWN_MAX = 20
GARBAGE_MIN = 50_000
"""Objects until it is collected: a world leaves little, and collecting is a tenth of its time."""


class Told(NamedTuple):
    """What became of one world."""

    seed: int
    lives: int
    happened: dict[str, int]
    acknowledged: int
    delivered: int
    resent: int
    failure: str | None
    """The last lines of it."""


def lived(seed: int, forgets: frozenset[str] = NOTHING, breaks: frozenset[str] = NOTHING) -> Told:
    """Run one world to its end, whatever that is."""
    world, failure = World(seed, forgets, breaks), None
    try:
        world.run()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  whatever it is, it is this seed's failure
        failure = "".join(traceback.format_exception_only(error)).strip()
    ledger = world.ledger
    acknowledged = len(ledger.acknowledged) + len(ledger.signals)
    delivered = len(world.relational.state.rows)
    return Told(seed, world.lives, world.happened, acknowledged, delivered, ledger.resent, failure)


def told(first: int, seeds: int, processes: int) -> Iterable[Told]:
    """Of every seed, as they end."""
    with get_context("spawn").Pool(processes, gc.set_threshold, (GARBAGE_MIN,)) as pool:
        yield from pool.imap_unordered(lived, range(first, first + seeds), SEEDS_A_TURN)


def table(results: list[Told], took_s: float) -> str:
    """For people."""
    failed = [one for one in results if one.failure]
    lost = sum("lost" in one.failure for one in failed if one.failure)
    doubled = sum("twice" in one.failure for one in failed if one.failure)
    rows = [
        ("seeds", len(results)),
        ("lives", sum(one.lives for one in results)),
        ("events acknowledged", sum(one.acknowledged for one in results)),
        ("rows stored", sum(one.delivered for one in results)),
        ("requests sent again", sum(one.resent for one in results)),
        ("worlds that lost an event", lost),
        ("worlds that stored or counted one twice", doubled),
        ("worlds that failed otherwise", len(failed) - lost - doubled),
        (
            "worlds whose store lost rows, as was said",
            sum("postgres says it is lost" in one.happened for one in results),
        ),
        ("seconds", round(took_s)),
    ]
    happened: Counter[str] = Counter()
    for one in results:
        happened.update(one.happened)
    lines = [f"  {name:<43} {number:>12,}" for name, number in rows]
    lines.append("\n  what happened to them")
    lines += [f"  {name:<43} {number:>12,}" for name, number in sorted(happened.items())]
    return "\n".join(lines)


def story(seed: int) -> int:
    """One world, told as it happens; 0 or 1."""
    world = World(seed, story=print)
    try:
        world.run()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  as in `lived`
        traceback.print_exc(file=sys.stdout)
        return 1
    print(f"\nseed {seed}: {len(world.ledger.acknowledged)} rows acknowledged, each stored once")
    return 0


def main(arguments: list[str]) -> int:
    """The exit code."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser("gw simulate", description="Seeded worlds in which everything fails.")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (1,000)")
    parser.add_argument("--first", type=int, default=0, help="the first one (0)")
    parser.add_argument("--processes", type=int, default=cores, help=f"at once ({cores})")
    parser.add_argument("--seed", type=int, help="this one alone, with its story")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return story(chosen.seed)
    if chosen.seeds < 1 or chosen.processes < 1:
        parser.error("--seeds and --processes are 1 or more")
    began_s, results = time.monotonic(), list[Told]()
    for one in told(chosen.first, chosen.seeds, chosen.processes):
        results.append(one)
        if one.failure:
            print(f"seed {one.seed} failed: {one.failure.splitlines()[0][:200]}", file=sys.stderr)
        elif len(results) % 500 == 0:
            print(f"{len(results):,} of {chosen.seeds:,}", file=sys.stderr)
    print(table(results, time.monotonic() - began_s))
    failed = sorted(one.seed for one in results if one.failure)
    for seed in failed[:FAILURES_SHOWN_MAX]:
        print(f"\n  failed: ./gw simulate --seed {seed}", end="")
    if failed:
        print(f"\n\n{len(failed)} of {len(results)} failed. Keep them: tests/simulation/seeds.py")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
