"""When an event of a broken clock happened: as sent where the door would take that time, else its first receive time.

The first receive time is remembered by what the player sent, (event_id, time as sent), so that a resend meets the
same row: in another request, with another receive time, beyond the end of a month (DESIGN §3). A time is repaired
only if no row stands under it as sent; one that was repaired once stays so, also where a resend comes under a sane
clock (adopt_staged looks).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from config.settings import DoorSettings
from ingest.clock import Clock
from ingest.tuple import event_id, month_of, occurred_at_us, received_at_us, with_occurred_at
from storage.postgres.batch import Placed, Row, rows_of
from storage.postgres.fingerprint import Fingerprints
from storage.postgres.partition import POSTGRES_EPOCH_US
from storage.postgres.statement import STATEMENTS
from storage.sink import Slice

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS = 1_000_000
OVERLAP_S = 300
"""How far a look goes back behind the last one: longer than a transaction that repairs is under way."""
LOOK_SHARE = 0.1
"""Of the time, at most, that goes into looks. One takes less than a millisecond, until thousands are repaired a minute;
then one is left out here and there. A resend in between would come within seconds of the repair."""


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


class Lookout:
    """Watches which events any drain repairs whose time as sent is one that the door takes, now or soon.

    Their resends may look sane, and be sent to another gateway than the one that repaired them. What the door takes is
    judged by when a frame was received: of a gateway whose own clock is wrong, or was, it is looked at anew.
    """

    def __init__(self, door: DoorSettings, most: int, clock: Clock) -> None:
        self._door = door
        self._most = most
        self._clock = clock
        self._watched_us = range(0)
        """Times as sent, microseconds since 1970."""
        self._since = _EPOCH
        self._rest_until_s = 0.0

    async def begin(self, connection: asyncpg.Connection, fingerprints: Fingerprints) -> None:
        """Look at all there are: another server may have another clock. Raises the driver's errors."""
        now_us = self._clock.now_us()
        self._watched_us = range(0)
        self._watch(now_us, now_us)
        await self._look(connection, fingerprints)
        self._rest_until_s = 0.0

    async def go_on(self, connection: asyncpg.Connection, fingerprints: Fingerprints, slices: Sequence[Slice]) -> None:
        """Look at those since the last look, or at all that matter to `slices`. Raises the driver's errors."""
        began_s = self._clock.monotonic_s()
        sane_us = [sane_us for one in slices for run in one.runs for sane_us in run.outline.sane_us or ()]
        if not (sane_us and self._watch(min(sane_us), max(sane_us))) and began_s < self._rest_until_s:
            return
        await self._look(connection, fingerprints)
        ended_s = self._clock.monotonic_s()
        self._rest_until_s = ended_s + (ended_s - began_s) * (1 / LOOK_SHARE - 1)

    def watches(self, raw_us: int) -> bool:
        """Whether a resend of an event repaired from this time may look sane."""
        return raw_us in self._watched_us

    def _watch(self, first_us: int, last_us: int) -> bool:
        """What was received between these; False when that is watched already."""
        past_us, future_us = self._door.past_s * MICROSECONDS, self._door.future_s * MICROSECONDS
        if self.watches(first_us - past_us) and self.watches(last_us + future_us):
            return False
        known = self._watched_us or range(first_us, first_us)
        # a whole window more at either end, so that this is seldom
        begin_us, end_us = first_us - past_us - future_us, last_us + future_us + past_us
        self._watched_us = range(min(known.start, begin_us), max(known.stop, end_us))
        self._since = _EPOCH
        return True

    async def _look(self, connection: asyncpg.Connection, fingerprints: Fingerprints) -> None:
        if fingerprints.everything:
            return
        watched, most = self._watched_us, self._most + 1  # one more tells that they are too many
        found = await connection.fetchrow(
            STATEMENTS["repaired_lately"], _moment(watched.start), _moment(watched.stop), most, self._since, OVERLAP_S
        )
        ids = found["ids"]
        fingerprints.always(ids[at : at + 16] for at in range(0, len(ids), 16))
        if found["since"] < self._since:  # the server's clock was set back: what is repaired now may look older
            self._since = _EPOCH
            await self._look(connection, fingerprints)
            return
        self._since = found["since"]


def _under(row: Row, settled_us: dict[tuple[bytes, int], int]) -> Row:
    raw_us = occurred_at_us(row.data)
    occurred_us = settled_us.get((event_id(row.data), raw_us), raw_us)
    data = row.data if occurred_us == raw_us else with_occurred_at(row.data, occurred_us)
    return row._replace(month=month_of(occurred_us), data=data, key=data[66:74] + data[6:22])


def _moment(epoch_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=epoch_us)
