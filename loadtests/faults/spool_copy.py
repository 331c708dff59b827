"""A log of any size out of a small one: its segments once more, under identities of their own. Pure but for `fill_up`.

Written from the specification of the log's format, version 1: every checksum of a frame is seeded with the first eight
bytes of its incarnation's identity, so a copy under another identity is hashed anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from struct import pack_into, unpack_from
from typing import Final

from xxhash import xxh3_64_intdigest

SEGMENT_MAGIC: Final = b"SVSEGMT1"
FRAME_MAGIC: Final = b"SVFRAME1"
HEADER_LENGTH_AT: Final = 12
IDENTITY: Final = slice(16, 32)
FRAME_HEAD_BYTES: Final = 128
PAYLOAD_LENGTH_AT: Final = 16
PAYLOAD_CHECKSUM_AT: Final = 112
HEAD_CHECKSUM_AT: Final = 120


def copied(segment: bytes, identity: bytes) -> bytearray:
    """A segment of another incarnation; bytes behind its last whole frame are left as they are. Raises ValueError."""
    data = bytearray(segment)
    view = memoryview(data)
    if data[:8] != SEGMENT_MAGIC:
        raise ValueError("no segment of version 1")
    (at,) = unpack_from("<I", data, HEADER_LENGTH_AT)
    data[IDENTITY] = identity
    pack_into("<Q", data, at - 8, xxh3_64_intdigest(view[: at - 8]))
    seed = int.from_bytes(identity[:8], "big")
    while at + FRAME_HEAD_BYTES <= len(data) and data[at : at + 8] == FRAME_MAGIC:
        (length_bytes,) = unpack_from("<I", data, at + PAYLOAD_LENGTH_AT)
        begin = at + FRAME_HEAD_BYTES
        if begin + length_bytes > len(data):
            break
        payload = view[begin : begin + length_bytes]
        pack_into("<Q", data, at + PAYLOAD_CHECKSUM_AT, xxh3_64_intdigest(payload, seed))
        pack_into("<Q", data, at + HEAD_CHECKSUM_AT, xxh3_64_intdigest(view[at : at + HEAD_CHECKSUM_AT], seed))
        at = begin + (length_bytes + 7) // 8 * 8
    return data


def fill_up(spool: Path, size_bytes: int, chance: Callable[[int], bytes] = os.urandom) -> int:
    """Copy the largest incarnation below `spool` that has ended, until all of them hold `size_bytes`; how many there
    are then. What is written is on disk and in no cache: whoever wants it has to read it."""
    originals = [path for path in spool.iterdir() if len(path.name) == 32]
    total_bytes, incarnations = sum(map(_size_bytes, originals)), len(originals)
    largest = max((path for path in originals if (path / "ended").exists()), key=_size_bytes)
    while total_bytes < size_bytes:
        identity = chance(16)
        copy = spool / identity.hex()
        copy.mkdir()
        for path in largest.iterdir():
            if path.suffix == ".sealed":
                _write(copy / path.name, copied(path.read_bytes(), identity))
            else:  # the lock, the watermark, and `ended`, which do not name their incarnation
                shutil.copyfile(path, copy / path.name)
        total_bytes += _size_bytes(copy)
        incarnations += 1
    return incarnations


def _size_bytes(incarnation: Path) -> int:
    return sum(path.stat().st_size for path in incarnation.iterdir())


def _write(path: Path, data: bytearray) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
