"""When an event of a broken clock happened: as sent where the door would take that time, else its first receive time.

The first receive time is remembered by what the player sent, (event_id, time as sent), so that a resend meets the
same row: in another request, with another receive time, beyond the end of a month (DESIGN §3). A time is repaired
only if no row stands under it as sent; one that was repaired once stays so, also where a resend comes under a sane
clock (adopt_staged looks).
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from config.settings import DoorSettings
from ingest.tuple import event_id, month_of, occurred_at_us, received_at_us, with_occurred_at
from storage.postgres.batch import Placed, Row, rows_of
from storage.postgres.partition import POSTGRES_EPOCH_US
from storage.postgres.statement import STATEMENTS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS = 1_000_000


def acceptable(raw_us: int, received_us: int, door: DoorSettings) -> bool:
    """Whether the door takes a time as sent, had the clock been sane. Both in microseconds since 1970."""
    return received_us - door.past_s * MICROSECONDS <= raw_us <= received_us + door.future_s * MICROSECONDS


async def settle(connection: asyncpg.Connection, broken: list[Placed], door: DoorSettings) -> list[Row]:
    """The rows of these frames under the times they are stored with, in the transaction under way.

    What is repaired is remembered in clock_repairs. Raises the driver's errors.
    """
    rows = [row for placed in broken for row in rows_of(placed)]
    first_us: dict[tuple[bytes, int], int] = {}
    for row in rows:
        sent, received_us = (event_id(row.data), occurred_at_us(row.data)), received_at_us(row.data)
        first_us[sent] = min(first_us.get(sent, received_us), received_us)
    sent_keys = list(first_us)
    outside = [sent for sent in sent_keys if not acceptable(sent[1], first_us[sent], door)]
    if outside:
        await connection.execute(
            STATEMENTS["remember_repairs"],
            [UUID(bytes=identity) for identity, _ in outside],
            [_moment(raw_us) for _, raw_us in outside],
            [_moment(first_us[sent]) for sent in outside],
        )
    recalled = await connection.fetch(
        STATEMENTS["recall_repairs"],
        [UUID(bytes=identity) for identity, _ in sent_keys],
        [_moment(raw_us) for _, raw_us in sent_keys],
    )
    settled_us = {
        sent_keys[number]: int.from_bytes(occurred_at, "big", signed=True) + POSTGRES_EPOCH_US
        for number, occurred_at in recalled
    }
    return [_under(row, settled_us) for row in rows]


async def repaired_lately(connection: asyncpg.Connection, door: DoorSettings, most: int) -> list[bytes]:
    """Ids of repaired events whose time as sent may come within the door's window: their resends may look sane."""
    found = await connection.fetch(STATEMENTS["repaired_lately"], door.future_s + door.past_s, door.past_s, most)
    return [row["event_id"] for row in found]


def comes_true(raw_us: int, settled_us: int, door: DoorSettings) -> bool:
    """Whether a repaired event's time as sent lies ahead, and near enough that a resend may look sane later."""
    return settled_us < raw_us < settled_us + (door.future_s + door.past_s) * MICROSECONDS


def _under(row: Row, settled_us: dict[tuple[bytes, int], int]) -> Row:
    raw_us = occurred_at_us(row.data)
    occurred_us = settled_us.get((event_id(row.data), raw_us), raw_us)
    data = row.data if occurred_us == raw_us else with_occurred_at(row.data, occurred_us)
    return row._replace(month=month_of(occurred_us), data=data, key=data[66:74] + data[6:22])


def _moment(epoch_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=epoch_us)
