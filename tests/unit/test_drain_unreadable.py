"""What the disk does not give of one incarnation holds up no other; it is said, and delivered when it can be."""

import errno
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.spool.disk import FileDisk
from storage import feed
from storage.memory import MemorySink, MemoryStore
from tests.spooled import Collector
from tests.unit.test_drain import draining, impatient, run, status_of, until

__all__ = ["impatient"]


class BadSector(FileDisk):
    """Reads below directories in `bad` fail; in segments alone, or wherever."""

    def __init__(self, *, segments_only: bool) -> None:
        self.bad: set[str] = set()
        self._segments_only = segments_only

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        if path.parent.name in self.bad and (path.suffix in (".open", ".sealed") or not self._segments_only):
            raise OSError(errno.EIO, "Input/output error")
        return super().read(path, offset, size_bytes)


@pytest.mark.parametrize("segments_only", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_an_unreadable_incarnation_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments_only: bool, ended: bool
) -> None:
    monkeypatch.setattr(feed, "UNREADABLE_TRIES_MAX", 2)

    async def scenario() -> None:
        store, disk = MemoryStore(), BadSector(segments_only=segments_only)
        bad, good = Collector(tmp_path).append(3), Collector(tmp_path).append(4)
        if ended:
            bad.end()
        disk.bad.add(bad.name)
        with capture_logs() as said:
            async with draining(tmp_path, MemorySink(store), disk=disk):
                await until(lambda: store.rows.keys() == good.keys)
                await until(lambda: status_of(tmp_path).state == "red")
                reason = status_of(tmp_path).reason
                assert bad.name in reason and "Input/output error" in reason and "store" not in reason
                good.append(2)
                await until(lambda: store.rows.keys() == good.keys)
                disk.bad.clear()
                await until(lambda: store.rows.keys() == good.keys | bad.keys)
                await until(lambda: status_of(tmp_path).state == "running")
        assert store.duplicates == 0
        assert [line["incarnation"] for line in said if line["event"] == "incarnation_unreadable"] == [bad.name]

    run(scenario())


def test_a_disk_that_stutters_is_no_trouble(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, disk = MemoryStore(), BadSector(segments_only=True)
        one = Collector(tmp_path).append(3)
        disk.bad.add(one.name)
        async with draining(tmp_path, MemorySink(store), disk=disk):
            await until(lambda: status_of(tmp_path).state == "running")
            disk.bad.clear()
            await until(lambda: store.rows.keys() == one.keys)
            assert status_of(tmp_path).reason == ""

    run(scenario())
