"""The driver's own best loop, as a program: rows of the CQL store, read into memory, and written once more to the
tables they came from, which are emptied before: the server meets each as a new one, as it does those of the drain.

The same statements, the same tables, rows of a partition together as they come in one write of the drain; values
are laid out before the clock starts, the collector of cycles is off. No retries, no positions. It gives way to others
as the drain does, as both share two cores with the server. A round for every line of its input, in turns with the
drain's: a server grows quicker while it works. At the end of the input it prints its figures as JSON. Of several ways
to send them, the best is told: rows/s of the one that is quickest, CPU of the one that takes least.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import acsylla
import uvloop

from loadtests.procfs import give_way

ROWS_MAX: Final = 100_000
"""As many as a backlog of the drain, nearly: a server writes its memory out and compacts for both alike."""
ROWS_A_WRITE: Final = 68_000
"""Of the drain, at most: some 16 MiB of frames."""
WAYS: Final = ((50, 64), (50, 128), (100, 128))
"""Rows a request, at most, and requests in flight."""
TABLES: Final = {
    "events_by_session": ("session_id", "hour"),
    "events_by_content": ("content_id", "day", "bucket"),
    "events_by_profile": ("profile_id", "day"),
    "errors_by_edge": ("cdn_edge", "hour", "bucket"),
}

Write = tuple[Any, list[Any]]
Way = tuple[int, int]
Figure = tuple[float, float]


async def main(port: int, keyspace: str) -> None:
    cluster = acsylla.create_cluster(
        ["127.0.0.1"], port=port, consistency=acsylla.Consistency.LOCAL_QUORUM, request_timeout=30,
        log_level="critical", load_balance_dc_aware="datacenter1",
    )  # fmt: skip
    session = await cluster.create_session(keyspace=keyspace)
    writes: list[list[list[Write]]] = []
    statements: dict[str, Any] = {}
    order = await _order(session)
    rows = len(order)
    for table, key in TABLES.items():
        found = [row for row in await _rows(session, table) if row["event_id"] in order]
        found.sort(key=lambda row: order[row["event_id"]])
        for index in range(-(-rows // ROWS_A_WRITE)):
            if index == len(writes):
                writes.append([])
            groups: dict[tuple[Any, ...], list[Write]] = {}
            for row in (one for one in found if order[one["event_id"]] // ROWS_A_WRITE == index):
                there = {name: _bound(value) for name, value in row.items() if value is not None}
                cql = f"INSERT INTO {table} ({', '.join(there)}) VALUES ({', '.join('?' * len(there))})"
                if cql not in statements:
                    statements[cql] = await session.create_prepared(cql)
                partition = groups.setdefault(tuple(row[name] for name in key), [])
                partition.append((statements[cql], list(there.values())))
            writes[index] += groups.values()
    gc.disable()
    figures: dict[Way, list[Figure]] = {way: [] for way in WAYS}
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        for way in WAYS:
            await _empty(session)
            figures[way].append(await _round(session, writes, way, rows))
        print("done", flush=True)
    await session.close()
    requests = sum(-(-len(group) // WAYS[0][0]) for part in writes for group in part)
    told = {way: _median(of_way) for way, of_way in figures.items()}
    print(json.dumps({
        "rows": rows,
        "requests_a_row": round(requests / rows, 3),
        "rows_a_request": round(sum(len(group) for part in writes for group in part) / requests, 1),
        "rows_per_s": round(max(one[0] for one in told.values())),
        "us_per_row": round(min(one[1] for one in told.values()), 1),
        "ways": {f"{way[0]} a request, {way[1]} at once": [round(one, 1) for one in told[way]] for way in WAYS},
    }))  # fmt: skip


async def _empty(session: Any) -> None:
    for table in TABLES:
        await session.execute(acsylla.create_statement(f"TRUNCATE {table}", timeout=60))


async def _round(session: Any, writes: list[list[list[Write]]], way: Way, rows: int) -> Figure:
    """All of it once, into empty tables: rows a second, CPU of this process in µs a row."""
    rows_a_request, in_flight = way
    parts = [
        [group[begin : begin + rows_a_request] for group in part for begin in range(0, len(group), rows_a_request)]
        for part in writes
    ]
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for part in parts:
        requests = iter(part)
        await asyncio.gather(*(_work(session, requests) for _ in range(in_flight)))
    took_s, used_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return rows / took_s, used_s / rows * 1e6


def _median(figures: list[Figure]) -> Figure:
    per_s, us_per_row = zip(*figures, strict=True)
    return statistics.median_high(per_s), statistics.median_high(us_per_row)


async def _order(session: Any) -> dict[str, int]:
    """event_id → its place among those that were received first: as the drain met them, not as the ring has them."""
    rows = await _rows(session, "events_by_session", "event_id, received_at_us")
    rows.sort(key=lambda row: row["received_at_us"])
    return {row["event_id"]: place for place, row in enumerate(rows[:ROWS_MAX])}


async def _rows(session: Any, table: str, columns: str = "*") -> list[dict[str, Any]]:
    """All, page by page."""
    statement = acsylla.create_statement(f"SELECT {columns} FROM {table}", page_size=2_000)
    found: list[dict[str, Any]] = []
    while True:
        result = await session.execute(statement)
        names = result.columns_names()
        found += [dict(zip(names, row.as_tuple(), strict=True)) for row in result]
        if not result.has_more_pages():
            return found
        statement.set_page_state(result.page_state())


async def _work(session: Any, requests: Iterator[list[Write]]) -> None:
    for writes in requests:
        if len(writes) == 1:
            await session.execute(writes[0][0].bind(writes[0][1]))
            continue
        batch = acsylla.create_batch_unlogged()
        for prepared, values in writes:
            batch.add_statement(prepared.bind(values))
        await session.execute_batch(batch)


def _bound(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


if __name__ == "__main__":
    give_way(int(sys.argv[3]))
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
