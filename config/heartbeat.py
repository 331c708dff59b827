"""How often players send heartbeats: the intervals that a write key may name, as classes of four bits. Pure.

A frame's flags hold the class of its players (`ingest.batch`), so that whoever counts viewers knows how long each may
be silent, without asking what keys there are.
"""

from bisect import bisect_left
from typing import Final

INTERVALS_S: Final = (0, 2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 45, 60, 120, 180, 300)
"""By class, and kept for ever: spools hold the classes. Class 0 is `redis.heartbeat_s`, whatever that is."""
INTERVAL_MIN_S: Final = 5
"""Of a key: while the counts are 1.5 of it behind, no number is told to anybody."""
INTERVAL_MAX_S: Final = INTERVALS_S[-1]
LEASE_MAX_S: Final = 900
"""What quality of experience remembers of a session, and how far back states are minded."""
CLASSES: Final = len(INTERVALS_S)

assert CLASSES == 16 and list(INTERVALS_S) == sorted(INTERVALS_S)


def class_of(interval_s: int | None) -> int:
    """The class whose interval is this one, or the next longer; of None that of the settings. Up to INTERVAL_MAX_S."""
    return 0 if interval_s is None else bisect_left(INTERVALS_S, interval_s, 1)
