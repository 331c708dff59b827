"""What content_hotness says; a job keeps it (gateway/hotness_job.py)."""

from datetime import UTC
from typing import Any
from uuid import UUID

from live.source import EPOCH, time_text
from live.tables import Tables
from storage.postgres.statement import STATEMENTS

Row = dict[str, Any]


async def of(tables: Tables, content: UUID) -> Row | None:
    """The columns of one content, None where it has none. Raises Unavailable."""
    rows = await tables.fetch(STATEMENTS["hotness"], content)
    return _told(rows[0]) if rows else None


async def best(tables: Tables, tier: int | None, top: int) -> list[Row]:
    """Of a replication tier, or of all, the hottest. Raises Unavailable."""
    return [_told(row) for row in await tables.fetch(STATEMENTS["hottest"], tier, top)]


def _told(row: Any) -> Row:
    at = row["updated_at"]
    us = None if at is None else round((at.replace(tzinfo=UTC) - EPOCH).total_seconds() * 1e6)
    return {**row, "content_id": str(row["content_id"]), "updated_at": None if us is None else time_text(us)}
