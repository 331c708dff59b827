"""A bounded memory of what was computed before: the dict of the hot path."""

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memo(dict[Key, Value], Generic[Key, Value]):
    """A dict that makes what it misses and, once full, forgets all but what it was given at first.

    `make` raises for a key that has no value, and nothing is remembered. Equal keys must have equal values: 1, 1.0 and
    True are one key.
    """

    __slots__ = ("_entries_max", "_kept", "_make")

    def __init__(self, make: Callable[[Key], Value], entries_max: int, kept: Mapping[Key, Value] | None = None) -> None:
        super().__init__(kept or {})
        self._make = make
        self._entries_max = entries_max
        self._kept = dict(self)
        assert len(self._kept) < entries_max

    def __missing__(self, key: Key) -> Value:
        value = self._make(key)
        if len(self) >= self._entries_max:
            self.clear()
            self.update(self._kept)
        self[key] = value
        return value
