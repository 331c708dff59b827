"""A spool that version 1 wrote is read to the byte; one that a newer gateway wrote is refused by name, and kept."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from gateway import spool_commands
from gateway.layout import DataDir
from ingest import tuple as copy_tuple
from ingest.clock import SystemClock
from ingest.spool import frame
from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED, TOMBSTONES, NewerEnding, read_ending
from ingest.spool.frame import MonthTotals, Totals
from ingest.spool.recovery import incarnations, recover
from ingest.spool.retention import sealed_segments
from storage import drain, reader_status
from storage.feed import Feed, SpoolRefused
from storage.memory import MemorySink, MemoryStore
from tests.golden_spool import BURIED, ENDED_ONE, GOLDEN, UNCLEAN, a_copy, files, make, make_newer
from tests.incarnations import StillClock, delivered, quarantined
from tests.spooled import Collector

ONE, TORN, GONE = ENDED_ONE.hex(), UNCLEAN.hex(), BURIED.hex()
OCTOBER, NOVEMBER = 2026 * 12 + 9, 2026 * 12 + 10
IDS = [f"60d00000-0000-0000-0000-{number:012}" for number in range(11)]
PATIENCE_S = 10.0


def test_this_release_writes_the_very_same_bytes(tmp_path: Path) -> None:
    make(tmp_path)
    assert files(tmp_path) == files(GOLDEN), "the format has changed: give it another version, keep this directory"


def test_recovery_ends_the_unclean_one_at_its_last_whole_frame_and_leaves_the_others(tmp_path: Path) -> None:
    root = a_copy(tmp_path)
    before = files(root / ONE)
    assert recover(FileDisk(), root, StillClock()) == []
    assert files(root / ONE) == before
    ending = read_ending(FileDisk(), root / TORN / ENDED)
    assert ending is not None
    assert (ending.sequence, ending.totals) == (2, Totals(received=2, rows=2))
    assert ending.months == {
        NOVEMBER: MonthTotals(1, 9_062_194_205_065_406_293),
        OCTOBER: MonthTotals(1, 18_143_888_065_752_970_216),
    }
    (segment,) = (root / TORN).glob("*.sealed")
    whole = (GOLDEN / "spool" / TORN / segment.with_suffix(".open").name).read_bytes()
    assert segment.read_bytes() == whole[:-150]


def test_the_reader_delivers_its_rows_values_and_totals(tmp_path: Path) -> None:
    root = a_copy(tmp_path)
    got = delivered(root / ONE)
    assert got.finished and got.lost == [] and quarantined(root / ONE) == {}
    assert [(f.sequence, f.kind, f.flags, f.schema, f.count, f.month) for f in got.frames] == [
        (0, 1, 0, 1, 2, NOVEMBER),
        (1, 1, 0, 1, 1, NOVEMBER),
        (2, 1, 0, 1, 1, OCTOBER),
        (3, 3, 0, 1, 1, 0),
        (4, 1, 1, 1, 1, 0),
    ]
    rows = [copy_tuple.decode(row) for row in got.tuples]
    assert [str(row.event_id) for row in rows] == IDS[1:7]
    assert [row.event_type for row in rows] == ["play", "pause", "play", "play", "heartbeat", "play"]
    assert rows[2][5:] == (
        *("play", True, 1_794_999_999_999_999, 9_007_199_254_740_991, 61, 5_400),
        rows[2].profile_id,
        *("1080p", 4_500, "tv", "tizen", "fra-03", 240, 810, "MEDIA_ERR_DECODE", "shaka 4.7", "3.2.1", "DE"),
        '{"campaign":"herbst ❄"}',
    )
    assert str(rows[2].profile_id) == "9a000000-0000-0000-0000-000000000000"
    assert rows[5].occurred_at_us == 3_600_000_000
    assert got.state.totals == Totals(received=9, rows=5, signals=1, duplicates=1, rejected=2)
    assert {code: count for code, count in enumerate(got.state.rejected_by_code) if count} == {0: 1, 13: 1}
    assert got.state.months == {
        0: MonthTotals(1, 9_185_960_041_028_721_725),
        OCTOBER: MonthTotals(1, 5_968_361_412_827_503_501),
        NOVEMBER: MonthTotals(3, 14_688_843_631_804_422_970),
    }


def test_the_drain_delivers_it_once_and_every_position_is_at_its_end(tmp_path: Path) -> None:
    recover(FileDisk(), a_copy(tmp_path), StillClock())
    store = MemoryStore()
    store.positions[GONE] = 1
    asyncio.run(drained(tmp_path, store, lambda: store.positions == {ONE: 5, TORN: 2, GONE: 1}))
    assert sorted(str(copy_tuple.decode(row).event_id) for row in store.rows.values()) == [
        *(IDS[number] for number in (1, 2, 3, 4, 6, 7, 8)),
    ]
    assert store.duplicates == 0


def test_the_commands_read_it(tmp_path: Path) -> None:
    a_copy(tmp_path)
    data, said = DataDir(tmp_path), list[str]()
    assert spool_commands.verify(data, said.append), said
    assert said == ["7 frames whole, 0 places damaged"]
    assert spool_commands.schema_ids(data) == {1}
    said.clear()
    spool_commands.dump(data, said.append, "", None)
    assert [event["event_id"] for line in said for event in json.loads(line)["events"]] == [*IDS[7:9], *IDS[1:7]]
    said.clear()
    spool_commands.status(data, said.append)
    states = {line["incarnation"]: line["state"] for line in map(json.loads, said)}
    assert states == {ONE: "ended", TORN: "open", GONE: "gone"}


# ── newer than this release ────────────────────────────────────────────────────────────────────────────────────────


def with_frame(at: int, value: int, size_bytes: int) -> Callable[[Path], None]:
    """The first frame's head with another value at `at`, and a checksum that is true."""

    def change(root: Path) -> None:
        path = root / ONE / "0000000000000000.sealed"
        data = bytearray(path.read_bytes())
        begin = data.find(frame.MAGIC_BYTES)
        data[begin + at : begin + at + size_bytes] = value.to_bytes(size_bytes, "little")
        checksum = xxh3_64_intdigest(bytes(data[begin : begin + 120]), frame.seed_of(ONE))
        data[begin + 120 : begin + 128] = checksum.to_bytes(8, "little")
        path.write_bytes(data)

    return change


def with_version(*place: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root.joinpath(*place)
        said = {"version": 2, "frames": 5}
        line = json.dumps(said).encode()
        path.write_bytes(line + b"\n" + xxh3_64_hexdigest(line).encode() + b"\n")

    return change


NEWER: list[tuple[Callable[[Path], object], tuple[str, ...]]] = [
    (lambda root: make_newer(root, ONE), (ONE, "0000000000000000", "segment version 2", "reads 1")),
    (with_frame(8, 9, 1), (ONE, "frame 0", "kind 9", "newer")),
    (with_frame(9, 2, 1), (ONE, "frame 0", "flags 2", "newer")),
    (with_frame(10, 2, 2), (ONE, "frame 0", "schema 2", "newer")),
    (with_version(ONE, ENDED), (ONE, "version 2", "reads 1")),
    (with_version(TOMBSTONES, GONE), (GONE, "version 2", "reads 1")),
]
NAMES = ["segment", "kind", "flags", "schema", "ended", "tombstone"]


@pytest.fixture(params=NEWER, ids=NAMES)
def newer(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A data directory with one thing in it that this release does not know, and how it has to be named."""
    change, words = request.param
    root = a_copy(tmp_path)
    shutil.rmtree(root / TORN)
    change(root)
    return tmp_path, words


async def drained(data_dir: Path, store: MemoryStore, until: Callable[[], object]) -> None:
    """Deliver until that is so."""
    stop = asyncio.Event()
    settings: dict[str, Any] = {"batch_max_bytes": 1 << 20, "batch_interval_ms": 0, "clock": SystemClock()}
    running = asyncio.create_task(drain.run(MemorySink(store), data_dir, disk=FileDisk(), stop=stop, **settings))
    async with asyncio.timeout(PATIENCE_S):
        while not until():
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, PATIENCE_S)


def test_what_is_newer_stops_the_reader_by_name_and_nothing_is_dropped(
    newer: tuple[Path, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir, words = newer
    monkeypatch.setattr(drain, "STATUS_S", 0.02)
    store, before = MemoryStore(), files(data_dir / "spool")
    store.positions[GONE] = 1

    def red() -> bool:
        told = reader_status.read(data_dir, "memory")
        return told is not None and told.state == "red"

    asyncio.run(drained(data_dir, store, red))
    told = reader_status.read(data_dir, "memory")
    assert told is not None and told.last_error is not None
    assert all(word in told.last_error for word in words), told.last_error
    assert store.positions == {GONE: 1}
    assert store.rows == {}
    assert files(data_dir / "spool") == before
    assert not (data_dir / "quarantine").exists(), "it is not damage"


def test_recovery_retention_and_a_new_incarnation_go_on_beside_what_is_newer(
    newer: tuple[Path, tuple[str, ...]],
) -> None:
    data_dir, _ = newer
    root, before = data_dir / "spool", files(data_dir / "spool")
    assert recover(FileDisk(), root, StillClock()) == []
    sealed_segments(FileDisk(), root, 1_795_000_000)
    collector = Collector(data_dir).append(3).end()
    assert collector.name in incarnations(FileDisk(), root)
    assert len(delivered(root / collector.name).frames) == 3
    assert {name: data for name, data in files(root).items() if collector.name not in name} == before


def test_the_commands_say_what_is_newer(newer: tuple[Path, tuple[str, ...]]) -> None:
    data_dir, words = newer
    data, said = DataDir(data_dir), list[str]()
    assert not spool_commands.verify(data, said.append)
    (line,) = [line for line in said if line.startswith("newer: ")]
    assert not [line for line in said if line.startswith("damaged: ")]
    assert words[0] in line and any(word in line for word in words[1:])
    spool_commands.status(data, said.append)
    spool_commands.dump(data, said.append, "", None)


def test_a_migration_that_drops_a_schema_counts_a_newer_segment_as_holding_it(tmp_path: Path) -> None:
    root = a_copy(tmp_path)
    shutil.rmtree(root / TORN)
    (root / ONE / "0000000000000003.sealed").unlink()
    make_newer(root, ONE)
    assert spool_commands.schema_ids(DataDir(tmp_path)) == {1, 2, 3}
    with_frame(10, 3, 2)(a_copy(tmp_path / "other"))
    assert spool_commands.schema_ids(DataDir(tmp_path / "other")) == {1, 3}


def test_an_unclean_segment_of_a_newer_version_is_not_touched_by_recovery(tmp_path: Path) -> None:
    root = a_copy(tmp_path)
    make_newer(root, TORN)
    before = files(root)
    assert recover(FileDisk(), root, StillClock()) == []
    assert files(root) == before
    feed = Feed(tmp_path, FileDisk())
    feed.seat({ONE: 5, GONE: 1})
    feed.refresh()
    with pytest.raises(SpoolRefused, match=f"{TORN}/0000000000000000: segment version 2"):
        feed.read(1_000_000)


def test_an_ending_with_what_a_later_release_may_add_is_read_when_it_is_of_this_version(tmp_path: Path) -> None:
    line = b'{"sequence":1,"totals":[1,1,0,0,0],"months":{},"rejected_by_code":[],"at_us":1,"more":[]}'
    (tmp_path / "ended").write_bytes(line + b"\n" + xxh3_64_hexdigest(line).encode() + b"\n")
    ending = read_ending(FileDisk(), tmp_path / "ended")
    assert ending is not None and ending.sequence == 1
    with_version("ended")(tmp_path)
    with pytest.raises(NewerEnding, match="ended: version 2"):
        read_ending(FileDisk(), tmp_path / "ended")
