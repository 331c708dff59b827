"""Events whose resends have to be looked up: known one by one up to a number, those beyond it by a filter, which takes
no more room and sends some others to be looked up, too. Which ones, nobody can know: its hash is seeded by chance.
"""

import secrets
from typing import Final

from xxhash import xxh3_128_intdigest

FILTER_BITS: Final = 27
"""16 MiB. Of ten million events in it, half a percent of all others are looked up; of thirty million, twelve."""
PLACES: Final = 4
_MASK: Final = (1 << FILTER_BITS) - 1

assert PLACES * FILTER_BITS <= 128


class Watched:
    """event_ids, 16 bytes each."""

    def __init__(self, most: int) -> None:
        """`most`: known one by one, some 100 bytes each."""
        self._most = most
        self._exact: set[bytes] = set()
        self._filter = bytearray()
        self._seed = secrets.randbits(64)

    def __bool__(self) -> bool:
        return bool(self._exact or self._filter)

    @property
    def is_exact(self) -> bool:
        """Whether all are known one by one."""
        return not self._filter

    def __contains__(self, event_id: bytes) -> bool:
        if event_id in self._exact:
            return True
        found = self._filter
        return bool(found) and all(found[place >> 3] >> (place & 7) & 1 for place in self._places(event_id))

    def add(self, event_id: bytes) -> None:
        """From now on it is among them."""
        if len(self._exact) < self._most:
            self._exact.add(event_id)
            return
        if not self._filter:
            self._filter = bytearray(1 << FILTER_BITS - 3)
        for place in self._places(event_id):
            self._filter[place >> 3] |= 1 << (place & 7)

    def _places(self, event_id: bytes) -> list[int]:
        hashed = xxh3_128_intdigest(event_id, self._seed)
        return [hashed >> FILTER_BITS * number & _MASK for number in range(PLACES)]
