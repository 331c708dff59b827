"""The copy of a log that the benchmark makes is the product's own: every frame whole, under another identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import spool_commands
from gateway.layout import DataDir
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.spool.recovery import incarnations, recover
from loadtests.faults.spool_copy import copied, fill_up
from tests.spooled import Collector


def test_a_log_that_was_filled_up_is_whole_and_starts(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.make()
    Collector(tmp_path, segment_size_bytes=4_096).append().append(frames=20).append(frames=9, rows=2).end()
    (name,) = incarnations(FileDisk(), data.spool)
    original = sum(path.stat().st_size for path in (data.spool / name).iterdir())
    assert fill_up(data.spool, 3 * original) == 3

    assert not recover(FileDisk(), data.spool, SystemClock())
    told: list[str] = []
    assert spool_commands.verify(data, told.append), told
    assert told[-1].startswith("90 frames whole")


def test_what_is_no_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="no segment"):
        copied(b"SVSEGMT2" + bytes(120), b"\x01" * 16)
