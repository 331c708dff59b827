"""Rounds: a crowd plays, a fault strikes, the crowd is heard out, the stores are judged."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from loadtests.faults.disk import SmallDisk
from loadtests.faults.fault import Fault, LeftOut, Scenery, Unexpected
from loadtests.faults.shim import FsyncShim
from loadtests.faults.stage import Judgement, Stage
from loadtests.port import free_ports
from loadtests.product import Product, ProductFailed

LOG_LINES: Final = 15


@dataclass(slots=True)
class Row:
    """What became of the rounds of one fault. Events, but for `resent`, which counts requests."""

    fault: str
    rounds: int = 0
    posted: int = 0
    acknowledged: int = 0
    """Rows that the answers promised."""
    resent: int = 0
    stored: int = 0
    missing: int = 0
    doubled: int = 0
    miscounted: int = 0
    """Contents and hours whose views are not those of the ledger."""
    recovered_s: float = 0.0
    """The slowest of the rounds."""
    counts: bool = True
    """Whether the counts were judged too."""
    wrong: list[str] = field(default_factory=list)
    """Everything that is not as promised, for people."""
    left_out: str = ""
    """Why it was not tried."""

    @property
    def agrees(self) -> bool:
        return not self.wrong

    def add(self, figures: dict[str, Any], judgement: Judgement, stored_before: int) -> None:
        """One more round, by the crowd's last figures and the judgement on everything so far."""
        report = judgement.report
        self.rounds += 1
        self.posted += figures["posted"]
        self.acknowledged += figures["rows"]
        self.resent += figures["tries"] - figures["posts"]
        self.stored += report.stored - stored_before
        self.missing += len(report.missing)
        self.doubled += len(report.doubled)
        self.miscounted += len(report.miscounted)
        if not report.equal:
            self.wrong.append(report.text())
        if judgement.verify:
            self.wrong.append(f"verify: {judgement.verify}")
        if not figures["rows"]:
            self.wrong.append("nothing was acknowledged: the round says nothing")


class Trial:
    """Stages by their scenery, made when they are first needed and ended with the trial."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.seed = seed
        self.kept: list[Path] = []
        """Directories of stages on which something went wrong."""
        self._open: dict[Scenery, _Opened] = {}
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for scenery in list(self._open):
            self._end(scenery, keep=False)

    async def round(self, fault: Fault, number: int, row: Row) -> None:
        """One round, booked into `row`. Raises LeftOut; a failure of the gateway is in the row, and ends its stage."""
        rng = Random(f"{self.seed}:{fault.name}:{number}")
        try:
            stage = self._stage(fault.scenery)
            await play(stage, fault, rng, row)
        except (Unexpected, ProductFailed) as failed:
            row.wrong.append(f"{type(failed).__name__}: {failed}")
        except LeftOut:
            self._end(fault.scenery, keep=False)
            raise
        if row.wrong:
            self._end(fault.scenery, keep=True)

    def _stage(self, scenery: Scenery) -> Stage:
        if scenery not in self._open:
            directory = self.directory / f"stage-{self._made}"
            self._made += 1
            opened = self._open[scenery] = _Opened(directory)
            opened.begin(scenery, self.seed)
        stage = self._open[scenery].stage
        assert stage is not None
        return stage

    def _end(self, scenery: Scenery, *, keep: bool) -> None:
        opened = self._open.pop(scenery, None)
        if opened is None:
            return
        opened.resources.close()
        if keep:
            self.kept.append(opened.directory)
        else:
            shutil.rmtree(opened.directory, ignore_errors=True)


class _Opened:
    """A stage and all that has to be undone when it ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.resources = contextlib.ExitStack()
        self.stage: Stage | None = None

    def begin(self, scenery: Scenery, seed: int) -> None:
        """Raises LeftOut, ProductFailed."""
        self.directory.mkdir()
        self.directory.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        room = self.directory
        if scenery.disk_size_bytes:
            disk = SmallDisk(self.directory / "disk", scenery.disk_size_bytes)
            self.resources.callback(disk.close)
            room = disk.path
        data_dir = room / "data"
        environment = dict(scenery.environment)
        shim = None
        if scenery.fsync_shim:
            shim = FsyncShim(self.directory, data_dir)
            environment |= shim.environment
        port, admin_port = free_ports(2)
        log = self.directory / "serve.log"
        product = Product(data_dir, port=port, admin_port=admin_port, environment=environment, log=log)
        self.stage = stage = Stage(self.directory, product, seed, viewers=scenery.viewers, shim=shim)
        self.resources.callback(stage.end)
        product.start()
        product.wait_ready()


async def play(stage: Stage, fault: Fault, rng: Random, row: Row) -> None:
    """One round on a stage. Raises Unexpected, LeftOut, ProductFailed."""
    before = stage.stored
    async with stage.crowd() as crowd:
        took_s = await fault.strike(stage, rng)
        await stage.acknowledged_more()
    row.recovered_s = max(row.recovered_s, took_s)
    judgement = await stage.judge()
    row.counts = row.counts and not stage.counters_lost
    row.add(crowd.figures, judgement, before)
    await asyncio.sleep(0)
