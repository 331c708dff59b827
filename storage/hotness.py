"""Views of every content in 24 hours, 7 and 30 days, from hourly counts that are read a part at a time. Pure.

A window is of whole hours in UTC, the last of them the running one, as update_content_hotness() has it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

WINDOWS_HOURS: Final = (24, 7 * 24, 30 * 24)
ENTRIES_MAX: Final = 200_000
"""Read a turn, in about: of a small catalogue every hour, of a large one the older hours in turns (late plays move
views there, days after)."""


class Views(NamedTuple):
    """Of one content, in WINDOWS_HOURS."""

    of_24h: int
    of_7d: int
    of_30d: int


class HourlyViews:
    """What was read so far. `hour` is always whole hours since 1970 UTC."""

    def __init__(self) -> None:
        self._hours: dict[int, Mapping[str, int]] = {}
        self._next = 0
        """Where the turn among the older hours stands: hours back from the running one."""

    def due(self, hour: int) -> list[int]:
        """What to read now: hours never read, the running one and the one before, and some of the others in turns."""
        window = range(hour - WINDOWS_HOURS[-1] + 1, hour + 1)
        self._hours = {at: self._hours[at] for at in window if at in self._hours}
        wanted = [at for at in window if at not in self._hours or at >= hour - 1]
        entries = sum(len(self._hours.get(at, ())) for at in wanted)
        turn = set(wanted)
        for _ in range(len(window)):
            at = hour - self._next % len(window)
            if at not in turn:
                entries += len(self._hours[at])
                if entries > ENTRIES_MAX:
                    break
                turn.add(at)
            self._next += 1
        return sorted(turn)

    def take(self, read: Mapping[int, Mapping[str, int]]) -> None:
        """Hour → content → views, as Redis has them now."""
        self._hours.update(read)

    def forget(self) -> None:
        """The counters were begun anew."""
        self._hours.clear()

    def views(self, hour: int) -> dict[str, Views]:
        """Content → its views in the windows that end with `hour`; contents without any are left out."""
        sums: dict[str, list[int]] = {}
        for at, contents in self._hours.items():
            for content, views in contents.items():
                of = sums.setdefault(content, [0, 0, 0])
                for number, hours in enumerate(WINDOWS_HOURS):
                    if hour - hours < at <= hour:
                        of[number] += views
        return {content: Views(*of) for content, of in sums.items() if of[2]}


def difference(ours: Mapping[str, int], others: Mapping[str, int]) -> float:
    """By how much two counts of the same differ: what one alone counts, as a share of all (0 to 2)."""
    apart = sum(abs(ours.get(content, 0) - others.get(content, 0)) for content in ours.keys() | others.keys())
    return apart / max(sum(ours.values()), sum(others.values()), 1)
