"""Every fault of `./gw faults` in its quick form: nothing acknowledged is lost, doubled or miscounted; `verify` agrees.

One gateway serves many faults, one after the other, as the table does; ten rounds of kills among them.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from loadtests.faults.__main__ import chosen, main, turns
from loadtests.faults.catalogue import every_fault
from loadtests.faults.disk import SmallDisk
from loadtests.faults.fault import ROOMY, TWIN, Fault, LeftOut
from loadtests.faults.killing import KILLS
from loadtests.faults.shim import FsyncShim
from loadtests.faults.stage import Stage
from loadtests.faults.table import table
from loadtests.faults.trial import Row, Trial
from tests.acceptance.client import sql
from tests.acceptance.gateway_process import let_others_through
from tests.conftest import left_out

SEED: Final = 20_261_125
ROUNDS: Final = 10
STOP_S: Final = 5.0
FULL_S: Final = 2.0
FSYNC_TIMES: Final = 2
FAULTS: Final = every_fault(stop_s=STOP_S, full_s=FULL_S, fsync_times=FSYNC_TIMES)
TURNS: Final = turns(FAULTS, ROUNDS)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    directory = tmp_path_factory.mktemp("faults")
    let_others_through(directory)
    with Trial(directory, SEED) as made:
        yield made


def strike(trial: Trial, fault: Fault, number: int = 0) -> Row:
    """One round of a fault."""
    row = Row(fault.name)
    try:
        asyncio.run(trial.round(fault, number, row))
    except LeftOut as reason:
        left_out(str(reason))
    return row


@pytest.mark.parametrize("number", range(len(TURNS)), ids=[f"{n}-{fault.name}" for n, fault in enumerate(TURNS)])
def test_nothing_acknowledged_is_lost_doubled_or_miscounted(trial: Trial, number: int) -> None:
    row = strike(trial, TURNS[number], number)
    assert not row.wrong, "\n".join([f"seed {SEED}, number {number}", *row.wrong])
    assert row.acknowledged == row.stored > 0
    assert row.missing == row.doubled == row.miscounted == 0


# ── that it would be seen ───────────────────────────────────────────────────────────────────────────────────────────


def undone(change: str) -> Callable[[Stage, Random], Any]:
    """A fault that is none of the gateway's: somebody changes the table behind its back."""

    async def strike(stage: Stage, _: Random) -> float:
        await stage.acknowledged_more(1)
        changed = await asyncio.to_thread(sql, stage.gateway.endpoints["postgres"], change)
        assert changed, "there was nothing to change"
        return 0.0

    return strike


REMOVED: Final = (
    "DELETE FROM playback_events WHERE event_id = (SELECT event_id FROM playback_events LIMIT 1) RETURNING event_id"
)


def test_what_is_wrong_is_in_the_table_and_its_stage_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_others_through(tmp_path)
    monkeypatch.setattr("loadtests.faults.stage.DRAIN_S", 3.0)
    few = replace(ROOMY, viewers=5)
    with Trial(tmp_path, SEED) as trial:
        row = strike(trial, Fault("sabotage", "a row is removed by hand", undone(REMOVED), few))
        assert any("missing 1" in wrong for wrong in row.wrong), row.wrong
        assert any(wrong.startswith("verify: ") and "row_missing" in wrong for wrong in row.wrong), row.wrong
        assert "WRONG" in table([row])

        async def waits_in_vain(stage: Stage, _: Random) -> float:
            await stage.until(lambda: stage.pid_of("conductor") > 0, 0.2, "a process that there never was")
            return 0.0

        row = strike(trial, Fault("vain", "waits for what never comes", waits_in_vain, few))
        assert row.rounds == 0 and "not within" in row.wrong[0]
    assert len(trial.kept) == 2 and all(directory.is_dir() for directory in trial.kept)


# ── what it does to the machine ─────────────────────────────────────────────────────────────────────────────────────


def test_a_small_disk_is_gone_with_its_maker(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        left_out("mounting takes root")
    disk = SmallDisk(tmp_path / "disk", 2**20)
    assert os.path.ismount(disk.path)
    (disk.path / "file").write_bytes(b"x")
    disk.close()
    assert not disk.path.exists()


def test_the_shim_touches_collectors_and_the_spool_alone(tmp_path: Path) -> None:
    spool = tmp_path / "data" / "spool"
    spool.mkdir(parents=True)
    try:
        shim = FsyncShim(tmp_path, tmp_path / "data")
    except LeftOut as reason:
        left_out(str(reason))
    shim.fails.touch()
    tried = "import os, sys; os.fsync(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT))"

    def fsyncs(role: str, path: Path) -> bool:
        done = subprocess.run(
            [sys.executable, "-c", tried, role, str(path)],
            env={**os.environ, **shim.environment},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0 or b"Errno 5" in done.stderr, done.stderr
        return done.returncode == 0

    assert not fsyncs("collector", spool / "segment")
    assert fsyncs("collector", tmp_path / "data" / "elsewhere")
    assert fsyncs("postgres_drain", spool / "segment")
    shim.fails.unlink()
    assert fsyncs("collector", spool / "segment")


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rounds_are_shared_by_the_kills_and_every_other_fault_strikes_once() -> None:
    assert [fault.name for fault in TURNS[:ROUNDS]] == [KILLS[n % len(KILLS)].name for n in range(ROUNDS)]
    assert len({fault.name.removesuffix("-twin") for fault in TURNS[:ROUNDS]}) == len(KILLS) // 2
    assert {fault.scenery for fault in TURNS[:ROUNDS]} == {ROOMY, TWIN}
    assert {fault.name for fault in turns(FAULTS, len(KILLS))} == {fault.name for fault in FAULTS}
    others = [fault.name for fault in TURNS[ROUNDS:]]
    assert len(others) == len(set(others)) == len(FAULTS) - len(KILLS)


def test_faults_are_chosen_by_how_their_names_begin() -> None:
    assert {fault.name for fault in chosen(["kill-b", "full"], FAULTS)} == {
        "kill-backend",
        "kill-backend-twin",
        "full-disk",
    }
    assert chosen([], FAULTS) == FAULTS
    with pytest.raises(SystemExit, match="no such fault: flood"):
        chosen(["flood", "kill"], FAULTS)


def test_a_directory_without_a_gateway_is_no_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(tmp_path), "--yes", "--dir", str(tmp_path)]) == 1
    assert "no gateway runs in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
