"""How long to wait before the next try: full jitter, so that drains that failed together do not come back together.
Pure."""

from collections.abc import Callable

FIRST_S = 0.1
"""Upper bound of the first wait: a server that restarts is back within a second."""
LONGEST_S = 10.0
"""Upper bound of every wait: an outage that ends is noticed within ten seconds."""

assert 0 < FIRST_S < LONGEST_S


def delay_s(attempt: int, chance: Callable[[], float]) -> float:
    """Seconds to wait after failure number `attempt` (0, 1, …) in a row; `chance()` gives 0 <= x < 1.

    Uniform in [0, min(10, 0.1 * 2^attempt)), the "full jitter" of Brooker, Exponential Backoff And Jitter (AWS, 2015).
    """
    assert attempt >= 0
    return chance() * ceiling_s(attempt)


def ceiling_s(attempt: int) -> float:
    """What `delay_s` stays below."""
    return min(LONGEST_S, FIRST_S * 2.0 ** min(attempt, 30))
