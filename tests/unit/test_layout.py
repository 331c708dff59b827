"""A start clears away what the last run told of itself, beside processes of that run that have not ended yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.layout import DataDir

REAL_GLOB = Path.glob


def moved_away(directory: Path, pattern: str) -> Iterator[Path]:
    """What is found, and is renamed by its writer before anybody has looked at it."""
    for path in list(REAL_GLOB(directory, pattern)):
        path.rename(path.with_suffix(".moved"))
        yield path


def test_a_draft_that_an_orphan_renames_meanwhile_ends_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataDir(tmp_path)
    data.make()
    data.metrics.mkdir()
    for path in (data.run / "restart.json.7.draft", data.metrics / "counter_7.db"):
        path.touch()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "glob", moved_away)
        data.clear_run()
    assert (data.run / "restart.json.7.moved").exists() and (data.metrics / "counter_7.moved").exists()
