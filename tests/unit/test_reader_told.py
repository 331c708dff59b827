"""How /statusz tells a reader that has not spoken for long, and what the stage's state takes of the disk."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.metrics_core import Metric

from gateway.layout import DataDir
from gateway.reader_told import STALE_S, reader_told
from gateway.stage_size import stage_metrics, stage_told
from storage.reader_status import ReaderStatus
from tests.signs import NOW, SECOND

RUNNING = ReaderStatus(reader="stage", state="running", reason="", pid=1, at_us=NOW, positions={})


def test_who_speaks_is_told_as_it_says_and_who_has_not_begun_is_starting() -> None:
    told = reader_told("stage", RUNNING, NOW + 2 * SECOND)
    assert (told["state"], told["reason"], told["age_s"], told["pid"]) == ("running", "", 2.0, 1)
    assert reader_told("stage", None, NOW) == {"reader": "stage", "state": "starting"}
    assert reader_told("stage", RUNNING, NOW - SECOND)["state"] == "running", "a clock that was set back"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RUNNING, "for 75 s; its last word was running."),
        (replace(RUNNING, state="waiting", reason="stopped"), "its last word was waiting: stopped."),
        (replace(RUNNING, state="red", reason="x"), "red: x."),
    ],
    ids=["killed", "stopped", "red"],
)
def test_a_last_word_is_no_state(status: ReaderStatus, words: str) -> None:
    told = reader_told("stage", status, NOW + 75 * SECOND)
    assert told["state"] == "silent" and words in told["reason"] and told["age_s"] == 75.0
    assert reader_told("stage", status, NOW + round((STALE_S - 0.1) * SECOND))["state"] == status.state


def test_what_needs_an_engineer_stays_said() -> None:
    told = reader_told("redis", replace(RUNNING, state="rebuild_needed", reason="lost"), NOW + 3_600 * SECOND)
    assert (told["state"], told["reason"]) == ("rebuild_needed", "lost")


def test_the_stage_s_files_are_counted_with_their_log_and_what_was_given_up(tmp_path: Path) -> None:
    assert stage_told(DataDir(tmp_path), 9) == {"state_bytes": 0, "state_max_bytes": 9}
    (tmp_path / "stage").mkdir()
    for name, size_bytes in (("state.db", 4_096), ("state.db-wal", 100), ("given-up.db", 7), ("lock", 0)):
        (tmp_path / "stage" / name).write_bytes(bytes(size_bytes))
    told = stage_told(DataDir(tmp_path), 9)
    assert told["state_bytes"] == 4_203

    def value(metric: Metric) -> tuple[str, float]:
        return metric.name, metric.samples[0].value

    assert list(map(value, stage_metrics(told))) == [
        ("ingest_stage_state_bytes", 4_203), ("ingest_stage_state_max_bytes", 9),
    ]  # fmt: skip
