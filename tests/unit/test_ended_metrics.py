"""What ended processes counted stays in the sums, exactly, in a file a kind, however many there were."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway import ended_metrics
from gateway.ended_metrics import encode, take_over

COUNTS = """
import os, sys
from prometheus_client import Counter, Gauge, Histogram
by = Counter("told", "Told, ❄.", ["who"])
for who in sys.argv[1:]:
    by.labels(who).inc(1.5)
Histogram("took", "Took.", buckets=(1, 2)).observe(1.5)
Gauge("now", "Now.", multiprocess_mode="livesum").set(7)
print(os.getpid())
"""


def counted(directory: Path, *who: str) -> int:
    """By a process that has ended; its pid."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    done = subprocess.run([sys.executable, "-c", COUNTS, *who], env=environment, capture_output=True, check=True)
    return int(done.stdout)


def seen(directory: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_the_sums_are_the_same_and_the_files_do_not_grow_in_number(tmp_path: Path) -> None:
    pids = [counted(tmp_path, "one", "ö" * length) for length in range(6)]
    before = seen(tmp_path)
    assert before.pop("now") == 7 * len(pids)
    assert before['told_total{who="one"}'] == 9.0
    assert before["took_count"] == before['took_bucket{le="2.0"}'] == len(pids)
    for pid in pids:
        take_over(tmp_path, pid)
    assert seen(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_ended.db", "histogram_ended.db"]
    take_over(tmp_path, pids[0])  # once more, or one that never counted
    assert seen(tmp_path) == before


def test_a_pid_that_is_given_again_counts_on_top(tmp_path: Path) -> None:
    take_over(tmp_path, counted(tmp_path, "one"))
    (tmp_path / "counter_1.db").write_bytes(encode({}))
    take_over(tmp_path, 1)
    pid = counted(tmp_path, "one")
    assert seen(tmp_path)['told_total{who="one"}'] == 3.0
    take_over(tmp_path, pid)
    assert seen(tmp_path)['told_total{who="one"}'] == 3.0


@pytest.mark.parametrize("data", [b"", b"\0\1\0\0garbage" * 20])
def test_a_damaged_file_ends_nobody_and_stays(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "counter_9.db").write_bytes(data)
    take_over(tmp_path, 9)
    assert (tmp_path / "counter_9.db").read_bytes() == data
    assert not ended_metrics.LOCK.locked()
