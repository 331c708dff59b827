"""The bounds decoding is told, in the smallest piece of the settings."""

from typing import Final, Self

from msgspec import Struct

from config.settings import Settings

_DEFAULT = Settings()
_VALUES_AN_EVENT: Final = 128
"""On average; the vocabulary has 25, the rest is room for metadata and for unknown fields."""
_VALUES_MIN: Final = 65_536
"""Allowed to any request, however few its events."""


class Limits(Struct, frozen=True):
    """Bounds of one request and of its events' times."""

    events_max: int = _DEFAULT.http.events_max
    depth_max: int = _DEFAULT.http.depth_max
    """Nesting of arrays and objects; the outermost counts as one."""
    past_us: int = _DEFAULT.door.past_s * 1_000_000
    """The door limit: how far before received_at an event may have occurred, under a sane clock."""
    future_us: int = _DEFAULT.door.future_s * 1_000_000
    """How far after received_at."""

    @property
    def values_max(self) -> int:
        """Values of one request, known and unknown: bounds what parsing any body costs (about 20 MB, 50 ms)."""
        return max(_VALUES_MIN, _VALUES_AN_EVENT * self.events_max)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The bounds as set."""
        return cls(
            events_max=settings.http.events_max,
            depth_max=settings.http.depth_max,
            past_us=settings.door.past_s * 1_000_000,
            future_us=settings.door.future_s * 1_000_000,
        )
