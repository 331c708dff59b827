"""Write keys in PostgreSQL: what the commands change, and what is published to the doors."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import asyncpg

from ingest.keyring import Key
from storage.postgres.statement import parse

STATEMENTS: Final = parse((Path(__file__).parent / "keys.sql").read_text("utf-8"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class WriteKey(NamedTuple):
    """A key, and what only people want to know of it."""

    key: Key
    name: str
    created_at: datetime
    replaced_by: str | None
    """The id of the key that it was rotated to."""
    not_after: datetime | None
    revoked_at: datetime | None


class Asked(Protocol):
    """Whom rows are fetched of: storage.postgres.reads.Reads, or a connection."""

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]: ...


async def every(asked: Asked) -> list[WriteKey]:
    """All keys, the oldest first. Raises what `asked` raises."""
    return [_of(row) for row in await asked.fetch(STATEMENTS["keys"])]


async def create(connection: asyncpg.Connection, key: Key, name: str) -> None:
    """A new key; its rate is counted under its own id. Raises the driver's errors, UniqueViolationError for one that is
    there.
    """
    await connection.execute(
        STATEMENTS["create_key"],
        *(key.id, key.hash, name, key.owner, key.secret, key.doors, key.origins, key.origins_only, key.rate, key.burst),
        key.heartbeat_s,
    )


async def rotate(
    connection: asyncpg.Connection, key_id: str, new_id: str, new_hash: bytes, grace: timedelta
) -> datetime | None:
    """Put a new key in the place of another, with its owner and all it may; until when the old one is good. None, and
    nothing done, when there is no such key that is on and was not replaced yet. Raises the driver's errors.
    """
    found: datetime | None = await connection.fetchval(STATEMENTS["rotate_key"], key_id, new_id, new_hash, grace)
    return found


async def set_heartbeat(connection: asyncpg.Connection, key_id: str, heartbeat_s: int | None) -> bool:
    """How often its players send heartbeats from now on, seconds; False when there is no such key. Raises the driver's
    errors.
    """
    return await connection.fetchval(STATEMENTS["set_heartbeat"], key_id, heartbeat_s) is not None


async def revoke(connection: asyncpg.Connection, key_id: str) -> bool:
    """From now on, for ever; False when there is no such key. Raises the driver's errors."""
    return await connection.fetchval(STATEMENTS["revoke_key"], key_id) is not None


async def is_secret(connection: asyncpg.Connection, key_id: str) -> bool | None:
    """None when there is no such key. Raises the driver's errors."""
    found: bool | None = await connection.fetchval(STATEMENTS["is_secret"], key_id)
    return found


def _of(row: Any) -> WriteKey:
    not_after: datetime | None = row["not_after"]
    key = Key(
        id=row["id"],
        hash=row["hash"],
        owner=row["owner"],
        secret=row["secret"],
        doors=tuple(row["doors"]),
        origins=tuple(row["origins"]),
        origins_only=row["origins_only"],
        rate=row["rate"],
        burst=row["burst"],
        bucket=row["bucket"],
        off=row["revoked_at"] is not None,
        not_after_us=None if not_after is None else (not_after - _EPOCH) // timedelta(microseconds=1),
        heartbeat_s=row["heartbeat_s"],
    )
    return WriteKey(key, row["name"], row["created_at"], row["replaced_by"], not_after, row["revoked_at"])
