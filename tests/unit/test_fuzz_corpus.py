"""Every input that was ever worth keeping goes through its decoder, without a fuzzer; and so does every cut of it."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS

KEPT = sorted(CORPUS.glob("*/*"))
OFTEN: Final = 4_000
"""What loses a kilobyte each time has lost more than GROWN_MAX_BYTES."""
GROWN_MAX_BYTES: Final = 3 << 20


def resident_bytes() -> int:
    """Of this process, now (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.parent.name for path in KEPT} == TARGETS.keys()


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.usefixtures("each_core")
def test_what_is_kept_breaks_nothing_and_no_cut_of_it_does(path: Path) -> None:
    data, target = path.read_bytes(), TARGETS[path.parent.name]
    assert len(data) <= 4_096, "small"
    for at in range(len(data) + 1):
        target(data[:at])


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.usefixtures("each_core")
def test_what_is_kept_leaves_nothing_behind_in_memory(path: Path) -> None:
    data, target = path.read_bytes(), TARGETS[path.parent.name]
    for _ in range(OFTEN // 10):
        target(data)
    before_bytes = resident_bytes()
    for _ in range(OFTEN):
        target(data)
    assert resident_bytes() - before_bytes < GROWN_MAX_BYTES
