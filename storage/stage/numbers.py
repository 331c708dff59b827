"""Which sequence numbers of a player's run were there: the highest, and what is missing below it. Pure.

A number that is not missing was seen, so its line is a resend. Of many holes the oldest is given up: its numbers count
as seen, so a line that comes for one of them after all, behind that many others that are missing, is taken for a
resend. The other way, holes taken together, would have numbers count as missing that were there: their lines, sent
again, would be judged by themselves, and a sign that it goes on would become a play that never was.

A player may begin to count anew within a session (hls.js with every source, shaka with every change of settings). Its
run is told by a number that was there already, with a time later than all of the run before: a resend has the time of
its original. A line is of the last run that had begun at its time.
"""

from typing import Final

from msgspec import Struct

GAPS_MAX: Final = 32
RUNS_MAX: Final = 8
"""Remembered, of a stream; older lines are taken for lines of the first one that is."""


class Run(Struct, array_like=True, gc=False):
    """Times in microseconds since 1970 UTC, by the player's clock."""

    begun_us: int = 0
    latest_us: int = 0
    """Of its lines."""
    highest: int = -1
    gaps: list[tuple[int, int]] = []
    """Missing numbers, first and last of each hole, ascending."""

    def has(self, number: int) -> bool:
        """Whether it was seen."""
        return number <= self.highest and not any(first <= number <= last for first, last in self.gaps)

    def pass_to(self, number: int) -> None:
        """`number`, above the highest, is the highest now."""
        assert number > self.highest
        if number > self.highest + 1:
            self.gaps.append((self.highest + 1, number - 1))
            self._limit()
        self.highest = number

    def find(self, number: int) -> bool:
        """Whether `number` was missing; now it is not."""
        for at, (first, last) in enumerate(self.gaps):
            if first <= number <= last:
                rest = ((first, number - 1), (number + 1, last))
                self.gaps[at : at + 1] = [hole for hole in rest if hole[0] <= hole[1]]
                self._limit()
                return True
        return False

    def _limit(self) -> None:
        if len(self.gaps) > GAPS_MAX:
            del self.gaps[0]
