"""Tuples into a table, untouched, by binary COPY (PostgreSQL manual, COPY, file formats)."""

from collections.abc import AsyncIterator, Iterable

import asyncpg

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, no flags, no extension."""
TRAILER = b"\xff\xff"
CHUNK_BYTES = 64 * 1024
"""Of one CopyData message: measured fastest (reference/perf.md, B 2)."""


async def chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """HEADER, `parts`, TRAILER in messages of about CHUNK_BYTES."""
    gathered, size_bytes = [HEADER], 0
    for part in parts:
        gathered.append(part)
        size_bytes += len(part)
        if size_bytes >= CHUNK_BYTES:
            yield b"".join(gathered)
            gathered, size_bytes = [], 0
    gathered.append(TRAILER)
    yield b"".join(gathered)


async def copy(
    connection: asyncpg.Connection, table: str, columns: list[str], parts: Iterable[bytes], count: int
) -> None:
    """Append `count` rows. Raises the driver's errors; bytes that are another number of rows are a bad file format."""
    status = await connection.copy_to_table(table, source=chunks(parts), columns=columns, format="binary")
    copied = int(status.split()[1])
    if copied != count:
        raise asyncpg.BadCopyFileFormatError(f"{copied} rows were read where {count} were written")
