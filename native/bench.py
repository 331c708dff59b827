"""Which core runs, and what each takes for an event: `./gw core`. One process, no I/O: the parts by themselves.

A table of µs an event, the least of several rounds, both cores in turn, at one event and at twenty a request.
"""

import json
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from config.settings import Core
from ingest.batch import FrameBody
from ingest.clock import SystemClock
from ingest.core import CoreMissing, chosen
from ingest.decode import decode
from ingest.spool import frame
from ingest.spool.frame import MonthTotals, Totals
from ingest.spool.framing import framing_of
from ingest.spool.state import State
from ingest.spool.window import Window
from storage.postgres.batch import sort
from storage.postgres.fingerprint import Fingerprints
from storage.redis.sign import batches
from storage.sink import Slice

REQUESTS = 200
ROUNDS = 9
NOW_US = 1_795_000_000_000_000


def event(number: int) -> dict[str, Any]:
    """One as players send them: 20 sessions, every id new."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW_US // 1_000_000 - number % 60))
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": ("play", "heartbeat", "seek", "pause")[number % 50 % 4],
        "content_id": str(uuid.UUID(int=number % 7 + 1)),
        "session_id": str(uuid.UUID(int=number % 20 + 1)),
        "sequence": number,
        "occurred_at": f"{at}.{number % 1000:03d}Z",
        "position": number % 5_400,
        "duration": 5_400,
        "quality": "1080p",
        "bitrate": 4_800 + number % 3,
        "device_type": "tv",
        "platform": "tizen",
        "cdn_edge": "fra-03",
        "app_version": "3.2.1",
        "country": "DE",
    }


def bodies(events_count: int) -> list[bytes]:
    """Requests of so many events each."""
    rows = [event(number) for number in range(REQUESTS * events_count)]
    return [
        json.dumps({"sent_at": NOW_US // 1_000, "events": rows[at : at + events_count]}).encode()
        for at in range(0, len(rows), events_count)
    ]


def parts(events_count: int) -> dict[str, Callable[[], Any]]:
    """Name → what is timed; each goes over all requests once."""
    requests = bodies(events_count)
    framed: list[FrameBody] = [body for one in requests for body in decode(one, "json", NOW_US).bodies]
    totals, months, seed = Totals(), MonthTotals(), 7
    log = b"".join(frame.encode(body, number, NOW_US, months, totals, (), seed) for number, body in enumerate(framed))
    window = Window(lambda offset, size_bytes: log[offset : offset + max(size_bytes, len(log))], seed)
    runs = window.runs(0, 0, len(framed), len(log))[0]
    assert runs[-1].until == len(framed)
    slices = [Slice("5b" * 16, 0, runs, State(len(framed)), [])]

    def decoding() -> None:
        for body in requests:
            decode(body, "json", NOW_US)

    def framing() -> None:
        made = framing_of(seed)
        for body in framed:
            made.add(body, NOW_US)
        made.take_out()

    def reading() -> None:
        window.runs(0, 0, len(framed), len(log))

    def suspecting() -> None:
        sort(slices, Fingerprints(1_000_000))

    def copying() -> None:
        for stretch in sort(slices, Fingerprints(1_000_000)).plain:
            for piece in stretch.pieces():
                assert piece

    def counting() -> None:
        for batch in batches(slices, NOW_US, 100_000_000):
            assert batch.frames

    return {
        "decode": decoding, "frame": framing, "read": reading, "suspect": suspecting, "and to COPY": copying,
        "count": counting,
    }  # fmt: skip


def measured(events_count: int, cores: list[Core]) -> dict[str, dict[Core, float]]:
    """Part → core → µs an event."""
    clock, found = SystemClock(), dict[str, dict[Core, float]]()
    for name, part in parts(events_count).items():
        least_s: dict[Core, float] = {}
        for _ in range(ROUNDS):
            for core in cores:
                chosen.choose(core)
                began_s = clock.monotonic_s()
                part()
                least_s[core] = min(least_s.get(core, 1e9), clock.monotonic_s() - began_s)
        found[name] = {core: seconds / REQUESTS / events_count * 1e6 for core, seconds in least_s.items()}
    return found


def main() -> None:
    cores: list[Core] = ["python", "rust"]
    try:
        chosen.choose("rust")
    except CoreMissing as missing:
        sys.stdout.write(f"python runs: {missing}\n")
        cores = ["python"]
    else:
        sys.stdout.write("rust runs\n")
    for events_count in (20, 1):
        sys.stdout.write(f"\nµs an event, {events_count} a request\n")
        for name, by_core in measured(events_count, cores).items():
            times = "   ".join(f"{core} {us:6.2f}" for core, us in by_core.items())
            ratio = f"   ×{by_core['python'] / by_core['rust']:.1f}" if "rust" in by_core else ""
            sys.stdout.write(f"{name:12} {times}{ratio}\n")


if __name__ == "__main__":
    main()
