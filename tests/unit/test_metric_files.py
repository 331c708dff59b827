"""The files that a process reserves for its metrics are those it will write."""

import subprocess
import sys
from pathlib import Path

from gateway.role import METRIC_FILE_BYTES, METRIC_FILES

WRITE_ALL = (
    "import os; from gateway.role import reserve_metrics; reserve_metrics(); import ingest.metrics, storage.metrics"
)


def test_every_metric_file_was_allocated_before_it_was_mapped(tmp_path: Path) -> None:
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", WRITE_ALL], env=environment, check=True, cwd=Path(__file__).parents[2])
    files = {path.name.rsplit("_", 1)[0]: path.stat() for path in tmp_path.iterdir()}
    assert files.keys() == set(METRIC_FILES)
    assert all(stat.st_size == METRIC_FILE_BYTES == 512 * stat.st_blocks for stat in files.values())
