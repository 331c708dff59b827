"""What is set aside is there for certain once it was found there: whoever put it may have died on the way."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from ingest.spool import quarantine
from ingest.spool.shortfall import Shortfall, note
from tests.simulation.disk import SimDisk, Stop
from tests.simulation.places import QUARANTINE
from tests.simulation.platter import Platter

MISSING = Shortfall("0" * 32, 3, 5)
PIECE = quarantine.piece_name(Path("0" * 32) / f"{0:016x}.open", 64)


def put_piece(disk: SimDisk) -> None:
    quarantine.put(disk, QUARANTINE, PIECE, [b"damaged", b" bytes"])


def put_note(disk: SimDisk) -> None:
    note(disk, QUARANTINE, MISSING)


@pytest.mark.parametrize("put, name", [(put_piece, PIECE), (put_note, MISSING.name)], ids=["piece", "note"])
def test_what_was_put_by_who_died_and_then_found_survives_a_power_cut(
    put: Callable[[SimDisk], None], name: str
) -> None:
    """Death at every call to the disk, and several ends of a power cut for each."""
    finished = False
    for calls in range(20):
        for seed in range(8):
            platter = Platter(Random(seed), lambda: 0.0)
            first = SimDisk(platter)
            first.stop_in = calls
            try:
                put(first)
                finished = True
            except Stop:
                pass
            first.stop()
            put(SimDisk(platter))
            there = bytes(platter.file(QUARANTINE / name).data)
            platter.cut_power()
            assert name in platter.names(QUARANTINE), f"{calls=} {seed=}"
            assert bytes(platter.file(QUARANTINE / name).data) == there
    assert finished
