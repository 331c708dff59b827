"""Events that are watched: none is forgotten, however many, and few others are taken for one."""

import random

from storage.scylla import watched
from storage.scylla.watched import Watched


def test_none_is_forgotten_and_up_to_a_number_none_is_taken_for_another() -> None:
    chance = random.Random(9)
    ids = [chance.randbytes(16) for _ in range(3_000)]
    few, many = Watched(5_000), Watched(1_000)
    assert not few and not many
    for one in ids:
        few.add(one)
        many.add(one)
        many.add(one)
    assert few and many
    assert all(one in few and one in many for one in ids)
    others = [chance.randbytes(16) for _ in range(3_000)]
    assert not any(one in few for one in others)
    assert sum(one in many for one in others) < 3


def test_a_full_filter_sends_everything_to_be_looked_up_and_grows_no_more() -> None:
    held = Watched(0)
    held.add(bytes(16))
    held._filter[:] = b"\xff" * len(held._filter)
    held.add(bytes(15) + b"\1")
    assert random.Random(1).randbytes(16) in held
    assert len(held._filter) == 1 << watched.FILTER_BITS - 3
