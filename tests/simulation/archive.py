"""A third reader, in step with nobody: it keeps every frame it was given, to compare what others made of them."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from ingest.batch import KIND_PLAYBACK
from ingest.spool.disk import Disk
from storage.feed import Feed, SpoolRefused
from storage.sink import Slice
from tests.simulation.damage import Damage
from tests.simulation.disk import Stop
from tests.simulation.places import DATA


class Filed(NamedTuple):
    """A frame."""

    sequence: int
    is_rows: bool
    tuples: list[bytes]


class Archive:
    """Frames and positions move together. It outlives every crash; `open` is its process's start."""

    def __init__(self, chance: Random, damage: Damage) -> None:
        self.frames: dict[str, list[Filed]] = {}
        self.positions: dict[str, int] = {}
        self._chance = chance
        self._damage = damage
        self._feed: Feed | None = None
        self._at_work = False

    def open(self, disk: Disk) -> None:
        self._feed = Feed(DATA, disk)
        self._feed.seat(self.positions)

    def close(self) -> None:
        if self._feed is not None:
            self._feed.close()
        self._feed = None

    def step(self, size_bytes: int | None = None) -> bool:
        """Read something, unless it is in the middle of it; whether anything came."""
        feed = self._feed
        if self._at_work or feed is None:
            return False
        self._at_work = True
        try:
            if size_bytes or self._chance.random() < 0.5:
                feed.refresh()
            slices = feed.read(size_bytes or self._chance.choice([1, 400, 10_000]))
            for one in slices:
                self._file(one)
            feed.delivered(slices)
        except (OSError, SpoolRefused):
            feed.seat(self.positions)
            return True
        except Stop:  # its process died: what it had read ahead is gone with it
            self._feed = None
            raise
        finally:
            self._at_work = False
        return bool(slices)

    def _file(self, one: Slice) -> None:
        at = self.positions.get(one.incarnation, 0)
        where = f"{one.incarnation} from {at}"
        assert one.begin == at
        filed = self.frames.setdefault(one.incarnation, [])
        # what damage without a head took, or damage that begins before the position, nobody can tell
        told = one.lost or one.incarnation in self._damage.incarnations
        for frame in one.frames:
            assert frame.sequence == at or (frame.sequence > at and told), f"{where}: {frame.sequence} after {at}"
            filed.append(Filed(frame.sequence, frame.kind == KIND_PLAYBACK, frame.tuples()))
            at = frame.sequence + 1
        assert one.state.sequence == at or (one.state.sequence > at and told), (
            f"{where}: {one.state.sequence} behind {at}"
        )
        self.positions[one.incarnation] = one.state.sequence

    def rows(self) -> int:
        """Delivered, of all incarnations."""
        return sum(len(filed.tuples) for frames in self.frames.values() for filed in frames if filed.is_rows)

    def signals(self) -> int:
        return sum(len(filed.tuples) for frames in self.frames.values() for filed in frames if not filed.is_rows)


def tuples_below(frames: Sequence[Filed], sequence: int) -> list[bytes]:
    """Of the frames of rows before `sequence`."""
    return [row for filed in frames if filed.is_rows and filed.sequence < sequence for row in filed.tuples]
