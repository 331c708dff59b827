"""A spool of which every byte's place is known, copies with other bytes, and the verdict on what was read of them."""

from pathlib import Path

from ingest.batch import KIND_SIGNAL
from ingest.spool import frame, segment
from ingest.spool.frame import MASK, MonthTotals
from tests.incarnations import (
    IDENTITY,
    MIXED,
    Delivered,
    begun,
    commit,
    delivered,
    quarantined,
    segments,
)

SEED = frame.seed_of(IDENTITY.hex())


class Log:
    """A spool of MIXED bodies, and where in it everything lies."""

    def __init__(self, root: Path, segment_size_bytes: int) -> None:
        incarnation = begun(root / "spool", segment_size_bytes=segment_size_bytes)
        for body in MIXED:
            commit(incarnation, [body])
        incarnation.end()
        self.directory = incarnation.directory
        self.whole = delivered(self.directory)
        if not self.whole.frames[-1].sequence >= int(segments(self.directory)[-1].stem, 16):
            segments(self.directory)[-1].unlink()  # begun, and nothing came: nobody looks at it
        self.segments = {path.name: path.read_bytes() for path in segments(self.directory)}
        self.frames: dict[str, list[tuple[int, int, int, frame.Frame]]] = {}
        """Segment → (begin, end without padding, end, frame)."""
        self.heads: dict[str, int] = {}
        for name, data in self.segments.items():
            _, at = segment.decode(data)
            self.heads[name], self.frames[name] = at, []
            while at < len(data):
                found, after = frame.decode(data, at, SEED)
                length = int.from_bytes(data[at + 16 : at + 20], "little")
                self.frames[name].append((at, at + frame.HEAD_BYTES + length, after, found))
                at = after

    def damaged(self, root: Path, bytes_of: dict[str, bytes]) -> Path:
        """A copy of it with other bytes in these segments."""
        directory = root / "spool" / IDENTITY.hex()
        directory.mkdir(parents=True)
        told = {name: (self.directory / name).read_bytes() for name in ("ended", "watermark")}
        for name, data in (told | self.segments | bytes_of).items():
            (directory / name).write_bytes(data)
        return directory

    def check(self, got: Delivered, hit: dict[str, set[int]]) -> None:
        """Everything but the frames of which a byte in `hit` was changed was delivered, and these are told as lost."""
        gone = [
            found
            for name, frames in self.frames.items()
            for begin, end, _, found in frames
            if hit.get(name, set()) & set(range(begin, end))
        ]
        assert got.frames == [found for found in self.whole.frames if found not in gone]
        assert got.lost_rows == sum(found.count for found in gone if found.kind != KIND_SIGNAL)
        assert got.lost_signals == sum(found.count for found in gone if found.kind == KIND_SIGNAL)
        months: dict[int, MonthTotals] = {}
        for lost in got.lost:
            for month, totals in lost.months:
                before = months.get(month, MonthTotals())
                months[month] = MonthTotals(before.rows + totals.rows, (before.hash + totals.hash) & MASK)
        expected: dict[int, MonthTotals] = {}
        for found in gone:
            if found.kind != KIND_SIGNAL:
                before = expected.get(found.month, MonthTotals())
                expected[found.month] = MonthTotals(before.rows + found.count, (before.hash + found.rows_hash) & MASK)
        assert months == expected
        assert got.finished and got.state == self.whole.state


def overwrite(path: Path, data: bytes | bytearray) -> None:
    """In place: a file that is truncated and written is flushed by some file systems when it is closed."""
    with open(path, "r+b") as file:
        file.write(data)


def quarantined_ranges(directory: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Segment's stem → offsets and bytes."""
    result: dict[str, list[tuple[int, bytes]]] = {}
    for name, data in quarantined(directory).items():
        identity, stem, offset = name.split("-")
        assert identity == directory.name
        result.setdefault(stem, []).append((int(offset), data))
    return result
