"""What a drain reads: every incarnation of the spool from the store's position on, fairly, in bounded bites."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

import structlog

from ingest.ad import AD_SCHEMAS
from ingest.batch import FLAGS, HEARTBEAT_FLAGS, KIND_AD, KIND_CMCD, KIND_PLAYBACK, KIND_SIGNAL
from ingest.cmcd import CMCD_SCHEMAS
from ingest.spool import segment
from ingest.spool.disk import Disk
from ingest.spool.ending import ENDED, TOMBSTONES, DamagedEnding, Ending, NewerEnding, read_ending
from ingest.spool.reader import Reader, SegmentsGone
from ingest.spool.recovery import incarnations
from ingest.spool.run import Run
from ingest.tuple import SCHEMAS
from storage.sink import SinkLost, Slice, StoreError

log: Any = structlog.get_logger()

KNOWN = frozenset((
    *product((KIND_PLAYBACK, KIND_SIGNAL), SCHEMAS, FLAGS),
    *product((KIND_AD,), AD_SCHEMAS, (0,)),
    *product((KIND_CMCD,), CMCD_SCHEMAS, HEARTBEAT_FLAGS),
))  # fmt: skip
"""Kind, schema and flags of the frames that this release understands."""

SHARE_MIN_BYTES = 64 * 1024
"""The least an incarnation may bring to a batch, however many there are."""

UNREADABLE_TRIES_MAX = 10
"""To read an incarnation, until it is said; some two seconds. It is tried for ever."""

STALLED_ROUNDS_MAX = 100
"""Rounds in which the watermark promises frames that cannot be read, until the reader is opened anew: two seconds."""


class SpoolRefused(StoreError):
    """The spool holds what this gateway cannot read; nothing is dropped, an engineer decides."""


class Lag(NamedTuple):
    """Acknowledged and not in the store."""

    frames: int
    size_bytes: int
    """Estimated: within a segment, frames count as equally long."""


class Feed:
    """Readers of all incarnations below DATA/spool, and `positions`, what the store holds: name → next sequence."""

    def __init__(self, data_dir: Path, disk: Disk) -> None:
        self._root = data_dir / "spool"
        self._quarantine = data_dir / "quarantine"
        self._disk = disk
        self._readers: dict[str, Reader] = {}
        self._finished: set[str] = set()
        self._buried: set[str] = set()
        self._damaged: set[str] = set()
        self._stalled: dict[str, int] = {}
        self._unreadable: dict[str, tuple[int, OSError]] = {}
        """Tries in a row, and what the disk said last."""
        self._turn = 0
        self.positions: dict[str, int] = {}
        self.is_seated = False
        """Whether the positions are the store's."""

    def expecting(self, positions: dict[str, int]) -> Self:
        """Measure the lag from there until the store says where it stands: what begins during an outage lacks no less
        than what ended in it. Whether it is so, and whether the spool can be read, is found out after `seat`.
        """
        self.positions = dict(positions)
        try:
            self.refresh()
        except (StoreError, OSError) as error:
            log.warning("lag_unknown", error=str(error))
        return self

    def seat(self, positions: dict[str, int]) -> None:
        """Forget every reader; begin again at the positions that the store says."""
        self.close()
        self.is_seated = True
        self.positions = dict(positions)
        self._finished.clear()
        self._buried.clear()

    def close(self) -> None:
        """Let go of every reader's files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._stalled.clear()
        self._unreadable.clear()

    @property
    def trouble(self) -> str:
        """What of the spool cannot be read, and has not been for a while; empty when all is well."""
        lasting = [(name, why) for name, (tries, why) in self._unreadable.items() if tries >= UNREADABLE_TRIES_MAX]
        return "; ".join(f"the spool's incarnation {name} cannot be read: {why}" for name, why in sorted(lasting))

    def refresh(self) -> None:
        """Open readers for incarnations that are new or could not be read, drop those read to their end.

        Raises SinkLost when the store is behind what the spool still holds, SpoolRefused, OSError.
        """
        for name in [name for name, reader in self._readers.items() if self._done(name, reader)]:
            self._readers.pop(name).close()
            self._finished.add(name)
        there = incarnations(self._disk, self._root)
        for name in self._readers.keys() - there:  # buried; whether it was delivered, its tombstone says
            self._readers.pop(name).close()
        for name in there:
            if name not in self._readers and name not in self._finished:
                try:
                    self._open(name)
                except OSError as error:
                    self._leave_out(name, error)
        for name in self._unreadable.keys() - (set(there) - self._finished):
            del self._unreadable[name]
        self._check_tombstones()  # last: an incarnation buried since it was listed has one by now

    def read(self, size_bytes: int) -> list[Slice]:
        """About `size_bytes` of what is new, of every incarnation a fair share; empty when there is nothing.

        One that the disk does not give is left out until the next `refresh`: the others have nothing to do with it.
        Raises SinkLost, SpoolRefused.
        """
        names = sorted(self._readers)
        if not names:
            return []
        self._turn = (self._turn + 1) % len(names)
        slices = []
        for rank, name in enumerate(names[self._turn :] + names[: self._turn]):
            share_bytes = max(size_bytes // (len(names) - rank), SHARE_MIN_BYTES)
            if size_bytes <= 0:
                break
            try:
                part = self._read(name, min(share_bytes, max(size_bytes, SHARE_MIN_BYTES)))
            except OSError as error:
                self._leave_out(name, error)
                continue
            if part is not None:
                slices.append(part)
                size_bytes -= part.size_bytes
        return slices

    def unread(self) -> dict[str, int]:
        """Incarnations of which more is on disk than was read → the next frame of each. Raises OSError."""
        return {
            name: reader.state.sequence
            for name, reader in self._readers.items()
            if not reader.finished and reader.durable() > reader.state.sequence
        }

    def delivered(self, slices: Sequence[Slice]) -> None:
        """The store has these, with their positions."""
        for one in slices:
            self.positions[one.incarnation] = one.state.sequence

    def lag(self) -> Lag:
        """What is on disk beyond the positions. Raises OSError."""
        frames = size_bytes = 0
        for name, reader in self._readers.items():
            position, durable = self.positions.get(name, 0), reader.durable()
            if durable > position:
                frames += durable - position
                size_bytes += self._bytes_between(reader.directory, position, durable)
        return Lag(frames, size_bytes)

    def _done(self, name: str, reader: Reader) -> bool:
        return reader.finished and self.positions.get(name, 0) >= reader.state.sequence

    def _open(self, name: str) -> None:
        directory, position = self._root / name, self.positions.get(name, 0)
        ending = self._ending(directory / ENDED)
        if ending is not None and position >= ending.sequence:
            self._finished.add(name)
            return
        try:
            self._readers[name] = Reader(directory, self._disk, self._quarantine, position)
        except SegmentsGone as gone:
            if name in self._disk.list(self._root):
                raise SinkLost(f"{name}: the store is at {position}, the spool begins at {gone.first}.") from gone
        except (segment.UnknownVersion, DamagedEnding) as error:
            raise SpoolRefused(f"{name}: {error}") from error

    def _ending(self, path: Path) -> Ending | None:
        """None: there is none. Raises SpoolRefused when its bytes are damaged: recovery, or an engineer, mends it."""
        try:
            return read_ending(self._disk, path)
        except DamagedEnding as error:
            raise SpoolRefused(f"{path.name}: {error}") from error

    def _check_tombstones(self) -> None:
        graves = self._root / TOMBSTONES
        for name in self._disk.list(graves):
            if len(name) != 32 or name in self._buried:
                continue
            position = self.positions.get(name, 0)
            try:
                ending = read_ending(self._disk, graves / name)
            except DamagedEnding as error:
                if not position or isinstance(error, NewerEnding):  # nothing says that any of it was delivered
                    raise SpoolRefused(f"{name}: {error}") from error
                self._pass_over(name, error)
                continue
            if ending is not None and position < ending.sequence:
                raise SinkLost(
                    f"{name}: the store is at {position}, it was removed from the spool at {ending.sequence}."
                )
            self._buried.add(name)

    def _pass_over(self, name: str, error: DamagedEnding) -> None:
        """A damaged tombstone; that the store knows the incarnation has to do."""
        self._buried.add(name)
        if name not in self._damaged:
            self._damaged.add(name)
            log.error("tombstone_damaged", incarnation=name, sequence=self.positions[name], error=str(error))

    def _read(self, name: str, size_bytes: int) -> Slice | None:
        reader, begin = self._readers[name], self.positions.get(name, 0)
        try:
            runs, state, lost = reader.read(size_bytes)
        except (segment.UnknownVersion, DamagedEnding) as error:
            raise SpoolRefused(f"{name}: {error}") from error
        for run in runs:
            if not KNOWN.issuperset(run.outline.forms):
                self._refuse(name, run)
        self._unreadable.pop(name, None)
        if state.sequence > begin or lost:  # its way to `begin` may have led through damage and beyond
            self._stalled.pop(name, None)
            return Slice(name, begin, runs, state, lost)
        if not reader.finished and reader.durable() > begin:
            self._stall(name)
        return None

    def _leave_out(self, name: str, error: OSError) -> None:
        """Opened anew at the store's position when it is its turn again."""
        tries, _ = self._unreadable.get(name, (0, error))
        self._unreadable[name] = tries + 1, error
        if not tries and self.is_seated:
            log.error("incarnation_unreadable", incarnation=name, error=str(error))
        self._stalled.pop(name, None)
        reader = self._readers.pop(name, None)
        if reader is not None:
            reader.close()

    def _refuse(self, name: str, run: Run) -> NoReturn:
        one = next(one for one in run.frames if (one.kind, one.schema, one.flags) not in KNOWN)
        raise SpoolRefused(
            f"{name}: frame {one.sequence} is of kind {one.kind}, schema {one.schema}, flags {one.flags}: "
            "written by a newer gateway, it stays in the spool."
        )

    def _stall(self, name: str) -> None:
        """The watermark is ahead and nothing comes: perhaps the segment was removed under a reader that was cut
        loose."""
        rounds = self._stalled[name] = self._stalled.get(name, 0) + 1
        if rounds >= STALLED_ROUNDS_MAX:
            log.error("reader_stalled", incarnation=name, sequence=self.positions.get(name, 0))
            del self._stalled[name]
            self._readers.pop(name).close()
            self._open(name)

    def _bytes_between(self, directory: Path, position: int, durable: int) -> int:
        sizes = {}
        for file in self._disk.list(directory):
            base = segment.base_of(file)
            if base is not None:
                try:
                    sizes[base] = self._disk.size(directory / file)
                except FileNotFoundError:  # sealed or removed since it was listed
                    continue
        total = 0.0
        bases = sorted(sizes)
        if not bases:  # removed under a reader that was cut loose, or buried since it was opened
            return 0
        for base, until in zip(bases, [*bases[1:], max(durable, 1)], strict=True):
            if until > max(position, base):
                total += sizes[base] * (until - max(position, base)) / (until - base)
        return int(total)
