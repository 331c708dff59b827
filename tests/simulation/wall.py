"""The machine's clocks: one only grows, the other is set by people and by daemons who may be wrong by years."""

from collections.abc import Callable

BEGIN_US = 1_795_000_000_000_000
"""November 2026."""
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US


class Wall:
    """See ingest.clock.Clock. `elapsed_s`: since the world began."""

    def __init__(self, elapsed_s: Callable[[], float]) -> None:
        self.wrong_us = 0
        self._elapsed_s = elapsed_s

    def true_us(self) -> int:
        """What everybody else's clock says."""
        return BEGIN_US + int(self._elapsed_s() * SECOND_US)

    def now_us(self) -> int:
        return self.true_us() + self.wrong_us

    def now_s(self) -> float:
        return self.now_us() / SECOND_US

    def monotonic_s(self) -> float:
        return self._elapsed_s()
