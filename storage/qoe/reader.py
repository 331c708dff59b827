"""The sink `qoe`: a fold in memory, which moves together with its positions, and is written now and then.

A restart goes on from what was written last. Without it, or where the spool has let something go, it goes on with what
is there: windows are shorter for a while (`since`), and nothing is wrong. So it never holds the spool back.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from config.settings import QoeSettings
from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage import metrics
from storage.qoe.answer import Told, Window, told
from storage.qoe.beginning import beginnings
from storage.qoe.fold import MEMORY_US, Fold
from storage.qoe.sign import UnknownSchema, read
from storage.qoe.state import Damaged, StateFile
from storage.sink import SinkFenced, SinkRefused, SinkUnavailable, Slice

log: Any = structlog.get_logger()

SAVED_S: Final = 5.0
"""Between writes of the file …"""
SAVED_FACTOR: Final = 20
"""… or so many times what the last one took: a twentieth of the disk's time, and of ours."""
CAUGHT_UP_US: Final = 3_000_000
"""Whoever reads what was received so lately has read everything."""
SHOWN_S: Final = 5.0
"""Between updates of the metrics."""
SHOWN_MIN: Final = 5
"""Minutes that they are of."""


class Quality:
    """An EventSink. `leases_us`: how long a session may be silent, by class of heartbeats."""

    reader = "qoe"

    def __init__(
        self, settings: QoeSettings, leases_us: Sequence[int], data_dir: Path, disk: Disk, clock: Clock
    ) -> None:
        self._settings = settings
        self._leases_us = leases_us
        self._spool = data_dir / "spool"
        self._disk = disk
        self._clock = clock
        self._file = StateFile(data_dir, disk)
        self._fold: Fold | None = None
        self._positions: dict[str, int] = {}
        self._save_at_s = self._show_at_s = 0.0
        self._late = 0
        """As the metrics know it."""

    async def open(self) -> dict[str, int]:
        """Read the file, once; where to go on, of what the spool holds. Raises SinkUnavailable."""
        try:
            fold, known = self._fold, self._positions
            if fold is None:
                fold, found = self._restored()
                known, self._late = found or {}, fold.late
            now_us = self._clock.now_us()
            positions, lacks = beginnings(self._disk, self._spool, known, (now_us - MEMORY_US) / 1e6)
        except OSError as error:
            raise SinkUnavailable(f"The spool or the state cannot be read: {error}") from error
        if lacks and fold.since_us:
            log.warning("qoe_gap", since_us=now_us)
            fold.since_us = now_us
        self._fold, self._positions = fold, positions
        return dict(positions)

    async def write(self, slices: Sequence[Slice]) -> None:
        """Fold what the slices hold; without slices, let time pass. Raises SinkRefused: frames of a newer gateway."""
        fold = self._fold
        if fold is None:
            raise SinkUnavailable("Not open.")
        for one in slices:
            if self._positions.get(one.incarnation, 0) != one.begin:
                raise SinkFenced(one.incarnation)
        received_us = []
        for one in slices:
            for run in one.runs:
                fold.since_us = fold.since_us or run.outline.received_us
                self._take(fold, run)
                await asyncio.sleep(0)  # the other readers of this process have their turn
            if one.runs:
                received_us.append(one.runs[-1].outline.received_us)
            self._positions[one.incarnation] = one.state.sequence
        now_us = self._clock.now_us()
        read_us = min(received_us, default=now_us)
        fold.tick(now_us if now_us - read_us < CAUGHT_UP_US else read_us)
        self._show(fold)
        if self._clock.monotonic_s() >= self._save_at_s:
            await self._save(fold)

    async def close(self) -> None:
        """Write the file, for who comes next."""
        if self._fold is not None:
            await self._save(self._fold)

    def figures(self, by: str | None, window_min: int, top: int) -> tuple[Window, int] | None:
        """What answer.told says, and how many sessions each that is followed stands for; None before it is open."""
        fold = self._fold
        if fold is None or not fold.since_us:
            return None
        return told(fold, by, window_min, self._clock.now_us(), top), 1 << fold.zero_bits

    def _restored(self) -> tuple[Fold, dict[str, int] | None]:
        """Raises OSError."""
        fold = self._empty()
        try:
            return fold, self._file.read_into(fold)
        except Damaged as error:
            log.error("qoe_state_damaged", error=str(error.__cause__ or error))
            return self._empty(), None

    def _empty(self) -> Fold:
        return Fold(self._settings.sessions_max, self._settings.signs_per_s_max, self._leases_us)

    def _take(self, fold: Fold, run: Any) -> None:
        try:
            reading = read(run, fold.zero_bits)
            fold.take(reading.signs)
        except UnknownSchema as error:
            raise SinkRefused(f"The spool holds frames of a newer gateway: {error}") from error
        metrics.QOE_OLD.inc(reading.old << fold.zero_bits)

    async def _save(self, fold: Fold) -> None:
        started_s = self._clock.monotonic_s()
        try:
            await asyncio.to_thread(self._file.write, self._file.encoded(fold, self._positions))
        except OSError as error:  # a full disk, say: a restart would go on from an older one
            log.warning("qoe_state_not_written", error=str(error))
        now_s = self._clock.monotonic_s()
        self._save_at_s = now_s + max(SAVED_S, SAVED_FACTOR * (now_s - started_s))

    def _show(self, fold: Fold) -> None:
        metrics.QOE_LATE.inc(max(fold.late - self._late, 0) << fold.zero_bits)
        self._late = fold.late
        now_s = self._clock.monotonic_s()
        if now_s < self._show_at_s:
            return
        self._show_at_s = now_s + SHOWN_S
        (group,) = told(fold, None, SHOWN_MIN, self._clock.now_us()).groups
        metrics.QOE_FOLLOWED.set(len(fold.sessions))
        metrics.QOE_STANDS_FOR.set(1 << fold.zero_bits)
        _show_group(group)


def _show_group(group: Told) -> None:
    metrics.QOE_SESSIONS.set(group.sessions)
    for gauge, value in (
        (metrics.QOE_STALLED_SHARE, group.stalled_share),
        (metrics.QOE_FAILURE_SHARE, group.playback_failure_share),
        (metrics.QOE_LOSS_SHARE, group.delivery_loss_share),
        (metrics.QOE_BITRATE, group.average_bitrate_kbps),
        (metrics.QOE_STARTUP_P50, None if group.startup_ms.p50 is None else group.startup_ms.p50 / 1_000),
        (metrics.QOE_STARTUP_P95, None if group.startup_ms.p95 is None else group.startup_ms.p95 / 1_000),
    ):
        gauge.set(float("nan") if value is None else value)
