"""A gateway says where it is once the disk takes it, and anew when that changes."""

import json
import os
from pathlib import Path

import structlog

from gateway.layout import DataDir
from gateway.published import Published, write_pid


class FullDataDir(DataDir):
    """Takes no endpoints while it is full."""

    full = True

    def publish(self, endpoints: dict[str, str]) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().publish(endpoints)


def test_what_a_full_disk_refused_is_written_later_and_changes_are_too(tmp_path: Path) -> None:
    data = FullDataDir(tmp_path)
    data.make()
    endpoints = {"http": "here", "redis": ""}
    published = Published(data, lambda: dict(endpoints))
    with structlog.testing.capture_logs() as said:
        published.write()
    assert [line["event"] for line in said] == ["endpoints_not_written"]
    assert not data.endpoints.exists()
    data.full = False
    published.write()
    assert json.loads(data.endpoints.read_text()) == endpoints
    assert int((data.run / "pid").read_text()) == os.getpid()
    written = data.endpoints.stat().st_ino
    published.write()
    assert data.endpoints.stat().st_ino == written, "it is written once"
    endpoints["redis"] = "there"
    published.write()
    assert json.loads(data.endpoints.read_text()) == endpoints


def test_a_pid_that_the_disk_refuses_ends_nothing_and_nothing_is_told_before_it(tmp_path: Path) -> None:
    data = DataDir(tmp_path)  # run/ is not there: as with a full disk, the file cannot be made
    published = Published(data, lambda: {"http": "here"})
    with structlog.testing.capture_logs() as said:
        assert not write_pid(data)
        published.write()
    assert [line["event"] for line in said] == ["pid_not_written", "pid_not_written"]
    assert not data.endpoints.exists(), "whoever reads it asks for the pid"
    data.make()
    published.write()
    assert data.endpoints.exists()
