"""How much disk the session stage's state takes, beside the spool, whose quota does not count it."""

from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from gateway.layout import DataDir
from storage.stage.store import DIRECTORY


def stage_told(data: DataDir, state_max_bytes: int) -> dict[str, Any]:
    """For a status. `state_max_bytes`: as is set, of what the file holds; its log, and a file that was given up, are on
    top of it.
    """
    size_bytes = 0
    try:
        for path in (data.root / DIRECTORY).iterdir():
            try:
                size_bytes += path.stat().st_size
            except OSError:  # its log went with its last reader
                continue
    except OSError:  # no stage has begun
        pass
    return {"state_bytes": size_bytes, "state_max_bytes": state_max_bytes}


def stage_metrics(told: dict[str, Any]) -> list[Metric]:
    """Of that."""
    return [
        GaugeMetricFamily("ingest_stage_state_bytes", "Size of the stage's files.", value=told["state_bytes"]),
        GaugeMetricFamily("ingest_stage_state_max_bytes", "What its state may hold.", value=told["state_max_bytes"]),
    ]
