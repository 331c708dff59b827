"""Watch history in PostgreSQL: entries of `storage.watch`, merged into the table so that the newest sign stands,
whatever the order they come in and however often. What is not in the catalogue yet waits in watch_history_waiting.

Everything raises the driver's errors.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from ingest.tuple import CLOCK_TOLERANCE_US, CORRECTED_AHEAD_MAX_US
from storage.postgres.statement import parse
from storage.redis.sign import RANKS
from storage.watch import ENTRY

_TEXT: Final = parse((Path(__file__).parent / "watch_history.sql").read_text("utf-8"))
_RULES: Final = {name: _TEXT[name] for name in ("completed", "newer", "packed")} | {
    "sent": _TEXT["sent"].format(
        completed=_TEXT["completed"], **{f"moment_{at}": _TEXT["moment"].format(at=at) for at in (65, 81, 123)}
    ),
    "newest": _TEXT["newest"].format(completed=_TEXT["completed"]),
}
KEEP, LEAVE_WAITING, KNOWN_NOW, ADOPTED, GIVE_UP = (
    _TEXT[name].format(**_RULES) for name in ("keep", "leave_waiting", "known_now", "adopted", "give_up")
)
STORED: Final = _TEXT["stored"]

ADOPTED_MAX: Final = 2_000
"""Entries a transaction of `adopt`: a tenth of a second, in which new rows of the same profiles wait."""
GIVEN_UP_MAX: Final = 10_000
"""Entries a statement."""
STORED_AT_ONCE: Final = 5_000
"""Entries a statement of `apply_stored`."""


class Adoption(NamedTuple):
    """What became of waiting entries."""

    adopted: int
    """They are in watch_history: their profile and content are known now."""
    given_up: int
    """They waited too long and are gone."""


async def apply(connection: asyncpg.Connection, entries: bytes) -> None:
    """Merge entries as `storage.watch.gathered` packs them, in the caller's transaction: each key at most once."""
    left = await connection.fetchval(KEEP, entries)
    if left is not None:
        await connection.execute(LEAVE_WAITING, left)


async def adopt(connection: asyncpg.Connection, now: datetime, waiting_s: int) -> Adoption:
    """Move what waits and is known now into watch_history, and give up what has waited longer than `waiting_s` at
    `now`; in transactions of its own. One look into an empty table when nothing waits."""
    adopted = given_up = 0
    while True:
        async with connection.transaction():
            known = await connection.fetchval(KNOWN_NOW, ADOPTED_MAX)
            if known is None:
                break
            left = await connection.fetchval(KEEP, known)  # somebody holds its profile, content or row: next time
            moved = list({*_cut(known)} - {*_cut(left or b"")})
            adopted += _count(await connection.execute(ADOPTED, moved))
        if not moved or len(known) < ADOPTED_MAX * ENTRY.size:
            break
    waiting = timedelta(seconds=waiting_s)
    while (gone := _count(await connection.execute(GIVE_UP, now, waiting, GIVEN_UP_MAX))) > 0:
        given_up += gone
    return Adoption(adopted, given_up)


async def apply_stored(connection: asyncpg.Connection, since_us: int, timeout_s: float) -> int:
    """Merge the signs of all rows received since then (microseconds since 1970), in the caller's transaction; how many
    entries. Heartbeats are no rows: of them nothing is known here."""
    since = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=since_us)
    kinds = [kind.decode("ascii") for kind in RANKS]
    bounds = kinds, CLOCK_TOLERANCE_US // 1_000_000, timedelta(microseconds=CORRECTED_AHEAD_MAX_US)
    cursor = await connection.cursor(STORED, since, *bounds, timeout=timeout_s)
    merged = 0
    while found := await cursor.fetch(STORED_AT_ONCE, timeout=timeout_s):
        await apply(connection, b"".join([one["entry"] for one in found]))
        merged += len(found)
    return merged


def _cut(entries: bytes) -> list[bytes]:
    return [entries[at : at + ENTRY.size] for at in range(0, len(entries), ENTRY.size)]


def _count(status: str) -> int:
    return int(status.rsplit(maxsplit=1)[-1])
