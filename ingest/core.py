"""Which core works: Rust's, where it was built (native/), or its Python twin, the reference. Both make the same bytes.

Chosen once, when a process starts; the hot paths look at `chosen.rust` and go on in Python where it is None.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from config.settings import Core

try:
    import streamverse_ingest_native as _built
except ImportError:  # not built here: everything works without
    _built = None

INTERFACE: Final = 9
"""Of the functions below; a core that was built for another one is not used."""


class DoorLimits(Protocol):
    """What Rust's decoding is told once: made by `RustCore.Door`, and nothing to look into."""


class RustCore(Protocol):
    """What native/src/lib.rs offers, each with its twin named there and here."""

    Door: Callable[[int, int, int, int, bytes, int], DoorLimits]
    """past_us, future_us, events_max, values_max, owner, heartbeat (a class)."""

    def decode(
        self, door: DoorLimits, body: bytes, media_type: str, received_at_us: int, country: str | None, /
    ) -> tuple[int, int, list[tuple[int, int, int, int, int, int, bytes]]] | None:
        """ingest.decode.json: events, repeats, frame bodies; None for a body that the twin has to look at."""
        ...

    Framing: Callable[[int, int], Any]
    """ingest.spool.framing.Framing: seed, the most a frame can hold."""

    Committing: Callable[[], Any]
    """The write and fsync of ingest.spool.incarnation.Incarnation.commit, by a thread of its own."""

    def read_run(
        self, data: bytes, at: int, seed: int, sequence: int, until: int, size_bytes: int, /
    ) -> tuple[Any, tuple[Any, ...], int] | None:
        """ingest.spool.window.Window.runs, of what is whole in `data`: frames as an opaque object (`Run.packed`), the
        fields of their Outline, and where the next frame begins."""
        ...

    Signs: Callable[[int, int], Any]
    """storage.redis.sign.Gathering: now_us, memory_us."""

    Watching: Callable[[], Any]
    """storage.watch.Watching."""

    def quality_signs(
        self, run: Any, zero_bits: int, memory_us: int, /
    ) -> tuple[bytes, list[tuple[bytes, bytes, bytes, bytes]], int, int]:
        """storage.qoe.sign.read_frames, of a `Run.packed`: signs, places, how many were too old, until which frame."""
        ...

    CqlPlacing: Callable[[int, Any], Any]
    """storage.scylla.requests.Requests, by the run: the most bytes of a request, the statement for errors."""

    def staged_rows(self, verdicts: list[Any], /) -> tuple[int, bytes] | None:
        """storage.stage.frames.body_of: rows_hash and payload; None where it is left to it."""
        ...

    Generations: Callable[[int], Any]
    """storage.postgres.fingerprint.Generations."""


class CoreMissing(Exception):
    """core = "rust", and there is no Rust core that fits: build it (./gw install, with cargo), or set core = "auto"."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Chosen:
    """The choice of this process: Rust's core where it is there, until told otherwise."""

    def __init__(self, built: Any) -> None:
        self._built = cast(RustCore, built) if getattr(built, "INTERFACE", None) == INTERFACE else None
        self.rust: RustCore | None = self._built

    @property
    def name(self) -> str:
        """rust or python."""
        return "python" if self.rust is None else "rust"

    def choose(self, name: Core) -> None:
        """Raises CoreMissing."""
        if name == "rust" and self._built is None:
            raise CoreMissing
        self.rust = None if name == "python" else self._built


chosen: Final = Chosen(_built)
