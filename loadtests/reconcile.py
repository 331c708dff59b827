"""The ledger against the stores: `python -m loadtests.reconcile --endpoints DIR/endpoints.json LEDGER…`.

Every acknowledged event is one row with the values that were sent, no event is a row twice, no row is there that nobody
sent, and Redis counts the views that the ledger counts. Exit code 0 when all of that holds, 1 when not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import redis.asyncio as redis

from loadtests.expectation import NOTHING, Views, differing_columns, expected_views
from loadtests.ledger import RESEND_STATUSES, Entry, Identity, Ledger

ROWS_SQL: Final = """
SELECT event_id, content_id, session_id, occurred_at, received_at, event_type, test, sent_at, sequence, position,
       duration, profile_id, quality, bitrate, device_type, platform, cdn_edge, buffer_duration, startup_ms,
       error_code, player, app_version, country, metadata
  FROM playback_events
"""
COUNT_SQL: Final = "SELECT count(*) FROM playback_events"
VIEW_KEY_PREFIX: Final = b"{ingest}:views:"
EXAMPLES_COUNT: Final = 5  # how many of each kind of difference a report spells out


@dataclass(slots=True)
class Report:
    """What differs, by kind; empty lists throughout are what one hopes for."""

    acknowledged: int = 0
    stored: int = 0
    views: int = 0
    missing: list[Identity] = field(default_factory=list)
    doubled: list[Identity] = field(default_factory=list)
    foreign: list[Any] = field(default_factory=list)  # rows that nobody sent, or that an answer refused
    altered: list[tuple[Identity, dict[str, tuple[Any, Any]]]] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # answers that contradict themselves, or that nobody should get

    @property
    def equal(self) -> bool:
        return not (self.missing or self.doubled or self.foreign or self.altered or self.miscounted or self.odd)

    def text(self) -> str:
        """The report for people: one line of figures, then examples of each kind of difference."""
        kinds = ("missing", "doubled", "foreign", "altered", "miscounted", "odd")
        figures = ", ".join(f"{kind} {len(getattr(self, kind))}" for kind in kinds)
        lines = [
            f"acknowledged rows {self.acknowledged}, stored {self.stored}, views {self.views}: {figures}",
            *(f"  {kind}: {example}" for kind in kinds for example in getattr(self, kind)[:EXAMPLES_COUNT]),
        ]
        return "\n".join([*lines, "equal" if self.equal else "NOT EQUAL"])


def compare_rows(ledger: Ledger, rows: Iterable[Mapping[str, Any]], report: Report) -> None:
    """Match every stored row with the event that it came from, by id, else by session and sequence."""
    report.acknowledged = ledger.acknowledged_rows()
    stored: Counter[Identity] = Counter()
    for row in rows:
        report.stored += 1
        key, entry = _sent_as(ledger, row)
        if entry is None or not entry.is_row or not entry.may_be_kept:
            report.foreign.append((str(row["event_id"]), row["event_type"], str(row["session_id"]), row["sequence"]))
            continue
        stored[key] += 1
        if stored[key] > 1:
            report.doubled.append(key)
        elif different := differing_columns(entry, row):
            report.altered.append((key, different))
    report.missing = [
        key for key, entry in ledger.entries.items() if entry.acknowledged and entry.is_row and key not in stored
    ]


def _sent_as(ledger: Ledger, row: Mapping[str, Any]) -> tuple[Identity, Entry | None]:
    by_id: Identity = ("id", str(row["event_id"]))
    if (entry := ledger.entries.get(by_id)) is not None:
        return by_id, entry
    by_sequence: Identity = ("sequence", str(row["session_id"]), row["sequence"])
    return by_sequence, ledger.entries.get(by_sequence)


def compare_views(expected: Views, counted: Mapping[tuple[UUID, int], int], report: Report) -> None:
    """Hold the counts of Redis, by (content, hour since 1970), against the bounds of the ledger."""
    by_content: Counter[UUID] = Counter()
    for (content_id, hour), views in counted.items():
        by_content[content_id] += views
        report.views += views
        bounds = expected.by_hour.get((content_id, hour), NOTHING)
        if not bounds.hold(views):
            report.miscounted.append(f"content {content_id} hour {hour}: {views} views, expected {bounds}")
    for (content_id, hour), bounds in expected.by_hour.items():
        if bounds.least and (content_id, hour) not in counted:
            report.miscounted.append(f"content {content_id} hour {hour}: no views, expected {bounds}")
    for content_id in by_content.keys() | expected.by_content.keys():
        bounds = expected.by_content.get(content_id, NOTHING)
        if not bounds.hold(by_content[content_id]):
            report.miscounted.append(f"content {content_id}: {by_content[content_id]} views, expected {bounds}")


def own_faults(ledger: Ledger) -> list[str]:
    """Answers that no client should ever see: 500 is only a bug of the gateway (DESIGN §3)."""
    return [
        f"{times} answers of {status}"
        for status, times in sorted(ledger.statuses.items())
        if status >= 500 and status not in RESEND_STATUSES
    ]


async def stored_rows(postgres: asyncpg.Connection, contents: Sequence[UUID] | None) -> list[Mapping[str, Any]]:
    """All rows, or those of `contents`."""
    if contents is None:
        return list(await postgres.fetch(ROWS_SQL))
    return list(await postgres.fetch(ROWS_SQL + " WHERE content_id = ANY($1::uuid[])", contents))


async def rows_in_postgres(url: str, contents: Sequence[UUID] | None) -> list[Mapping[str, Any]]:
    """As `stored_rows`."""
    postgres = await asyncpg.connect(url)
    try:
        return await stored_rows(postgres, contents)
    finally:
        await postgres.close()


async def rows_in_cql(url: str, contents: Sequence[UUID] | None, report: Report) -> list[Mapping[str, Any]]:
    """Rows of the table of record; what other tables have wrong is in the report as odd."""
    from loadtests.cql_tables import rows_and_faults  # noqa: PLC0415  its driver is there only where a CQL store is wanted

    only = None if contents is None else frozenset(contents)
    rows, faults = await asyncio.to_thread(rows_and_faults, url, only)
    report.odd += [f"{table}: event {event} {how}" for table, event, how in faults]
    return list(rows)


async def counted_views(store: redis.Redis, contents: Iterable[UUID] | None) -> dict[tuple[UUID, int], int]:
    """Views by (content, hour since 1970), of all contents or of `contents`; zero is as good as absent."""
    wanted = None if contents is None else set(contents)
    counted: dict[tuple[UUID, int], int] = {}
    async for key in store.scan_iter(match=VIEW_KEY_PREFIX + b"*", count=1000):
        hour = int(key[len(VIEW_KEY_PREFIX) :])
        for content, views in (await store.hgetall(key)).items():
            content_id = UUID(content.decode() if isinstance(content, bytes) else content)
            if int(views) and (wanted is None or content_id in wanted):
                counted[content_id, hour] = int(views)
    return counted


async def reconcile(
    ledger: Ledger, postgres_url: str, redis_url: str, *, own_contents_only: bool, cql_url: str = ""
) -> Report:
    """One look at both stores. `own_contents_only` leaves out what other crowds put into the same stores. With a
    `cql_url` the rows are there."""
    contents = sorted({UUID(entry.event["content_id"]) for entry in ledger.entries.values()})
    only = contents if own_contents_only else None
    report = Report(odd=[*ledger.odd, *own_faults(ledger)])
    rows = await rows_in_cql(cql_url, only, report) if cql_url else await rows_in_postgres(postgres_url, only)
    store = redis.Redis.from_url(redis_url)
    try:
        counted = await counted_views(store, only)
    finally:
        await store.aclose()
    compare_rows(ledger, rows, report)
    compare_views(expected_views(ledger), counted, report)
    return report


async def reconcile_when_drained(
    ledger: Ledger, endpoints: Mapping[str, str], *, own_contents_only: bool, wait_s: float, poll_s: float = 0.5
) -> Report:
    """Look again until all is equal, or `wait_s` has passed; then the last look is the report."""
    deadline = time.monotonic() + wait_s
    while True:
        stores = endpoints["postgres"], endpoints["redis"]
        report = await reconcile(ledger, *stores, own_contents_only=own_contents_only, cql_url=endpoints.get("cql", ""))
        if report.equal or time.monotonic() >= deadline:
            return report
        await asyncio.sleep(poll_s)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.reconcile", description=__doc__)
    parser.add_argument("ledgers", nargs="+", type=Path, metavar="LEDGER")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the running gateway")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait until the stores have caught up")
    parser.add_argument("--own-contents-only", action="store_true", help="leave out other crowds in the same stores")
    options = parser.parse_args(arguments)
    endpoints = json.loads(options.endpoints.read_text())
    ledger = Ledger.read(options.ledgers)
    report = asyncio.run(
        reconcile_when_drained(ledger, endpoints, own_contents_only=options.own_contents_only, wait_s=options.wait)
    )
    sys.stdout.write(report.text() + "\n")
    return 0 if report.equal else 1


if __name__ == "__main__":
    sys.exit(main())
