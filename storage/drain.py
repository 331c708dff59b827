"""The loop both stores share: read what is on disk, write it with its position, and go on, whatever happens to the
store.

    open ─▶ seat readers at the store's positions ─▶ ┌ read ─▶ write rows + position ─▶ remember ┐ ─▶ …
      ▲                                              └───────────────────────────────────────────┘
      ├── SinkUnavailable: backoff with jitter; the store says where it stands, so an unknown outcome settles itself
      ├── SinkFenced: another drain is at work; opened again, red if that does not end it
      └── SinkLost, SinkRefused, SpoolRefused: red; tried again every ten seconds, nothing dropped

An incarnation that the disk does not give is red, too, and tried again; the others are delivered meanwhile.
"""

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from ingest.clock import Clock
from ingest.spool import segment
from ingest.spool.disk import Disk
from storage import metrics, reader_status
from storage.backoff import delay_s
from storage.feed import Feed, SpoolRefused
from storage.pace import ANSWER_S, Pace
from storage.reader_status import DrainState, ReaderStatus
from storage.sink import EventSink, SinkFenced, SinkLost, SinkRefused, SinkUnavailable, Slice, StoreError

log: Any = structlog.get_logger()

IDLE_S = 0.02
"""Between looks at the watermarks when there was nothing: a memory read each, and the lag of a lone event."""
REFRESH_S = 0.2
"""Between looks for new incarnations."""
RED_RETRY_S = 10.0
"""Between tries to open a store that an engineer has to look at."""
PROBE_S = 5.0
"""Without anything to write: until the store is asked whether it is there, by a batch of nothing."""
STATUS_S = 1.0
"""Between writes of DATA/run/<reader>.json."""
FENCED_MAX = 3
"""Lost races for a position in a row until this drain says that another one is at work."""


async def run(
    sink: EventSink,
    data_dir: Path,
    *,
    batch_max_bytes: int,
    batch_interval_ms: int,
    ad_batch_interval_ms: int = 0,
    clock: Clock,
    disk: Disk,
    stop: asyncio.Event,
    finishing: Callable[[], bool] = lambda: False,
    derivable: bool = False,
    share_max: float = 1.0,
    answer_s: float = ANSWER_S,
    chance: Callable[[], float] = random.random,
) -> None:
    """Deliver until `stop` is set; the write under way is finished first, and as long as `finishing()` also what else
    is on disk, unless the store fails.

    A write holds up to `batch_max_bytes`, less while one takes longer than `answer_s`; those that are not full are at
    least `batch_interval_ms` apart, `ad_batch_interval_ms` where ad events are among them. `derivable`: a lost store is
    `rebuild_needed` instead of `red`. `share_max`: of the time, that writes may take (0 to 1). 0 <= `chance()` < 1.
    """
    intervals_s = batch_interval_ms / 1_000, max(batch_interval_ms, ad_batch_interval_ms) / 1_000
    rest, pace = (1 - share_max) / share_max, Pace(batch_max_bytes, answer_s)
    drain = Drain(sink, data_dir, pace, intervals_s, rest, clock, disk, stop, finishing, derivable, chance)
    async with asyncio.TaskGroup() as running:
        reporting = running.create_task(drain.report())
        try:
            await drain.deliver()
        finally:
            reporting.cancel()


class Drain:
    """The state of one `run`."""

    def __init__(
        self,
        sink: EventSink,
        data_dir: Path,
        pace: Pace,
        intervals_s: tuple[float, float],
        rest: float,
        clock: Clock,
        disk: Disk,
        stop: asyncio.Event,
        finishing: Callable[[], bool],
        derivable: bool,
        chance: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._data_dir = data_dir
        self._pace = pace
        self._interval_s, self._ad_interval_s = intervals_s
        self._rest = rest
        """After a write, in its durations."""
        self._clock = clock
        self._stop = stop
        self._finishing = finishing
        self._derivable = derivable
        self._chance = chance
        self._feed = Feed(data_dir, disk).expecting(reader_status.last_positions(data_dir, sink.reader))
        self._attempt = 0
        self._fenced = 0
        self._state: DrainState = "waiting"
        self._reason = "not opened yet"
        self._last_error: str | None = None
        self._last_success_us: int | None = None
        self._delivered_events = 0
        self._oldest_us: int | None = None
        """When the oldest frame in hand was received."""
        self._behind_since_us: int | None = None

    async def deliver(self) -> None:
        """Sessions with the store, one after the other."""
        try:
            while not self._stop.is_set():
                try:
                    await self._session()
                except StoreError as error:
                    wait_s = self._failed(error)
                except OSError as error:  # the spool's disk, not the store: drivers' errors are translated by the sink
                    wait_s = self._failed(SinkUnavailable(f"The spool cannot be read: {error}"))
                else:
                    return
                await self._sink.close()
                await self._sleep(wait_s)
        finally:
            await self._sink.close()
            self._feed.close()
            self._set("waiting", "stopped")
            self._write_status()

    async def report(self) -> None:
        """Write the status every second, also while a write hangs."""
        while True:
            self._write_status()
            await asyncio.sleep(STATUS_S)

    async def _session(self) -> None:
        positions = await self._opened()
        if positions is None:
            return
        self._feed.seat(positions)
        refresh_at_s = 0.0
        probe_at_s = self._clock.monotonic_s() + PROBE_S
        last_look = False
        while not self._stop.is_set() or self._finishing():
            started_s = self._clock.monotonic_s()
            if self._stop.is_set() and not last_look:
                last_look, refresh_at_s = True, started_s  # nobody adds to the spool any more
            if started_s >= refresh_at_s:
                self._feed.refresh()
                refresh_at_s = started_s + REFRESH_S
                trouble = self._feed.trouble
                self._set("red" if trouble else "running", trouble)
            read_us = self._clock.now_us()
            slices = self._feed.read(self._pace.size_bytes)
            if not slices:
                if last_look:
                    return
                self._oldest_us = None
                if started_s >= probe_at_s:
                    await self._sink.write([])
                    probe_at_s = started_s + PROBE_S
                await self._sleep(IDLE_S)
                continue
            probe_at_s = started_s + PROBE_S
            received = [one.runs[0].outline.received_us for one in slices if one.runs]
            self._oldest_us = min(received, default=None)
            size_bytes, full_bytes = sum(one.size_bytes for one in slices), self._pace.size_bytes
            try:
                await self._sink.write(slices)
            except SinkUnavailable:
                self._pace.failed(self._clock.monotonic_s() - started_s)
                raise
            self._feed.delivered(slices)
            # what is there now came later than that; in steady traffic there is always something
            is_rest = size_bytes >= full_bytes // 2  # a bite may be full: then what is left came before it was read
            lasts = [one.runs[-1].outline.received_us for one in slices if one.runs] if is_rest else []
            self._behind_since_us = min(lasts, default=read_us)
            took_s = self._clock.monotonic_s() - started_s
            self._pace.answered(size_bytes, took_s)
            self._succeeded(slices, took_s)
            rest_s = took_s * self._rest
            if size_bytes < full_bytes // 2:
                interval_s = self._ad_interval_s if any(one.has_ads for one in slices) else self._interval_s
                rest_s = max(rest_s, started_s + interval_s - self._clock.monotonic_s())
            if rest_s > 0:
                await self._sleep(rest_s)

    async def _opened(self) -> dict[str, int] | None:
        """Where the store stands; None when `stop` came first to one that is derivable: counting anew may take minutes,
        and is begun again by the next start.
        """
        if not self._derivable:
            return await self._sink.open()
        opening = asyncio.ensure_future(self._sink.open())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else None
        finally:
            stopping.cancel()
            if not opening.done():
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)

    def _succeeded(self, slices: list[Slice], took_s: float) -> None:
        self._attempt = self._fenced = 0
        self._oldest_us = None
        self._last_success_us = self._clock.now_us()
        reader = self._sink.reader
        events = sum(one.events for one in slices)
        self._delivered_events += events
        metrics.STORE_EVENTS.labels(reader).inc(events)
        metrics.STORE_WRITES.labels(reader).inc()
        metrics.STORE_WRITE_SECONDS.labels(reader).observe(took_s)
        for lost in (lost for one in slices for lost in one.lost):
            metrics.STORE_QUARANTINED.labels(reader, "row").inc(max(lost.rows, 0))
            metrics.STORE_QUARANTINED.labels(reader, "signal").inc(max(lost.signals, 0))

    def _failed(self, error: StoreError) -> float:
        """Say so; how long to wait until the next try, in seconds."""
        reader, name = self._sink.reader, type(error).__name__
        metrics.STORE_FAILURES.labels(reader, name).inc()
        self._last_error = str(error)
        state: DrainState = "red"
        wait_s = RED_RETRY_S
        if isinstance(error, SinkFenced):
            metrics.STORE_POSITION_ERRORS.labels(reader).inc()
            self._fenced += 1
            if self._fenced < FENCED_MAX:
                state, wait_s = "waiting", delay_s(self._fenced, self._chance)
        elif isinstance(error, SinkLost):
            state = "rebuild_needed" if self._derivable else "red"
        elif not isinstance(error, SinkRefused | SpoolRefused):
            state, wait_s = "waiting", delay_s(self._attempt, self._chance)
            self._attempt += 1
        self._set(state, str(error))
        log.error(
            "drain_failed", reader=reader, state=state, error=name, detail=str(error), retry_in_s=round(wait_s, 3)
        )
        return wait_s

    def _set(self, state: DrainState, reason: str = "") -> None:
        if state == "running" != self._state:
            log.info("drain_running", reader=self._sink.reader)
        self._state, self._reason = state, reason

    async def _sleep(self, wait_s: float) -> None:
        """At most so long; less when it is time to stop."""
        if wait_s <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._stop.wait()
        except TimeoutError:
            pass

    def _write_status(self) -> None:
        now_us, reader = self._clock.now_us(), self._sink.reader
        try:
            lag = self._feed.lag()
        except (OSError, segment.UnknownVersion) as error:
            log.warning("lag_unknown", reader=reader, error=str(error))
            return
        if not lag.frames:
            self._behind_since_us = None
        elif self._behind_since_us is None:
            self._behind_since_us = now_us
        since_us = self._oldest_us if self._oldest_us is not None else self._behind_since_us
        lag_s = max(0.0, (now_us - since_us) / 1e6) if lag.frames and since_us is not None else 0.0
        metrics.STORE_UP.labels(reader).set(self._state == "running")
        metrics.STORE_LAG_FRAMES.labels(reader).set(lag.frames)
        metrics.STORE_LAG_BYTES.labels(reader).set(lag.size_bytes)
        metrics.STORE_LAG_SECONDS.labels(reader).set(lag_s)
        status = ReaderStatus(
            reader=reader,
            state=self._state,
            reason=self._reason,
            pid=os.getpid(),
            at_us=now_us,
            positions=dict(self._feed.positions) if self._feed.is_seated else {},
            delivered_events=self._delivered_events,
            last_success_us=self._last_success_us,
            last_error=self._last_error,
            lag_frames=lag.frames,
            lag_s=lag_s,
        )
        reader_status.write(self._data_dir, status)
