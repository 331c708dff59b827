"""What flows through the gateway now: events in, delivered and stored a second, lag and spool; one reading for all.

Rates are taken from the counters that every process keeps for /metrics, between two readings some seconds apart.
Nothing is read while nobody asks: the first to ask waits a second for the second reading.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from prometheus_client.mmap_dict import MmapedDict

from gateway import ended_metrics
from ingest.clock import Clock
from live.shared import Shared
from live.source import Unavailable, time_text
from storage.reader_status import ReaderStatus

WINDOW_S: Final = 5.0
"""Rates are those of so long: batches of the drain and its processes' turns are smoothed away."""
BASE_S: Final = 1.0
"""Between the two readings of somebody who asks when nobody has asked for WINDOW_S."""
SHARED_S: Final = 0.25
"""A sample answers everybody who asks within this time."""
FAMILIES: Final = {
    "ingest_events_received": "received",
    "ingest_store_events": "delivered",
    "ingest_store_rows": "stored",
}
"""The counters of ingest/metrics.py and storage/metrics.py that the numbers are taken from."""
KEY_STARTS: Final = tuple(f'["{family}",' for family in FAMILIES)


class Counts(NamedTuple):
    """Events since the gateway started, over all its processes, those that have ended included."""

    received: float = 0.0
    """In bodies that could be decoded, whatever became of them."""
    delivered: float = 0.0
    """In frames that the drain of playback events is through with: rows, heartbeats, which make none, duplicates and
    dead."""
    stored: float = 0.0
    """New rows."""


class Reading(NamedTuple):
    """What is on disk at one moment."""

    counts: Counts
    reasons: list[str]
    """Why the door is not open; empty while it is."""
    readers: Mapping[str, ReaderStatus | None]
    """None: it has not told of itself yet."""
    used_bytes: int
    quota_bytes: int


class Flow:
    """One sample. Pure."""

    kind = b"gateway"

    def __init__(self, as_of_us: int, reading: Reading, rates: Counts) -> None:
        """`rates`: the same counts, a second."""
        self.as_of_us = as_of_us
        self._body = orjson.dumps(
            {
                "as_of": time_text(as_of_us),
                "ready": not reading.reasons,
                "reasons": reading.reasons,
                "received_per_s": round(rates.received, 1),
                "delivered_per_s": round(rates.delivered, 1),
                "stored_per_s": round(rates.stored, 1),
                "spool": {"used_bytes": reading.used_bytes, "quota_bytes": reading.quota_bytes},
                "readers": [reader_now(name, status, as_of_us) for name, status in reading.readers.items()],
            }
        )

    def body(self, top: int = 0) -> bytes:
        """JSON, the same whatever `top` is."""
        del top
        return self._body


def reader_now(name: str, status: ReaderStatus | None, now_us: int) -> dict[str, object]:
    """A reader as it told last: `lag_s` is the wait of its oldest frame, `age_s` since when it told. Pure."""
    if status is None:
        return {"reader": name, "state": "starting", "reason": "", "lag_s": None, "age_s": None}
    age_s = max(0.0, (now_us - status.at_us) / 1e6)
    told = {"lag_s": round(status.lag_s, 1), "age_s": round(age_s, 1)}
    return {"reader": name, "state": status.state, "reason": status.reason, **told}


def rates(before_s: float, before: Counts, now_s: float, now: Counts) -> Counts:
    """Events a second between two moments; none where a count went back, as with a gateway begun anew. Pure."""
    assert now_s > before_s
    return Counts(*(max(0.0, more - less) / (now_s - before_s) for less, more in zip(before, now, strict=True)))


def counts(directory: Path, store: str = "postgres") -> Counts:
    """Sums over the counter files of all processes in the metrics directory; `store`: the reader whose deliveries are
    told. Raises OSError."""
    found = dict.fromkeys(Counts._fields, 0.0)
    with ended_metrics.LOCK:
        for path in directory.glob("counter_*.db"):
            try:
                values = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
            except FileNotFoundError:  # somebody tidied up
                continue
            for key, value, _, _ in values:
                if key.startswith(KEY_STARTS):
                    family, _, labels, _ = orjson.loads(key)
                    if labels.get("reader", store) == store:
                        found[FAMILIES[family]] += value
    return Counts(**found)


class FlowSource:
    """Samples for all who ask, at most one reading every SHARED_S."""

    def __init__(self, read: Callable[[], Reading], clock: Clock) -> None:
        """`read` may take a while, is called in a thread, and raises OSError."""
        self._read = read
        self._clock = clock
        self._readings: deque[tuple[float, Counts]] = deque()
        """With when they were taken, monotonic; the oldest is that of a window ago."""
        self._shared = Shared(self._sample, clock)

    async def sample(self) -> Flow:
        """The shared one, or a new one, which all who wait for one get. Raises Unavailable."""
        return await self._shared.get()

    async def close(self) -> None:
        """Let go of a reading under way."""
        await self._shared.close()

    async def _sample(self) -> tuple[Flow, float]:
        if not self._readings or self._clock.monotonic_s() - self._readings[-1][0] > WINDOW_S:
            self._readings.clear()
            await self._reading()
            await asyncio.sleep(BASE_S)
        reading = await self._reading()
        now_s, now = self._readings[-1]
        while now_s - self._readings[1][0] >= WINDOW_S:
            self._readings.popleft()
        before_s, before = self._readings[0]
        return Flow(self._clock.now_us(), reading, rates(before_s, before, now_s, now)), now_s + SHARED_S

    async def _reading(self) -> Reading:
        try:
            reading = await asyncio.to_thread(self._read)
        except OSError as error:
            raise Unavailable("data_directory_unreadable", f"The data directory: {error}") from error
        self._readings.append((self._clock.monotonic_s(), reading.counts))
        return reading
