"""The bounds decoding is told, in the smallest piece of the settings."""

from typing import Self

from msgspec import Struct

from config.settings import Settings

_DEFAULT = Settings()


class Limits(Struct, frozen=True):
    """Bounds of one request and of its events' times."""

    events_max: int = _DEFAULT.http.events_max
    depth_max: int = _DEFAULT.http.depth_max
    """Nesting of arrays and objects; the outermost counts as one."""
    past_us: int = _DEFAULT.door.past_s * 1_000_000
    """The door limit: how far before received_at an event may have occurred, under a sane clock."""
    future_us: int = _DEFAULT.door.future_s * 1_000_000
    """How far after received_at."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The bounds as set."""
        return cls(
            events_max=settings.http.events_max,
            depth_max=settings.http.depth_max,
            past_us=settings.door.past_s * 1_000_000,
            future_us=settings.door.future_s * 1_000_000,
        )
