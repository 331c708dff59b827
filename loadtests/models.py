"""How many watch at which moment: the models of `./gw load`, pure functions of time, without Locust.

A model is told in shares of its length and of its users, so that the same evening can be played in four minutes or in
an hour. Of `Match`, the live final, the viewers themselves need the moments too: they act together.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

RAMPED_AT: Final = 0.8
USUAL_SHARE: Final = 0.1  # a spike is ten times the usual
SPIKE: Final = (0.4, 0.6)
# A day of a streaming platform, hour → share of the peak; it ends at two in the morning.
DAY: Final = (
    *((6.0, 0.08), (9.0, 0.22), (12.0, 0.25), (14.0, 0.30), (17.0, 0.35), (19.0, 0.60)),
    *((20.5, 0.95), (21.0, 1.00), (22.0, 0.95), (23.0, 0.60), (24.0, 0.30), (26.0, 0.08)),
)
CROWDING_MOST_S: Final = 60.0  # everybody comes within a minute, and goes within a minute
CROWDING_SHARE: Final = 0.2  # of the run, where that is less


@dataclass(frozen=True, slots=True)
class Match:
    """The moments of a live final that is played in `length_s`, in seconds since the run began."""

    length_s: float

    @property
    def crowding_s(self) -> float:
        """How long it takes until everybody is there, and until everybody is gone."""
        return min(CROWDING_MOST_S, CROWDING_SHARE * self.length_s)

    @property
    def kick_off_s(self) -> float:
        return self.crowding_s

    @property
    def half_time_s(self) -> float:
        return self.kick_off_s + 0.4 * self._played_s

    @property
    def second_half_s(self) -> float:
        return self.kick_off_s + 0.6 * self._played_s

    @property
    def end_s(self) -> float:
        return self.length_s - self.crowding_s

    @property
    def _played_s(self) -> float:
        return self.end_s - self.kick_off_s


def ramp(at_s: float, length_s: float) -> float:
    """Slowly up, and then all of them for a while."""
    return min(1.0, at_s / (RAMPED_AT * length_s))


def spike(at_s: float, length_s: float) -> float:
    """The usual, ten times that at once, and back."""
    return 1.0 if SPIKE[0] * length_s <= at_s < SPIKE[1] * length_s else USUAL_SHARE


def soak(_at_s: float, _length_s: float) -> float:
    """All of them, all the time."""
    return 1.0


def evening(at_s: float, length_s: float) -> float:
    """A day from six in the morning: few, an afternoon, the peak at prime time, its tail."""
    hour = DAY[0][0] + at_s / length_s * (DAY[-1][0] - DAY[0][0])
    after = min(bisect_right(DAY, (hour, math.inf)), len(DAY) - 1)
    (hour_before, share_before), (hour_after, share_after) = DAY[after - 1], DAY[after]
    return share_before + (share_after - share_before) * (hour - hour_before) / (hour_after - hour_before)


def final(at_s: float, length_s: float) -> float:
    """Everybody is there by the kick-off. When each of them goes is told with what they do: `live_viewing`."""
    return min(1.0, at_s / Match(length_s).kick_off_s)


@dataclass(frozen=True, slots=True)
class Model:
    """`share` of the users that watch at a moment of a run of some length; how long that is unless one says."""

    share: Callable[[float, float], float]
    length_s: float
    is_live: bool = False

    def users_at(self, at_s: float, length_s: float, users: int) -> int | None:
        """How many of `users` watch `at_s` seconds after the beginning, one at least; None when it is over."""
        if at_s >= length_s:
            return None
        return min(users, max(1, math.ceil(users * self.share(at_s, length_s))))


MODELS: Final[Mapping[str, Model]] = {
    "ramp": Model(ramp, 120),
    "spike": Model(spike, 90),
    "soak": Model(soak, 600),
    "evening": Model(evening, 240),
    "final": Model(final, 300, is_live=True),
}
