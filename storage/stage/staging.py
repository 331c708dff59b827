"""The stage's loop: read what is new ─▶ hold it ─▶ judge what is ripe ─▶ keep and write it ─▶ move the positions.

It is a drain whose store is its own; what differs is that it holds lines for a while, and its positions move behind
those that were judged.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, cast

from ingest.batch import HEARTBEAT_SHIFT, KIND_CMCD, MONTH_CMCD
from ingest.clock import Clock
from ingest.spool.disk import Disk
from ingest.spool.run import Run
from storage import metrics
from storage.drain import REFRESH_S, Drain
from storage.pace import Pace
from storage.sink import EventSink, Slice
from storage.stage.books import Books, booked
from storage.stage.line import Line
from storage.stage.session import judge, silent
from storage.stage.state_file import Position, Turn
from storage.stage.store import Store, translated
from storage.stage.stream import Stream
from storage.stage.verdict import Verdicts
from storage.stage.window import WINDOW_US, Progress, Window

IDLE_S: Final = 0.1
"""Between looks when nothing is ripe: of the two seconds that lines wait, little."""
TURN_S: Final = 0.2
"""Between turns: fewer commits for the same lines."""
SAVED_S: Final = 2.0
"""Between turns that only move positions, past frames without a line."""
BITE_BYTES: Final = 1024 * 1024
HELD_MAX: Final = 50_000
"""Lines, some 1.2 KB each; then nothing is read until some are judged, if need be before their time."""
HURRY_US: Final = 200_000
LINES_MAX: Final = 5_000
"""Of a turn, nearly: some 75 ms of work, in which the process hears nothing."""
TURN_MAX_S: Final = 0.2
"""Of it, however dear its lines are."""
STALLED_S: Final = 10.0
"""An incarnation that promises frames and brings none for so long holds the others' lines up no longer."""
SILENT_US: Final = 30 * 60 * 1_000_000
"""A stream of which nothing came for so long has ended."""
SWEEP_S: Final = 60.0
SWEPT_MAX: Final = 1_000
"""Streams at once."""


async def run(store: Store, data_dir: Path, past_s: int, clock: Clock, disk: Disk, stop: asyncio.Event) -> None:
    """Until `stop`. Lines that are not ripe by then are their spools', for who comes next. `past_s`: the door limit."""
    staging = Staging(store, data_dir, past_s, clock, disk, stop)
    async with asyncio.TaskGroup() as running:
        reporting = running.create_task(staging.report())
        try:
            await staging.deliver()
        finally:
            reporting.cancel()


class Staging(Drain):
    """The state of one `run`."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        past_s: int,
        clock: Clock,
        disk: Disk,
        stop: asyncio.Event,
        chance: Callable[[], float] = random.random,
    ) -> None:
        sink = cast(EventSink, store)  # what of it writes is here
        super().__init__(
            sink, data_dir, Pace(BITE_BYTES), (TURN_S, TURN_S), 0.0, clock, disk, stop, lambda: False, False, chance
        )
        self._store = store
        self._past_us = past_s * 1_000_000
        self._begin()

    def _begin(self) -> None:
        """Nothing is held."""
        self._window = Window()
        self._progress: dict[str, Progress] = {}
        self._read_us: dict[str, int] = {}
        """Incarnation → the latest receipt of its frames that was read."""
        self._lost: dict[str, int] = {}
        self._unread: dict[str, tuple[int, float]] = {}
        """Incarnation of which more is promised → up to where it was read, and since when that is so."""
        self._stalled: set[str] = set()

    async def _session(self) -> None:
        positions = await self._store.open()
        self._begin()
        self._feed.seat(positions)
        refresh_at_s = turn_at_s = 0.0
        saved_at_s = sweep_at_s = self._clock.monotonic_s()
        while not self._stop.is_set():
            started_s, now_us = self._clock.monotonic_s(), self._clock.now_us()
            if started_s >= refresh_at_s:
                self._feed.refresh()
                refresh_at_s = started_s + REFRESH_S
                self._look_for_stalled(started_s)
                trouble = "; ".join(filter(None, (self._feed.trouble, self._stalled_words())))
                self._set("red" if trouble else "running", trouble)
            is_fresh = self._has_room(now_us) and self._take(self._feed.read(BITE_BYTES))
            until_us = self._ripe_until_us(now_us)
            self._oldest_us = self._window.oldest_us
            if self._is_ripe(until_us) and started_s >= turn_at_s:
                await self._turn(until_us)
                is_behind = self._window.lines >= LINES_MAX
                turn_at_s, saved_at_s = started_s + (0 if is_behind else TURN_S), started_s
            elif started_s >= saved_at_s + SAVED_S:
                await self._keep({}, Verdicts(), 0)
                saved_at_s = started_s
            if started_s >= sweep_at_s + SWEEP_S:
                await self._sweep(until_us)
                sweep_at_s = started_s
            is_late = self._window.lines >= LINES_MAX and self._is_ripe(until_us)
            await self._sleep(0 if is_fresh or is_late else IDLE_S)

    def _look_for_stalled(self, now_s: float) -> None:
        """Who promises more than it brings."""
        before, self._unread = self._unread, {}
        for name, sequence in self._feed.unread().items():
            known = before.get(name)
            self._unread[name] = known if known is not None and known[0] == sequence else (sequence, now_s)
        if self._window.lines >= HELD_MAX:  # nothing is read
            self._unread.clear()
        self._stalled = {name for name, (_, since_s) in self._unread.items() if now_s > since_s + STALLED_S}

    def _stalled_words(self) -> str:
        return "; ".join(f"{name} promises frames that cannot be read" for name in sorted(self._stalled))

    def _is_ripe(self, until_us: int) -> bool:
        oldest_us = self._window.oldest_us
        return oldest_us is not None and oldest_us <= until_us

    def _has_room(self, now_us: int) -> bool:
        """Who is behind judges what is ripe before it reads on: what was just read is still at hand."""
        lines = self._window.lines
        return lines < LINES_MAX or (lines < HELD_MAX and not self._is_ripe(self._ripe_until_us(now_us)))

    def _take(self, slices: Sequence[Slice]) -> bool:
        """Hold what is new; whether something was."""
        is_fresh = False
        for one in slices:
            name = one.incarnation
            progress = self._progress.get(name)
            if progress is None:
                progress = self._progress[name] = Progress(one.begin)
            for run in one.runs:
                is_fresh = True
                outline = run.outline
                self._read_us[name] = outline.received_us if outline.sane_us is None else outline.sane_us[1]
                if any(kind == KIND_CMCD for kind, _, _ in outline.forms):
                    self._hold(run, progress)
            for lost in one.lost:
                lines = sum(totals.rows for month, totals in lost.months if month == MONTH_CMCD)
                self._lost[name] = self._lost.get(name, 0) + lines
            progress.read_until = max(progress.read_until, one.state.sequence)
        return is_fresh

    def _hold(self, run: Run, progress: Progress) -> None:
        """Frames that came before, because their incarnation could not be read for a while, are here already."""
        if run.packed is None:
            frames: Iterable[list[Line]] = self._lines(run, progress)
        else:
            frames = run.packed.lines(Line, progress.read_until, progress.add)
        for lines in frames:
            self._window.add(lines)

    def _lines(self, run: Run, progress: Progress) -> Iterator[list[Line]]:
        for frame in run.frames:
            if frame.kind == KIND_CMCD and frame.sequence >= progress.read_until:
                origin = progress.add(frame.sequence, frame.count, frame.flags >> HEARTBEAT_SHIFT)
                yield [Line(row, origin) for row in frame.tuples()]

    def _ripe_until_us(self, now_us: int) -> int:
        """Lines received by then are ripe: everything that was received WINDOW_US later was read."""
        until_us = self._read_up_to_us(now_us) - WINDOW_US
        oldest_us = self._window.oldest_us
        if oldest_us is not None and (oldest_us > now_us + WINDOW_US or self._window.lines >= HELD_MAX):
            return max(until_us, oldest_us + HURRY_US)  # the clock was set back, or there is no room to wait
        return until_us

    def _read_up_to_us(self, now_us: int) -> int:
        """Everything that was received by then was read; 0: of some incarnation nothing was."""
        unread = [self._read_us.get(name, 0) for name in self._feed.unread() if name not in self._stalled]
        return min([now_us, *unread])

    async def _turn(self, until_us: int) -> None:
        """Judge what is ripe."""
        started_s = self._clock.monotonic_s()
        verdicts = Verdicts()
        streams, lines = self._store.streams, 0
        for ripe in self._window.ripe(until_us, LINES_MAX):
            with translated():
                stream = streams.touched(ripe.key)
            found = judge(stream, ripe.lines, ripe.ahead)
            verdicts += found
            verdicts.folded += found.folded
            lines += len(ripe.lines)
            if self._clock.monotonic_s() > started_s + TURN_MAX_S:
                break
        await self._keep({}, verdicts, lines)
        self._attempt = 0
        self._last_success_us = self._clock.now_us()
        metrics.STORE_WRITES.labels(self._store.reader).inc()
        metrics.STORE_WRITE_SECONDS.labels(self._store.reader).observe(self._clock.monotonic_s() - started_s)

    async def _sweep(self, until_us: int) -> None:
        """End what fell silent, forget what nobody will send again. Raises SinkUnavailable, SinkLost."""
        with translated():
            await self._swept(until_us)

    async def _swept(self, until_us: int) -> None:
        store = self._store
        while ended := await asyncio.to_thread(store.streams.silent, until_us - SILENT_US, SWEPT_MAX):
            verdicts = Verdicts(verdict for stream in ended.values() for verdict in silent(stream))
            await self._keep(ended, verdicts, 0)
        while await asyncio.to_thread(store.file.forget, until_us - self._past_us, SWEPT_MAX) == SWEPT_MAX:
            pass
        await asyncio.to_thread(store.make_room, SWEPT_MAX)

    async def _keep(self, ended: dict[bytes, Stream], verdicts: Verdicts, lines: int) -> None:
        """One transaction: what was decided, and how far."""
        positions = {}
        for name, progress in self._progress.items():
            sequence, judged_lines = progress.judged()
            lost = self._lost.pop(name, 0)
            if lost or sequence > self._feed.positions.get(name, 0):
                positions[name] = Position(sequence, judged_lines, lost)
        if not (positions or verdicts or lines or ended):
            return
        streams, books = self._store.streams, booked(lines, verdicts)
        await self._store.turn(Turn(positions, streams.opened, streams.kept, ended, books), verdicts)
        streams.settle()
        self._feed.positions.update((name, position.sequence) for name, position in positions.items())
        # in steady traffic there is always something to be read; what is held is older, and says so itself
        self._behind_since_us = self._read_up_to_us(self._clock.now_us()) or self._behind_since_us
        self._delivered_events += lines
        _count(books)


def _count(books: Books) -> None:
    metrics.STORE_EVENTS.labels(Store.reader).inc(books.lines)
    metrics.STAGE_EVENTS.labels("row").inc(books.rows)
    metrics.STAGE_EVENTS.labels("signal").inc(books.signals)
    metrics.STAGE_FOLDED.inc(books.folded)
