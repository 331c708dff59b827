"""Sums of a minute, by the values of each dimension, and of a window of minutes. Pure.

Everything is added with a weight: how many sessions the one that is followed stands for. Times are microseconds since
1970 UTC, minutes are whole ones since then.
"""

from array import array
from bisect import bisect_left
from typing import Final

from msgspec import Struct

MINUTE_US: Final = 60_000_000
KEPT_MIN: Final = 65
"""Minutes that are kept: an hour, and what a reader may be behind."""
VALUES_MAX: Final = 500
"""Values of a dimension in a minute that have sums of their own; the others share those of OTHER."""

DIMENSIONS: Final = ("content_id", "platform", "cdn_edge", "country")
TOTAL: Final = len(DIMENSIONS)
"""The number of the dimension that has one value."""
OTHER: Final = b"\xffother"
"""No text's bytes."""
NOT_TOLD: Final = b""

Place = tuple[bytes, bytes, bytes, bytes]
"""A session's values of DIMENSIONS: 16 bytes, texts; NOT_TOLD where it did not say."""
NOWHERE: Final[Place] = (NOT_TOLD, NOT_TOLD, NOT_TOLD, NOT_TOLD)

STARTUP_LE_MS: Final = (100, 250, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 10_000, 20_000)
"""Upper bounds of the histogram of start-up times; one more is without bound."""

STARTS: Final = 0
STALLS: Final = 1
STALLED_US: Final = 2
WATCHED_US: Final = 3
FAILURES: Final = 4
EXITS: Final = 5
RATED_US: Final = 6
"""Media time with a known bitrate …"""
RATED: Final = 7
"""… and kbps × ms of it."""
EXPECTED: Final = 8
RECEIVED: Final = 9
"""Sequence numbers."""
STEADY: Final = 10
"""Sessions that were there in the minute before, too …"""
FRESH: Final = 11
"""… and those that were in none that is kept."""
STARTUPS: Final = 12
SLOTS: Final = STARTUPS + len(STARTUP_LE_MS) + 1

ZEROS: Final = bytes(8 * SLOTS)


class Figures:
    """Sums of one value of a dimension."""

    __slots__ = ("returned", "sums")

    def __init__(self, sums: bytes = ZEROS, returned: dict[int, int] | None = None) -> None:
        self.sums = array("q", sums)
        self.returned = returned or {}
        """Sessions that were there so many minutes before, and not between."""

    def met(self, gap_min: int, weight: int) -> None:
        """A session for the first time in this minute, so many minutes after it was there last."""
        if gap_min == 1:
            self.sums[STEADY] += weight
        elif gap_min > KEPT_MIN:
            self.sums[FRESH] += weight
        else:
            self.returned[gap_min] = self.returned.get(gap_min, 0) + weight

    def sessions(self, minutes_before: int) -> int:
        """Sessions that were in none of so many minutes before this one."""
        known = sum(many for gap_min, many in self.returned.items() if gap_min > minutes_before)
        return self.sums[FRESH] + known + (self.sums[STEADY] if minutes_before == 0 else 0)


Groups = tuple[Figures, Figures, Figures, Figures, Figures]
Values = dict[bytes, Figures]


class Minutes:
    """Sums by minute, dimension and value. `weight` is that of what is added next."""

    def __init__(self) -> None:
        self.weight = 1
        self.known: dict[int, tuple[Values, ...]] = {}
        self._groups: dict[tuple[int, Place], Groups] = {}

    def groups(self, minute: int, place: Place) -> Groups:
        """The sums that a session at `place` adds to."""
        found = self._groups.get((minute, place))
        return self._found(minute, place) if found is None else found

    def add(self, at_us: int, place: Place, slot: int, amount: int = 1) -> None:
        """To all dimensions."""
        amount *= self.weight
        for figures in self.groups(at_us // MINUTE_US, place):
            figures.sums[slot] += amount

    def add_arrival(self, at_us: int, place: Place, expected: int) -> None:
        """Of one sequence number, of so many that were due."""
        weight = self.weight
        for figures in self.groups(at_us // MINUTE_US, place):
            figures.sums[EXPECTED] += expected * weight
            figures.sums[RECEIVED] += weight

    def add_startup(self, at_us: int, place: Place, startup_ms: int) -> None:
        """To the histogram."""
        self.add(at_us, place, STARTUPS + bisect_left(STARTUP_LE_MS, startup_ms))

    def add_span(self, from_us: int, until_us: int, place: Place, stalled: bool, playing: bool, kbps: int) -> None:
        """Watched time, cut at the minutes. `kbps`: below 0 when it is not known."""
        weight = self.weight
        while from_us < until_us:
            minute = from_us // MINUTE_US
            end_us = min(until_us, (minute + 1) * MINUTE_US)
            span_us = (end_us - from_us) * weight
            for figures in self.groups(minute, place):
                sums = figures.sums
                sums[WATCHED_US] += span_us
                if stalled:
                    sums[STALLED_US] += span_us
                elif playing and kbps >= 0:
                    sums[RATED_US] += span_us
                    sums[RATED] += span_us * kbps // 1_000
            from_us = end_us

    def forget(self, now_us: int) -> None:
        """What is older than KEPT_MIN."""
        oldest = now_us // MINUTE_US - KEPT_MIN
        if old := [minute for minute in self.known if minute < oldest]:
            for minute in old:
                del self.known[minute]
            self._groups.clear()

    def forget_from(self, time_us: int) -> None:
        """What is of that time or later."""
        self.known = {minute: values for minute, values in self.known.items() if minute < time_us // MINUTE_US}
        self._groups.clear()

    def window(self, first: int, last: int, dimension: int) -> dict[bytes, tuple[list[int], int]]:
        """Value → sums, and sessions, of minutes from `first` to `last`."""
        result: dict[bytes, tuple[list[int], int]] = {}
        for minute in range(first, last + 1):
            if (values := self.known.get(minute)) is None:
                continue
            for value, figures in values[dimension].items():
                sums, sessions = result.get(value) or ([0] * SLOTS, 0)
                for slot, amount in enumerate(figures.sums):
                    if amount:
                        sums[slot] += amount
                result[value] = sums, sessions + figures.sessions(minute - first)
        return result

    def _found(self, minute: int, place: Place) -> Groups:
        values = self.known.get(minute)
        if values is None:
            values = self.known[minute] = tuple({} for _ in range(TOTAL + 1))
        found = tuple(_of(values[number], value) for number, value in enumerate((*place, NOT_TOLD)))
        groups: Groups = found  # type: ignore[assignment]
        if len(self._groups) > 20 * VALUES_MAX:
            self._groups.clear()
        self._groups[minute, place] = groups
        return groups


def _of(values: Values, value: bytes) -> Figures:
    found = values.get(value)
    if found is None:
        if len(values) >= VALUES_MAX:
            value = OTHER
        found = values.setdefault(value, Figures())
    return found


class KeptMinute(Struct, array_like=True):
    """A minute as it is kept."""

    minute: int
    values: list[dict[bytes, tuple[bytes, dict[int, int]]]]


def kept(minute: int, values: tuple[Values, ...]) -> KeptMinute:
    """To be encoded."""
    told = [{value: (one.sums.tobytes(), one.returned) for value, one in some.items()} for some in values]
    return KeptMinute(minute, told)


def restored(one: KeptMinute) -> tuple[Values, ...]:
    """The inverse of `kept`. Raises ValueError for what this release did not write."""
    if len(one.values) != TOTAL + 1:
        raise ValueError("other dimensions")
    return tuple({value: _restored(*told) for value, told in some.items()} for some in one.values)


def _restored(sums: bytes, returned: dict[int, int]) -> Figures:
    if len(sums) != len(ZEROS):
        raise ValueError("other figures")
    return Figures(sums, returned)
