"""Rows that another store keeps, laid beside PostgreSQL's tables for as long as a connection lives: temporary tables
come first in the search path, so the same statements read either. Everything raises the driver's errors, and those of
the other store.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

import asyncpg

from ingest.tuple import Column, encode_fields
from storage.playback_rows import SIGN_COLUMNS, PlaybackRows, Repair
from storage.postgres.copy import copy
from storage.postgres.partition import TABLE
from storage.postgres.statement import STATEMENTS

REPAIRS: Final = "clock_repairs"
REPAIR_COLUMNS: Final = (
    Column("event_id", "uuid", required=True),
    Column("raw_occurred_at", "timestamptz", required=True),
    Column("occurred_at", "timestamptz", required=True),
)
_NAMES: Final = [column.name for column in SIGN_COLUMNS]
_REPAIR_NAMES: Final = [column.name for column in REPAIR_COLUMNS]


async def load(
    connection: asyncpg.Connection,
    rows: PlaybackRows,
    repairs: list[Repair],
    since_us: int,
    piece: int = 0,
    pieces: int = 1,
) -> None:
    """From here on `playback_events` and `clock_repairs` are the other store's rows, received since then, one or the
    other perhaps twice: those of piece number `piece`. Outside a transaction: it may take as long as reading all of
    that store does."""
    await connection.execute(STATEMENTS["make_loaded"])
    await copy(connection, REPAIRS, _REPAIR_NAMES, _packed(repairs), len(repairs))

    async def take(tuples: list[bytes]) -> None:
        await copy(connection, TABLE, _NAMES, tuples, len(tuples))

    await rows.signs(since_us, take, piece, pieces)
    await connection.execute(STATEMENTS["analyze_loaded"])


async def unload(connection: asyncpg.Connection) -> None:
    """These names are those of PostgreSQL's own tables again."""
    await connection.execute(STATEMENTS["drop_loaded"])


def _packed(repairs: Iterable[Repair]) -> Iterable[bytes]:
    for one in repairs:
        yield encode_fields(REPAIR_COLUMNS, (UUID(bytes=one.event_id), one.raw_us, one.occurred_us))
