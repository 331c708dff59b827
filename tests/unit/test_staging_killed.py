"""The stage, killed between any two of its steps: every row once, and the same rows as if nothing had happened."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from ingest.spool.disk import FileDisk
from storage import drain
from storage.stage import staging
from storage.stage.state_file import StateFile
from storage.stage.store import Store
from tests import staged
from tests.spooled import Collector
from tests.unit.test_staging import a_viewing

STEPS_MAX = 400
LINES = 16


class Killed(BaseException):
    """Nothing of the process goes on."""


class MortalDisk(FileDisk):
    """Kills who calls it at a given step, and does nothing for the dead. Its locks go with it."""

    def __init__(self, steps: int) -> None:
        self.steps_left = steps
        self.locks: list[int] = []

    def step(self) -> None:
        if self.steps_left <= 0:
            raise Killed
        self.steps_left -= 1

    def bury(self) -> None:
        for descriptor in self.locks:
            try:
                os.close(descriptor)
            except OSError:
                pass

    def lock(self, path):
        self.step()
        descriptor = super().lock(path)
        if descriptor is not None:
            self.locks.append(descriptor)
        return descriptor


def _mortal(name):
    def call(self, *arguments, **named):
        self.step()
        return getattr(FileDisk, name)(self, *arguments, **named)

    return call


for _name in ("create", "write", "fdatasync", "rename", "unlink", "truncate", "fsync", "fsync_directory", "rewrite"):
    setattr(MortalDisk, _name, _mortal(_name))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "STATUS_S", 0.02)
    monkeypatch.setattr(staging, "IDLE_S", 0.002)
    monkeypatch.setattr(staging, "TURN_S", 0.0)
    monkeypatch.setattr(staging, "LINES_MAX", 6)
    monkeypatch.setattr(staging, "SAVED_S", 0.01)


def spooled(data_dir: Path) -> None:
    """Two viewings, each on two collectors."""
    for cut in (0, 4):
        requests = [a_viewing(f"session {number}")[cut : cut + 4] for number in range(2)]
        staged.appended(Collector(data_dir), *requests)


def is_judged(data_dir: Path) -> bool:
    """Whether all of it is."""
    try:
        file = StateFile(data_dir / "stage" / "state.db", reads_only=True)
    except FileNotFoundError:
        return False
    try:
        return sum(position.lines for position in file.positions().values()) == LINES
    finally:
        file.close()


async def at_work_until_judged(data_dir: Path, disk: FileDisk) -> bool:
    """False: it was killed before."""
    clock, stop, died = staged.SetClock(), asyncio.Event(), False
    store = Store(data_dir, disk, clock, segment_size_bytes=600)
    running = asyncio.create_task(staging.run(store, data_dir, staged.PAST_S, clock, disk, stop))
    async with asyncio.timeout(staged.PATIENCE_S):
        while not running.done() and not (hasattr(store, "streams") and is_judged(data_dir)):
            await asyncio.sleep(0.002)
        stop.set()
        try:
            await running
        except* Killed:
            died = True
    return not died


def killed_at(data_dir: Path, steps: int) -> bool:
    """Whether the stage died before the end."""
    disk = MortalDisk(steps)
    try:
        return not asyncio.run(at_work_until_judged(data_dir, disk))
    finally:
        disk.bury()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], list[bytes]]:
    data_dir = tmp_path_factory.mktemp("expected")
    spooled(data_dir)
    assert not killed_at(data_dir, 10_000)
    return staged.rows(data_dir), staged.signals(data_dir)


def check(data_dir: Path, expected: tuple[list[bytes], list[bytes]]) -> None:
    assert asyncio.run(at_work_until_judged(data_dir, FileDisk()))
    found = staged.rows(data_dir), staged.signals(data_dir)
    assert Counter(found[0]) == Counter(expected[0]) and Counter(found[1]) == Counter(expected[1])
    books = staged.books(data_dir)
    assert books.balanced and (books.rows, books.signals) == (len(expected[0]), len(expected[1]))
    file = StateFile(data_dir / "stage" / "state.db", reads_only=True)
    logs = file.logs().values()
    file.close()
    assert (sum(log.rows for log in logs), sum(log.signals for log in logs)) == (books.rows, books.signals)


def test_whatever_step_it_is_killed_at_every_row_is_there_once(tmp_path: Path, expected) -> None:
    for steps in range(STEPS_MAX):
        data_dir = tmp_path / str(steps)
        spooled(data_dir)
        died = killed_at(data_dir, steps)
        check(data_dir, expected)
        if not died:
            assert steps > 20
            return
    pytest.fail("it takes more steps than there are")


def test_a_stage_that_is_killed_again_and_again_gets_to_its_end(tmp_path: Path, expected) -> None:
    spooled(tmp_path)
    steps = 10
    while killed_at(tmp_path, steps):
        steps += 3
    check(tmp_path, expected)


@pytest.mark.parametrize("moment", ["before", "behind"])
def test_killed_around_its_commit_every_row_is_there_once(tmp_path: Path, expected, monkeypatch, moment: str) -> None:
    whole, turns = StateFile.write, 0

    def write(self, turn):
        nonlocal turns
        turns += 1
        if turns == 3 and moment == "before":
            raise Killed
        whole(self, turn)
        if turns == 3:
            raise Killed

    spooled(tmp_path)
    monkeypatch.setattr(StateFile, "write", write)
    assert killed_at(tmp_path, 1_000)
    monkeypatch.setattr(StateFile, "write", whole)
    check(tmp_path, expected)


def test_a_disk_that_is_full_for_a_while_is_only_a_delay(tmp_path: Path, expected, monkeypatch) -> None:
    monkeypatch.setattr("storage.backoff.LONGEST_S", 0.05)

    class FullDisk(FileDisk):
        synced = 0

        def fdatasync(self, descriptor: int) -> None:
            FullDisk.synced += 1
            if 4 <= FullDisk.synced < 10:
                raise OSError(28, "No space left on device")
            super().fdatasync(descriptor)

    spooled(tmp_path)
    assert asyncio.run(at_work_until_judged(tmp_path, FullDisk()))
    check(tmp_path, expected)
