"""Rates from counters, and one reading for all who ask; without a gateway."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from gateway import ended_metrics, flow
from gateway.flow import Counts, Flow, FlowSource, Reading, counts, rates, reader_now
from ingest.clock import SystemClock
from live.source import Unavailable
from storage.reader_status import ReaderStatus
from tests.in_loop import in_loop
from tests.signs import NOW, SECOND

RUNNING = ReaderStatus(reader="postgres", state="running", reason="", pid=1, at_us=NOW, positions={}, lag_s=0.25)
COUNT = """
import os, sys
from ingest import metrics
from storage import metrics as stored
metrics.EVENTS_RECEIVED.inc(10)
metrics.EVENTS_ACCEPTED.inc(9)
stored.STORE_EVENTS.labels("postgres").inc(8)
stored.STORE_EVENTS.labels("redis").inc(700)
stored.STORE_ROWS.inc(5)
print(os.getpid())
"""


class Clock(SystemClock):
    """Moved by hand."""

    at_s = 100.0

    def monotonic_s(self) -> float:
        return self.at_s


class Disk:
    """Ten events a second by that clock, which goes on by a second with each reading."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reads = 0
        self.broken = False

    def read(self) -> Reading:
        self.reads += 1
        if self.broken:
            raise PermissionError(13, "not allowed")
        self.clock.at_s += 1
        received = 10 * self.clock.at_s
        return Reading(Counts(received, received, received / 2), [], {"postgres": RUNNING, "redis": None}, 3, 7)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "BASE_S", 0.01)


def told(sample: Flow) -> dict[str, object]:
    body: dict[str, object] = orjson.loads(sample.body())
    return body


def test_counts_are_those_of_every_process_the_ended_included(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for number in range(1, 4):
        done = subprocess.run([sys.executable, "-c", COUNT], env=environment, capture_output=True, check=True)
        if number < 3:
            ended_metrics.take_over(tmp_path, int(done.stdout))
        assert counts(tmp_path) == Counts(10.0 * number, 8.0 * number, 5.0 * number)
    assert counts(tmp_path / "not there") == Counts()


def test_a_rate_is_what_came_in_between_and_never_below_none() -> None:
    assert rates(1.0, Counts(100, 90, 80), 5.0, Counts(120, 98, 80)) == Counts(5.0, 2.0, 0.0)
    assert rates(1.0, Counts(100, 90, 80), 2.0, Counts(1, 91, 0)) == Counts(0.0, 1.0, 0.0), "counted anew"


def test_a_reader_is_told_with_its_lag_and_since_when() -> None:
    assert reader_now("postgres", RUNNING, NOW + 2 * SECOND) == {
        "reader": "postgres",
        "state": "running",
        "reason": "",
        "lag_s": 0.2,
        "age_s": 2.0,
    }
    assert reader_now("redis", None, NOW)["state"] == "starting"
    assert reader_now("postgres", RUNNING, NOW - SECOND)["age_s"] == 0.0, "a clock that was set back"


@in_loop
async def test_all_who_ask_within_a_moment_share_a_reading() -> None:
    clock = Clock()
    disk = Disk(clock)
    source = FlowSource(disk.read, clock)
    samples = await asyncio.gather(*(source.sample() for _ in range(20)))
    assert all(sample is samples[0] for sample in samples)
    assert disk.reads == 2, "a first one, and one a second later"
    assert told(samples[0])["received_per_s"] == 10.0
    assert told(samples[0])["spool"] == {"used_bytes": 3, "quota_bytes": 7}
    assert await source.sample() is samples[0]
    clock.at_s += flow.SHARED_S
    assert await source.sample() is not samples[0]
    assert disk.reads == 3, "the next one needs no second reading"
    await source.close()


@in_loop
async def test_rates_are_those_of_the_last_seconds_not_of_all_time() -> None:
    clock = Clock()
    disk = Disk(clock)
    source = FlowSource(disk.read, clock)
    await source.sample()
    for _ in range(20):
        clock.at_s += flow.SHARED_S
        assert told(await source.sample())["received_per_s"] == 10.0
    still = disk.read()
    source._read = lambda: still  # from now on nothing comes in
    for second in range(1, 8):
        clock.at_s += 1
        rate = told(await source.sample())["received_per_s"]
        assert (rate == 0.0) == (second > flow.WINDOW_S), "forgotten after a window"
    await source.close()


@in_loop
async def test_what_cannot_be_read_is_a_reason_and_passes() -> None:
    clock = Clock()
    disk = Disk(clock)
    source = FlowSource(disk.read, clock)
    disk.broken = True
    with pytest.raises(Unavailable) as caught:
        await source.sample()
    assert caught.value.code == "data_directory_unreadable"
    disk.broken = False
    assert told(await source.sample())["received_per_s"] == 10.0
    await source.close()
