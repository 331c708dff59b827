"""Time as an argument, so that a jump of the clock is a test."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the gateway asks of time."""

    def now_us(self) -> int:
        """Wall clock, microseconds since 1970 UTC; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only grow, from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    monotonic_s = staticmethod(time.monotonic)
