"""The demonstration ends by itself, ends when told to, and leaves nothing running or lying about."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.cql import jars
from loadtests.catalogue import CONTENTS_COUNT
from loadtests.procfs import Process, alive, all_stats, tree
from loadtests.product import ROOT
from tests import needs
from tests.acceptance.client import sql
from tests.acceptance.gateway_process import let_others_through
from tests.conftest import left_out

TIMEOUT_S: Final = 120.0
START_S: Final = 300.0
"""With a Cassandra, on two busy cores."""


class Demo:
    """A running `python -m gateway.demo`, its output in a file, and every process that was ever seen below it."""

    def __init__(self, directory: Path, *arguments: str, piped: bool = False) -> None:
        self.output = directory / "demo.out"
        self.errors = directory / "demo.err"
        temporary = directory / "tmp"
        temporary.mkdir()
        temporary.chmod(0o755)
        self.temporary = temporary
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.demo", "--viewers", "40", *arguments],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(temporary)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else output,
                stderr=errors,
                start_new_session=True,
            )
        self.seen: set[Process] = set()

    def text(self) -> str:
        return self.output.read_text(errors="replace") + self.errors.read_text(errors="replace")

    def look(self) -> None:
        self.seen.update(seen.process for seen in tree(self.process.pid))

    def wait_until_it_says(self, words: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while words not in self.text():
            self.look()
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.1)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            self.look()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.1)
        return self.process.returncode

    def left(self) -> list[str]:
        """What still runs of all that was seen, and of all that names its directory."""
        named = [
            pid for pid in all_stats() if pid != os.getpid() and str(self.temporary).encode() in _command_line(pid)
        ]
        return [str(process) for process in self.seen if alive(process)] + [str(pid) for pid in named]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[list[Demo]]:
    """Demos to be killed after the test, should they still run."""
    let_others_through(tmp_path)
    running: list[Demo] = []
    yield running
    for demo in running:
        demo.look()
        for process in demo.seen:
            if alive(process):
                os.kill(process.pid, signal.SIGKILL)


def assert_clean(demo: Demo) -> None:
    assert demo.errors.read_text() == ""
    assert not demo.left()
    assert not list(demo.temporary.glob("streamverse-demo-*")), "its directory is still there"


def test_a_demo_of_some_seconds_ends_by_itself_and_finds_all_equal(tmp_path: Path, demos: list[Demo]) -> None:
    demo = Demo(tmp_path, "--seconds", "8")
    demos.append(demo)
    demo.wait_until_it_says("Ctrl-C ends")
    (postgres,) = re.findall(r"psql '(.+)'", demo.text())
    assert sql(postgres, "SELECT count(*) FROM content")[0][0] == CONTENTS_COUNT, "what is not known has no tier"
    assert demo.wait() == 0, demo.text()
    text = demo.text()
    assert "\x1b" not in text, "no terminal, no control sequences"
    for words in ("/v1/events", "/metrics", "/statusz", "psql", "redis", "curl"):
        assert words in text
    seconds = [line for line in text.splitlines() if "acknowledged" in line and "promised" in line]
    assert len(seconds) >= 6
    assert "equal" in text.splitlines()
    ads = re.findall(r"^ads: ([\d,]+) impressions promised, ([\d,]+) stored$", text, re.MULTILINE)
    assert len(ads) == 1 and ads[0][0] == ads[0][1] != "0"
    assert "every acknowledged event is stored exactly once; all views are counted" in text.splitlines()
    assert_clean(demo)


def test_with_rows_in_cql_it_starts_a_cassandra_finds_all_equal_and_leaves_nothing(
    tmp_path: Path, demos: list[Demo]
) -> None:
    if not (needs.has_java() and jars.is_installed()):
        left_out("no Java or no Maven for Cassandra (./gw test installs them as root)")
    demo = Demo(tmp_path, "--seconds", "8", "--store", "scylla")
    demos.append(demo)
    assert demo.wait(START_S) == 0, demo.text()
    assert "cql://" in demo.text() and "psql" not in demo.text()
    assert "every acknowledged event is stored exactly once; all views are counted" in demo.text().splitlines()
    assert_clean(demo)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_ends_it_cleanly(number: signal.Signals, tmp_path: Path, demos: list[Demo]) -> None:
    demo = Demo(tmp_path)
    demos.append(demo)
    demo.wait_until_it_says("promised")
    demo.look()
    demo.process.send_signal(number)
    assert demo.wait() == 0, demo.text()
    assert len(demo.seen) > 8, "gateway, stores and crowds were all seen running"
    assert_clean(demo)


@pytest.mark.parametrize("after_s", [0.3, 2.0])
def test_a_signal_during_the_start_ends_it_cleanly(after_s: float, tmp_path: Path, demos: list[Demo]) -> None:
    demo = Demo(tmp_path)
    demos.append(demo)
    demo.wait_until_it_says("Starting")
    time.sleep(after_s)
    demo.look()
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 0, demo.text()
    assert_clean(demo)


def test_a_closed_pipe_ends_it_without_a_word(tmp_path: Path, demos: list[Demo]) -> None:
    demo = Demo(tmp_path, piped=True)
    demos.append(demo)
    assert demo.process.stdout is not None
    demo.process.stdout.readline()
    demo.process.stdout.close()
    demo.wait()
    assert demo.errors.read_text() == ""
    assert_clean(demo)
