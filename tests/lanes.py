"""Two workers take file after file side by side (`./gw test`, by pytest-xdist): for most of its time a test waits.

What measures is marked `alone`, a file or a test: such tests are the last, and while one runs the other worker stands
still. Each worker has servers of its own. Without workers none of this does anything.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest

LANES = pytest.StashKey["Lane"]()


class Lane:
    """A worker's turns at the machine: beside others, or alone. The locks go with the process, however it ends."""

    def __init__(self, run: str) -> None:
        """`run` is the same for all workers of a run, and no other's."""
        directory = Path(tempfile.gettempdir()) / f"streamverse-lanes-{os.getuid()}-{run}"
        directory.mkdir(mode=0o700, exist_ok=True)
        self._turn = self._open(directory / "turn")
        self._machine = self._open(directory / "machine")
        self._is_alone = False

    def _open(self, path: Path) -> IO[bytes]:
        return path.open("wb")

    def enter(self, *, alone: bool) -> None:
        """Wait until nobody is alone, or nobody is there at all. Who waits for that is overtaken by nobody."""
        if self._is_alone and alone:
            return
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        fcntl.flock(self._machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._turn, fcntl.LOCK_UN)
        self._is_alone = alone

    def leave(self) -> None:
        fcntl.flock(self._machine, fcntl.LOCK_UN)
        self._is_alone = False


def is_alone(item: pytest.Item | None) -> bool:
    """Whether nothing may run beside it."""
    return item is not None and item.get_closest_marker("alone") is not None


def pytest_configure(config: pytest.Config) -> None:
    """In a worker."""
    if hasattr(config, "workerinput"):
        config.stash[LANES] = Lane(config.workerinput["testrunuid"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those that run alone are the last: until then nobody waits for anybody."""
    if LANES in config.stash:
        items.sort(key=is_alone)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """A test with the fixtures that begin and end with it; one that is alone leaves the machine to the next such."""
    lane = item.config.stash.get(LANES, None)
    if lane is None:
        return (yield)
    lane.enter(alone=is_alone(item))
    try:
        return (yield)
    finally:
        if not (is_alone(item) and is_alone(nextitem)):
            lane.leave()
