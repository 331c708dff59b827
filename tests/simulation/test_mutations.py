"""The simulation itself is tested: of a gateway, a disk or a store that breaks its word the worlds must fall."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gateway import spool_upkeep
from ingest.spool.durable import Durable
from ingest.spool.retention import Kept, removable
from storage.feed import Feed
from storage.postgres.clock_repair import Lookout
from storage.postgres.fingerprint import Fingerprints
from tests.simulation.disk import SimDisk
from tests.simulation.simulate import Told, lived

SEEDS = range(40)
"""So many worlds at most may miss it."""
SEEDS_OF_FALLING_BACK = range(0, 160, 4)
SEEDS_OF_SHALLOW_FALLS = range(400, 2_400, 4)
SEEDS_OF_WRONG_CLOCKS = [seed for seed in range(150) if seed % 5 < 2]
"""tests.simulation.fate says which worlds know which disasters."""


def first_to_fall(
    forgets: frozenset[str] = frozenset(), breaks: frozenset[str] = frozenset(), seeds: Sequence[int] = SEEDS
) -> Told:
    """The first world that fails; a failure of this test when none does."""
    for seed in seeds:
        if (told := lived(seed, forgets, breaks)).failure:
            return told
    pytest.fail(f"{len(seeds)} worlds noticed nothing")


@pytest.mark.parametrize("forgets", ["file", "directory"])
def test_a_disk_whose_fsync_does_nothing_is_noticed(forgets):
    first_to_fall(forgets=frozenset({forgets}))


def test_positions_that_move_outside_the_transaction_are_noticed():
    assert "lost" in str(first_to_fall(breaks=frozenset({"transaction"})).failure)


def test_positions_that_move_wherever_they_are_are_noticed():
    first_to_fall(breaks=frozenset({"compare"}))


def test_a_table_without_its_key_is_noticed():
    assert "twice" in str(first_to_fall(breaks=frozenset({"key"})).failure)


def test_readers_that_ignore_the_watermark_are_noticed(monkeypatch):
    """They deliver what is on no disk yet, and a power cut takes it back."""
    promised = Durable.beyond

    def everything(durable: Durable, sequence: int) -> int:
        mark = promised(durable, sequence)
        return mark if durable.known_ending is not None else 2**62

    monkeypatch.setattr(Durable, "beyond", everything)
    first_to_fall()


def test_a_recovery_that_takes_a_living_collectors_lock_is_noticed(monkeypatch):
    lock = SimDisk.lock

    def lock_anyway(disk: SimDisk, path: Path) -> int | None:
        if path.name in disk.platter.names(path.parent):
            disk.platter.locked.discard(disk.platter.file(path))
        return lock(disk, path)

    monkeypatch.setattr(SimDisk, "lock", lock_anyway)
    first_to_fall()


def test_a_drain_that_goes_on_with_a_store_put_back_behind_the_spool_is_noticed(monkeypatch):
    monkeypatch.setattr(Feed, "_check_tombstones", lambda _: None)
    first_to_fall(seeds=SEEDS_OF_FALLING_BACK)


def test_a_retention_that_does_not_wait_is_noticed(monkeypatch):
    def at_once(segments: list[Kept], positions: Mapping[str, Mapping[str, int]], kept_s: float, excess_bytes: int):
        return removable(segments, positions, kept_s if kept_s == math.inf else 0, excess_bytes)

    monkeypatch.setattr(spool_upkeep, "removable", at_once)
    assert "kept for" in str(first_to_fall(seeds=SEEDS_OF_SHALLOW_FALLS).failure)


def test_a_writer_that_forgets_which_events_it_repaired_is_noticed(monkeypatch):
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(Lookout, "begin", nothing)
    monkeypatch.setattr(Lookout, "go_on", nothing)
    assert "twice" in str(first_to_fall(seeds=SEEDS_OF_WRONG_CLOCKS).failure)


def test_a_drain_that_remembers_no_ids_is_slower_and_as_right(monkeypatch):
    """Suspicion is for speed, the key is for truth: a duplicate that nobody suspected costs its batch a second try. But
    for repaired rows, whose key is not what their player sends again: these are suspected always.
    """
    monkeypatch.setattr(Fingerprints, "keep", lambda self: self.forget())
    assert [told.failure for told in map(lived, range(20)) if told.failure] == []
