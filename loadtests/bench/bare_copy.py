"""Bare COPY, the ceiling that the benchmark measures against: the same rows, in the order in which they arrived, by one
connection into a table that is the product's own in all but name.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

SCHEMA: Final = "bench"  # dropped at the end
ROWS_MAX: Final = 400_000

EXPORT_SQL: Final = """
SELECT * FROM playback_events WHERE received_at BETWEEN to_timestamp($1) AND to_timestamp($2)
 ORDER BY received_at, tableoid, ctid LIMIT $3
"""
PARTITIONS_SQL: Final = """
SELECT child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds
  FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
 WHERE inhparent = 'playback_events'::regclass
"""


@dataclass(frozen=True, slots=True)
class BareCopy:
    """Rows a second by bare COPY, and what PostgreSQL paid for a row."""

    rows: int
    rows_per_s: float
    postgres_cpu_us_per_row: float


async def bare_copy(
    postgres: asyncpg.Connection, began_at: float, ended_at: float, directory: Path, postgres_cpu_s: Callable[[], float]
) -> BareCopy:
    """Export the rows received between two moments (epoch s) as they came, and copy them into an identical table.

    `postgres_cpu_s` says what all processes of the server have used so far. The connection stays usable; the table is
    made and dropped here.
    """
    await _make_twin(postgres)
    try:
        with tempfile.TemporaryFile(dir=directory) as rows_file:
            status = await postgres.copy_from_query(
                EXPORT_SQL, began_at, ended_at, ROWS_MAX, output=rows_file, format="binary"
            )
            rows = int(status.split()[1])
            await postgres.execute("CHECKPOINT")
            rows_file.seek(0)
            cpu_before_s, began_s = postgres_cpu_s(), time.perf_counter()
            await postgres.copy_to_table("playback_events", schema_name=SCHEMA, source=rows_file, format="binary")
            rows_per_s = rows / (time.perf_counter() - began_s)
            return BareCopy(rows, rows_per_s, (postgres_cpu_s() - cpu_before_s) / max(rows, 1) * 1e6)
    finally:
        await postgres.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


async def _make_twin(postgres: asyncpg.Connection) -> None:
    """The partitioned table again, with every partition, key and index, in a schema of its own."""
    await postgres.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    await postgres.execute(
        f"CREATE TABLE {SCHEMA}.playback_events (LIKE playback_events INCLUDING ALL) PARTITION BY RANGE (occurred_at)"
    )
    for partition in await postgres.fetch(PARTITIONS_SQL):
        await postgres.execute(
            f"CREATE TABLE {SCHEMA}.{partition['name']} (LIKE {partition['name']} INCLUDING ALL);"
            f"ALTER TABLE {SCHEMA}.playback_events ATTACH PARTITION {SCHEMA}.{partition['name']} {partition['bounds']}"
        )
