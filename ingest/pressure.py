"""Whether the spool has room, and when it will have again: looked at once a second. Pure."""

from collections import deque
from typing import Final

from config.limits import RETRY_AFTER_MAX_S, RETRY_AFTER_MIN_S

WINDOW_S: Final = 30.0
"""Over which the pace of emptying is measured: segments go in steps, some seconds apart."""


class Pressure:
    """What the last looks at the spool say."""

    def __init__(self) -> None:
        self.full = False
        self._seen: deque[tuple[float, int]] = deque()
        """Since it is full: while the door is shut nothing is added, so the pace is the stores' alone."""

    def look(self, at_s: float, excess_bytes: int) -> bool:
        """Whether the spool is full now. `at_s`: monotonic; `excess_bytes`: at or beyond the high mark, or lacking of
        the disk's reserve, whichever is more; negative: so much room.
        """
        self.full = excess_bytes >= 0
        if not self.full:
            self._seen.clear()
            return False
        self._seen.append((at_s, excess_bytes))
        while self._seen[0][0] < at_s - WINDOW_S:
            self._seen.popleft()
        return True

    @property
    def room_in_s(self) -> float:
        """Until there is room at the present pace, within the bounds of Retry-After; the upper one where nothing
        moves, or not enough is known.
        """
        if not self._seen:
            return RETRY_AFTER_MIN_S
        (first_s, before_bytes), (last_s, after_bytes) = self._seen[0], self._seen[-1]
        if (freed_bytes := before_bytes - after_bytes) <= 0:
            return RETRY_AFTER_MAX_S
        wait_s = (after_bytes + 1) * (last_s - first_s) / freed_bytes
        return min(max(wait_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)
