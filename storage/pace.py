"""How much one write to a store holds, by how long the store takes to answer. Pure.

Large writes cost a store less a row. One that takes long holds its locks long and is lost as a whole when it fails; one
that takes longer than the driver waits would fail the same way for ever.
"""

from typing import Final

ANSWER_S: Final = 1.0
"""A write that took longer makes the next ones smaller; one that took less than half of it, larger."""
SIZE_MIN_BYTES: Final = 64 * 1024
"""Some hundred rows: a store that takes long for these takes as long for one."""
BEGIN_MAX_BYTES: Final = 4 * 1024 * 1024
"""The first write, as nobody knows yet: a slow store may not take a stop's time for it, at each start again."""
SHRINK_MAX: Final = 4
"""A single slow answer says little: at most to a quarter at once."""


class Pace:
    """`size_bytes` is what the next write may hold: SIZE_MIN_BYTES to `size_max_bytes`, or that where it is smaller."""

    def __init__(self, size_max_bytes: int, answer_s: float = ANSWER_S) -> None:
        self._size_max_bytes = size_max_bytes
        self._answer_s = answer_s
        self._size_min_bytes = min(SIZE_MIN_BYTES, size_max_bytes)
        self.size_bytes = min(BEGIN_MAX_BYTES, size_max_bytes)

    def answered(self, written_bytes: int, took_s: float) -> None:
        """A write of so many bytes was done."""
        if took_s > self._answer_s:
            self._shrink(took_s)
        elif took_s < self._answer_s / 2 and written_bytes >= self.size_bytes // 2:
            self.size_bytes = min(2 * self.size_bytes, self._size_max_bytes)

    def failed(self, took_s: float) -> None:
        """A write was not done, or nobody knows. One that failed at once says nothing about its size."""
        if took_s > self._answer_s:
            self._shrink(took_s)

    def _shrink(self, took_s: float) -> None:
        smaller = self.size_bytes / min(took_s / self._answer_s, SHRINK_MAX)
        self.size_bytes = max(int(smaller), self._size_min_bytes)
