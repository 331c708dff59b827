"""Fold and positions as one file, DATA/qoe/state: together they are what was read, whole, or not at all.

magic 8 | xxh3_64 of the rest, u64 | msgpack of Kept
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct
from xxhash import xxh3_64_intdigest

from ingest.spool.disk import Disk, found_there, write_whole
from storage.qoe import figures
from storage.qoe.figures import MINUTE_US, KeptMinute
from storage.qoe.fold import MEMORY_US, Fold
from storage.qoe.session import Session

MAGIC: Final = b"SVQOE001"
"""Of the layout of what is kept; of another one there is no file."""
SETTLED_MIN: Final = MEMORY_US // MINUTE_US + 2
"""A minute so old does not change any more."""


class Kept(Struct, array_like=True):
    """Everything."""

    positions: dict[str, int]
    sessions: dict[bytes, Session]
    minutes: list[Raw]
    zero_bits: int
    clock_us: int
    since_us: int
    late: int


class Damaged(Exception):
    """The file is none of ours, or not whole."""


class StateFile:
    """The file; what it encoded of minutes that are settled it need not encode again."""

    def __init__(self, data_dir: Path, disk: Disk) -> None:
        self._path = data_dir / "qoe" / "state"
        self._disk = disk
        self._encoder = msgspec.msgpack.Encoder()
        self._settled: dict[int, Raw] = {}

    def encoded(self, fold: Fold, positions: dict[str, int]) -> bytes:
        """The content of the file."""
        settled_before = fold.clock_us // MINUTE_US - SETTLED_MIN
        minutes, settled = [], {}
        for minute, values in fold.minutes.known.items():
            raw = self._settled.get(minute) or Raw(self._encoder.encode(figures.kept(minute, values)))
            if minute < settled_before:
                settled[minute] = raw
            minutes.append(raw)
        self._settled = settled
        kept = Kept(
            positions, fold.sessions, minutes, fold.zero_bits, fold.clock_us, fold.since_us, fold.late
        )  # fmt: skip
        data = self._encoder.encode(kept)
        return MAGIC + xxh3_64_intdigest(data).to_bytes(8, "little") + data

    def write(self, data: bytes) -> None:
        """Durably, in the place of the one before. Raises OSError."""
        self._disk.make_directory(self._path.parent)
        write_whole(self._disk, self._path, data)

    def read_into(self, fold: Fold) -> dict[str, int] | None:
        """Fill an empty fold; the positions. None: there is no file. Raises Damaged, OSError."""
        try:
            data = self._disk.read(self._path, 0, self._disk.size(self._path))
        except FileNotFoundError:
            return None
        found_there(self._disk, self._path)
        if data[:8] != MAGIC or data[8:16] != xxh3_64_intdigest(data[16:]).to_bytes(8, "little"):
            raise Damaged
        try:
            kept = msgspec.msgpack.decode(data[16:], type=Kept)
            minutes = [msgspec.msgpack.decode(raw, type=KeptMinute) for raw in kept.minutes]
            fold.minutes.known = {one.minute: figures.restored(one) for one in minutes}
        except (msgspec.DecodeError, ValueError) as error:
            raise Damaged from error
        fold.sessions, fold.zero_bits, fold.late = kept.sessions, kept.zero_bits, kept.late
        fold.clock_us, fold.since_us = kept.clock_us, kept.since_us
        fold.wait_again()
        return kept.positions
