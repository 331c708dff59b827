"""What the CQL store refuses and what damage took of the spool comes into it later, once: replayed, or salvaged."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from config.scylla import ScyllaSettings
from config.settings import DeadLetterSettings, DoorSettings
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.spool.frame import HEAD_BYTES
from storage.feed import Feed
from storage.scylla.driver import CqlInvalid, Driver, Write, connected
from storage.scylla.sink import ScyllaSink
from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, stopped
from tests.acceptance.refusing import dead, letters
from tests.acceptance.test_cql_store import DRAIN_S, Cinema, cinema
from tests.acceptance.test_salvage import EVENTS, NDJSON, REQUESTS, places, posted, salvaged
from tests.acceptance.verified import verify

__all__ = ["cinema"]

HOUR_MS = 3_600_000
READERS = ("scylla_drain", "postgres_drain", "readers")


def times(cinema: Cinema, table: str) -> dict[str, list[int]]:
    """Event id → occurred_at of each of its rows, microseconds since 1970."""
    found: dict[str, list[int]] = {}
    for row in cinema.cql(f"SELECT event_id, occurred_at_us FROM {cinema.keyspace}.{table}"):
        found.setdefault(str(row.event_id), []).append(row.occurred_at_us)
    return found


def all_are_rows(cinema: Cinema, rows: set[str]) -> None:
    """Each of these, and no other, is one row of either table, and nothing differs in the books."""
    wanted = Counter(rows)
    for table in ("events_by_session", "events_by_content"):
        eventually(lambda table=table: times(cinema, table).keys() >= rows, DRAIN_S, f"all are in {table}")  # type: ignore[misc]
        assert Counter({name: len(at) for name, at in times(cinema, table).items()}) == wanted
    eventually(cinema.delivered, DRAIN_S, "all readers are through")
    code, report = verify(cinema.gateway)
    assert (code, report["differences"]) == (0, [])


async def deliver(cinema: Cinema, refused: set[str]) -> None:
    """All that is in the spool, to a cluster that refuses these events."""
    hosts, port = cinema.at
    settings = ScyllaSettings(contact_points=hosts, port=port, keyspace=cinema.keyspace, replication=1)
    data_dir, disk = cinema.gateway.data_dir, FileDisk()

    async def connect(settings: ScyllaSettings) -> Driver:
        driver = await connected(settings)
        write = driver.write

        async def refusing(writes: Sequence[Write]) -> None:
            if any(value.decode() in refused for _, values in writes for value in values if isinstance(value, bytes)):
                raise CqlInvalid("2200", "no such event")
            await write(writes)

        driver.write = refusing  # type: ignore[method-assign]
        return driver

    sink = ScyllaSink(settings, data_dir, DoorSettings(), DeadLetterSettings(), SystemClock(), disk, connect)
    feed = Feed(data_dir, disk)
    feed.seat(await sink.open())
    feed.refresh()
    while slices := feed.read(1 << 20):
        await sink.write(slices)
        feed.delivered(slices)
    feed.close()
    await sink.close()


def test_letters_of_the_cql_store_are_replayed_into_it_and_a_repaired_clock_is_repaired_alike(cinema: Cinema) -> None:
    gateway, book = cinema.gateway, Book()
    url = gateway.endpoints["http"]
    sane, broken, stored_broken = an_event(), an_event(occurred_at=HOUR_MS), an_event(occurred_at=2 * HOUR_MS)
    with stopped(pid_of(gateway, "scylla_drain")):
        book.post(url, [an_event(), sane, an_event()])
        book.post(url, [broken, stored_broken], sent_at=2 * HOUR_MS + 5_000)
        gateway.kill_everything()
    refused = {sane["event_id"], broken["event_id"]}
    asyncio.run(deliver(cinema, refused))

    gateway.start()
    url = gateway.wait_ready().endpoints["http"]
    found = letters(gateway)
    assert {one["event_id"] for one in found} == refused and {one["reason"] for one in found} == {"cql_2200"}
    before = times(cinema, "events_by_session")
    assert before.keys() == book.rows - refused
    replayed = dead(gateway, "replay", "--all")
    assert replayed.returncode == 0 and replayed.stdout.splitlines()[-1] == "2 replayed", replayed.stderr
    assert letters(gateway) == []
    book.post(url, [broken, stored_broken, sane], sent_at=3 * HOUR_MS)  # the player, once more
    all_are_rows(cinema, book.rows)
    after = times(cinema, "events_by_session")
    assert after[stored_broken["event_id"]] == before[stored_broken["event_id"]], "the time it was first received"
    (at_us,) = after[broken["event_id"]]
    assert abs(at_us - before[stored_broken["event_id"]][0]) < 1_000_000, "when it came first, not when it was replayed"
    assert abs(at_us / 1e6 - time.time()) < 300


def test_what_damage_took_is_salvaged_into_cql_once(cinema: Cinema, tmp_path: Path) -> None:
    gateway, book = cinema.gateway, Book()
    with stopped(*(pid_of(gateway, reader) for reader in READERS)):  # else the others have read what is lost
        requests = posted(gateway, book)
        gateway.kill_everything()
    (segment,) = [path for path in (gateway.data_dir / "spool").glob("*/*.open") if len(places(path)) == REQUESTS]
    at = places(segment)[1] + HEAD_BYTES + 4 * EVENTS + 40
    with segment.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))  # one bit of the second request

    gateway.start()
    url = gateway.wait_ready().endpoints["http"]
    all_are_rows(cinema, book.rows - {*requests[1]})
    _, report = verify(gateway)
    assert report["totals"]["quarantined"] == EVENTS
    output: Any = tmp_path / "events.ndjson"
    lines, done = salvaged("--data-dir", str(gateway.data_dir), "--output", str(output))
    assert done.returncode == 0 and lines[-1]["events"] == REQUESTS * EVENTS, done.stderr
    assert {json.loads(line)["event_id"] for line in output.read_text().splitlines()} == book.rows
    for _ in range(2):
        assert ask(url + "/v1/events", "POST", output.read_bytes(), NDJSON).json["rejected"] == 0
    all_are_rows(cinema, book.rows)
