"""The small spool of `tests/golden/spool-1`: what this release writes, given its identities, its clock and its rows."""

import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

from xxhash import xxh3_64_intdigest

from ingest.batch import (
    FLAG_CLOCK_BROKEN,
    KIND_PLAYBACK,
    KIND_SIGNAL,
    MONTH_UNSETTLED,
    FrameBody,
)
from ingest.spool.ending import ENDED, read_ending
from ingest.spool.incarnation import Incarnation
from ingest.spool.retention import bury
from ingest.tuple import Row, encode, month_of
from tests.incarnations import UnsyncedDisk, begun, commit

GOLDEN = Path(__file__).parent / "golden" / "spool-1"
ENDED_ONE = bytes.fromhex("e0de0000000000000000000000000001")
UNCLEAN = bytes.fromhex("0dead000000000000000000000000002")
BURIED = bytes.fromhex("b0000000000000000000000000000003")
NOVEMBER_US = 1_795_000_000_000_000
"""2026-11-18 11:06:40 UTC; the clock stands there."""
OCTOBER_US = NOVEMBER_US - 30 * 86_400 * 1_000_000
SEGMENT_SIZE_BYTES = 1_000
"""So that the ended one has several."""


def a_row(number: int, occurred_at_us: int = NOVEMBER_US, event_type: str = "play", **more: Any) -> bytes:
    """Row `number`, with nothing but what is required and `more`."""
    return encode(
        Row(
            event_id=UUID(int=0x60D0_0000 << 96 | number),
            content_id=UUID(int=0xC0 << 120),
            session_id=UUID(int=0x5E << 120),
            occurred_at_us=occurred_at_us,
            received_at_us=NOVEMBER_US,
            event_type=event_type,
            **more,
        )
    )


FULL: dict[str, Any] = {
    "test": True,
    "sent_at_us": NOVEMBER_US - 1,
    "sequence": 2**53 - 1,
    "position_s": 61,
    "duration_s": 5_400,
    "profile_id": UUID(int=0x9A << 120),
    "quality": "1080p",
    "bitrate_kbps": 4_500,
    "device_type": "tv",
    "platform": "tizen",
    "cdn_edge": "fra-03",
    "buffer_duration_ms": 240,
    "startup_ms": 810,
    "error_code": "MEDIA_ERR_DECODE",
    "player": "shaka 4.7",
    "app_version": "3.2.1",
    "country": "DE",
    "metadata": '{"campaign":"herbst ❄"}',
}


def a_body(*rows: bytes, month_us: int = NOVEMBER_US, kind: int = KIND_PLAYBACK, flags: int = 0) -> FrameBody:
    settled = kind == KIND_PLAYBACK and not flags
    month = month_of(month_us) if settled else MONTH_UNSETTLED
    return FrameBody.of(kind, flags, month, rows)


def make(data_dir: Path) -> None:
    """Write it below `data_dir`."""
    root, disk = data_dir / "spool", UnsyncedDisk()
    one = begun(root, ENDED_ONE, disk, SEGMENT_SIZE_BYTES)
    commit(one, [a_body(a_row(1), a_row(2, event_type="pause"))])
    one.note(3, 1, {0: 1, 13: 1})  # a duplicate, an invalid_json, an invalid_uuid
    commit(one, [a_body(a_row(3, **FULL)), a_body(a_row(4, OCTOBER_US), month_us=OCTOBER_US)])
    commit(one, [a_body(a_row(5, event_type="heartbeat"), kind=KIND_SIGNAL)])
    commit(one, [a_body(a_row(6, 3_600_000_000, sent_at_us=7_200_000_000), flags=FLAG_CLOCK_BROKEN)])
    one.end()

    unclean = begun(root, UNCLEAN, disk, SEGMENT_SIZE_BYTES)
    commit(unclean, [a_body(a_row(7)), a_body(a_row(8, OCTOBER_US), month_us=OCTOBER_US)])
    tear(unclean, a_body(a_row(9)))

    buried = begun(root, BURIED, disk, SEGMENT_SIZE_BYTES)
    commit(buried, [a_body(a_row(10))])
    buried.end()
    ending = read_ending(disk, buried.directory / ENDED)
    assert ending is not None
    bury(disk, buried.directory, ending)


def tear(incarnation: Incarnation, body: FrameBody) -> None:
    """Its process dies half-way through the write of a frame that was not acknowledged."""
    torn = incarnation.encode(body, received_at_us=1)[:150]
    incarnation.let_go()
    (segment,) = incarnation.directory.glob("*.open")
    with segment.open("ab") as file:
        file.write(torn)


def files(directory: Path) -> dict[str, bytes]:
    """Every file below it."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def a_copy(data_dir: Path) -> Path:
    """Of what is committed; its spool."""
    shutil.copytree(GOLDEN / "spool", data_dir / "spool")
    return data_dir / "spool"


def make_newer(root: Path, incarnation: str) -> None:
    """The first segment's header says version 2, and its checksum is true."""
    (path,) = (root / incarnation).glob("0000000000000000.*")
    data = bytearray(path.read_bytes())
    data[8:12] = (2).to_bytes(4, "little")
    header_bytes = int.from_bytes(data[12:16], "little")
    data[header_bytes - 8 : header_bytes] = xxh3_64_intdigest(bytes(data[: header_bytes - 8])).to_bytes(8, "little")
    path.write_bytes(data)
