"""Where every incarnation stands, as rows of ingest_positions: read with their books, moved by compare-and-set."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from storage.postgres import totals
from storage.postgres.statement import STATEMENTS
from storage.postgres.totals import Books
from storage.sink import SinkRefused, Slice


async def read(connection: asyncpg.Connection, reader: str) -> tuple[dict[str, int], dict[str, Books]]:
    """Incarnation → next sequence, and incarnation → books.

    Raises SinkRefused for totals that are none (somebody else wrote them), and the driver's errors.
    """
    sequences, books = {}, {}
    for row in await connection.fetch(STATEMENTS["positions"], reader):
        incarnation = row["incarnation"].hex
        sequences[incarnation] = row["sequence"]
        try:
            books[incarnation] = totals.decode(row["totals"])
        except msgspec.DecodeError as error:
            raise SinkRefused(f"ingest_positions.totals of {incarnation} cannot be read: {error}") from error
    return sequences, books


async def move(
    connection: asyncpg.Connection,
    reader: str,
    slices: Sequence[Slice],
    known: Mapping[str, int],
    books: Mapping[str, Books],
) -> int:
    """How many of the slices' positions were where they begin and are moved now, in the transaction under way.

    `known` says which have a row already; fewer than all means that another drain is at work.
    """
    begun = [one for one in slices if one.incarnation not in known]
    moved = [one for one in slices if one.incarnation in known]
    count = 0
    if begun:
        columns = (_incarnations(begun), _sequences(begun), _totals(begun, books))
        status = await connection.execute(STATEMENTS["begin_positions"], reader, *columns)
        count += int(status.split()[-1])
    if moved:
        before = [one.begin for one in moved]
        rest = (_incarnations(moved), before, _sequences(moved), _totals(moved, books))
        status = await connection.execute(STATEMENTS["move_positions"], reader, *rest)
        count += int(status.split()[-1])
    return count


async def raise_to(connection: asyncpg.Connection, reader: str, sequences: Mapping[str, int]) -> None:
    """Begin or move positions to these, those that are behind; their books stay. Raises the driver's errors."""
    incarnations = [UUID(hex=name) for name in sequences]
    await connection.execute(STATEMENTS["stood_elsewhere"], reader, incarnations, list(sequences.values()))


def _incarnations(slices: Sequence[Slice]) -> list[Any]:
    return [UUID(hex=one.incarnation) for one in slices]


def _sequences(slices: Sequence[Slice]) -> list[int]:
    return [one.state.sequence for one in slices]


def _totals(slices: Sequence[Slice], books: Mapping[str, Books]) -> list[str]:
    return [totals.encode(books[one.incarnation]) for one in slices]
