"""When an event of a broken clock happened: as sent where the door would take that time, else its first receive time.

As in storage.postgres.clock_repair, with a compare-and-set (LWT) in place of a transaction: whoever inserts (event_id,
time as sent) first into clock_repairs says under which time the event stands, for every resend and every drain of this
data centre. Before that a note goes into two indexes, by which drains learn which events' resends they have to look up;
then comes a look whether the event stands under its own time. A drain that looked for notes before this one was
written, and writes such a row after that look, is not met.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from config.settings import DoorSettings
from ingest.clock import Clock
from ingest.spool.frame import Frame
from ingest.tuple import event_id, month_of, occurred_at_us, received_at_us, row_hash, with_occurred_at
from storage.postgres.clock_repair import LOOK_SHARE, MICROSECONDS, acceptable
from storage.scylla.bucket import HOUR_US, day_of, hour_of
from storage.scylla.driver import Driver
from storage.scylla.watched import Watched
from storage.sink import Slice

DAY_BUCKETS: Final = 4
"""Of clock_repairs_by_day: devices without a battery all stand on the same day."""
OVERLAP_US: Final = 60 * MICROSECONDS
"""How far a look goes back behind the last one: longer than a note is under way, retries included."""
NOTES_KEPT_US: Final = 23 * HOUR_US
"""Those by the hour are kept for a day; who did not look for longer looks at all there are."""
LOOKS_AT_ONCE: Final = 32

_STANDS: Final = (
    "SELECT event_id FROM events_by_session WHERE session_id = ? AND hour = ? AND occurred_at_us = ? AND event_id = ?"
)
_REMEMBER: Final = (
    "INSERT INTO clock_repairs (event_id, raw_occurred_at_us, occurred_at_us) VALUES (?, ?, ?) IF NOT EXISTS"
)
_RECALL: Final = "SELECT occurred_at_us FROM clock_repairs WHERE event_id = ? AND raw_occurred_at_us = ?"
_NOTE_DAY: Final = "INSERT INTO clock_repairs_by_day (raw_day, bucket, event_id) VALUES (?, ?, ?)"
_NOTE_HOUR: Final = (
    "INSERT INTO clock_repairs_by_hour (hour, repaired_at_us, event_id, raw_occurred_at_us) VALUES (?, ?, ?, ?)"
)
_OF_DAY: Final = "SELECT event_id FROM clock_repairs_by_day WHERE raw_day = ? AND bucket = ?"
_SINCE: Final = "SELECT event_id, raw_occurred_at_us FROM clock_repairs_by_hour WHERE hour = ? AND repaired_at_us >= ?"
_CLUSTERS_TIME: Final = "SELECT toUnixTimestamp(now()) FROM system.local"


class Row(NamedTuple):
    """One row on its own."""

    owner: int
    """Index of its slice in the write."""
    frame: Frame
    number: int
    """In its frame, from 0."""
    sent: bytes
    """The tuple as acknowledged."""
    data: bytes
    """The tuple as it is stored."""

    @property
    def month(self) -> int:
        """Under which it is stored."""
        return month_of(occurred_at_us(self.data))

    @property
    def hash(self) -> int:
        """As it is stored."""
        return row_hash(self.data)

    @property
    def was_repaired(self) -> bool:
        """Whether it stands under another time than it was sent with."""
        return self.data != self.sent


class ClockRepairs:
    """Of one sink, on one connection: `begin` first."""

    def __init__(self, driver: Driver, door: DoorSettings, most: int, clock: Clock) -> None:
        """`most`: events watched one by one; of more, some rows are looked up that need not be."""
        self._driver = driver
        self._door = door
        self._clock = clock
        self._watched_us = range(0)
        """Times as sent, microseconds since 1970."""
        self._known_us = (0, 0.0)
        """The cluster's time, and ours then."""
        self._since_us = 0
        """Since when others' repairs are not known, by the cluster's time."""
        self._rest_until_s = 0.0
        self.watched = Watched(most)
        """event_ids whose resends may look sane and have to be looked up."""
        self._fresh: list[bytes] = []
        """Watched since `fresh` was asked for last."""

    async def begin(self) -> None:
        """Look at all there are. Raises CqlError."""
        ((milliseconds,),) = await self._driver.execute(_CLUSTERS_TIME)
        self._known_us = int(milliseconds or 0) * 1_000, self._clock.monotonic_s()
        now_us = self._clock.now_us()
        self._since_us = self._clusters_us() - OVERLAP_US
        self._watched_us = range(0)
        await self._watch(now_us, now_us)

    async def go_on(self, slices: Sequence[Slice]) -> None:
        """Look at those since the last look, or at all that matter to `slices`. Raises CqlError."""
        began_s = self._clock.monotonic_s()
        sane_us = [sane_us for one in slices for run in one.runs for sane_us in run.outline.sane_us or ()]
        widened = bool(sane_us) and await self._watch(min(sane_us), max(sane_us))
        if not widened and began_s < self._rest_until_s:
            return
        now_us = self._clusters_us()
        if now_us - self._since_us > NOTES_KEPT_US:
            await self.begin()
            if sane_us:
                await self._watch(min(sane_us), max(sane_us))
            return
        hours = range(hour_of(self._since_us), hour_of(now_us) + 1)
        for hour in hours:
            for identity, raw_us in await self._driver.execute(_SINCE, [hour, self._since_us]):
                if raw_us in self._watched_us:
                    self._add(identity)
        self._since_us = now_us - OVERLAP_US
        ended_s = self._clock.monotonic_s()
        self._rest_until_s = ended_s + (ended_s - began_s) * (1 / LOOK_SHARE - 1)

    def fresh(self) -> list[bytes]:
        """What is watched that was not when this was asked last; nothing while they are not known one by one."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def suspects(self, row: bytes) -> bool:
        """Whether a row of a sane clock has to be looked up."""
        return row[6:22] in self.watched

    async def settle(self, broken: Iterable[Row], suspected: Iterable[Row]) -> list[Row]:
        """These rows under the times they are stored with. Raises CqlError."""
        rows = [*broken]
        first_us: dict[tuple[bytes, int], int] = {}
        session: dict[tuple[bytes, int], bytes] = {}
        for row in rows:
            key, received_us = (event_id(row.sent), occurred_at_us(row.sent)), received_at_us(row.sent)
            first_us[key] = min(first_us.get(key, received_us), received_us)
            session[key] = row.sent[46:62]
        known = [*suspected]
        keys = dict.fromkeys([*first_us, *((event_id(row.sent), occurred_at_us(row.sent)) for row in known)])
        together = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def settled(key: tuple[bytes, int]) -> tuple[tuple[bytes, int], int]:
            async with together:
                if key in first_us and not acceptable(key[1], first_us[key], self._door):
                    return key, await self._repair(key, session[key], first_us[key])
                return key, await self._recall(key)

        times_us = dict(await asyncio.gather(*map(settled, keys)))
        return [_under(row, times_us) for row in rows + known]

    async def _repair(self, key: tuple[bytes, int], session: bytes, first_us: int) -> int:
        """The time under which an event stands, or stands from now on."""
        identity, raw_us = _text(key[0]), key[1]
        recalled_us = await self._recall(key)
        if recalled_us != raw_us:
            return recalled_us
        at_us = self._clusters_us()
        await self._driver.execute(_NOTE_DAY, [day_of(raw_us), key[0][-1] % DAY_BUCKETS, identity])
        await self._driver.execute(_NOTE_HOUR, [hour_of(at_us), at_us, identity, raw_us])
        if await self._driver.execute(_STANDS, [_text(session), hour_of(raw_us), raw_us, identity]):
            return raw_us
        (answer,) = await self._driver.execute(_REMEMBER, [identity, raw_us, first_us])
        if raw_us in self._watched_us:
            self._add(identity)
        return first_us if answer[0] else int(answer[-1] or 0)  # what stands there, its last column the time

    async def _recall(self, key: tuple[bytes, int]) -> int:
        # with what a compare-and-set that timed out has decided and not written yet
        found = await self._driver.execute(_RECALL, [_text(key[0]), key[1]], consistency="LOCAL_SERIAL")
        return int(found[0][0] or 0) if found else key[1]

    async def _watch(self, first_us: int, last_us: int) -> bool:
        """What was received between these; False when that is watched already."""
        past_us, future_us = self._door.past_s * MICROSECONDS, self._door.future_s * MICROSECONDS
        if first_us - past_us in self._watched_us and last_us + future_us in self._watched_us:
            return False
        known = self._watched_us or range(first_us, first_us)
        # a whole window more at either end, so that this is seldom
        begin_us = min(known.start, first_us - past_us - future_us)
        end_us = max(known.stop, last_us + future_us + past_us)
        self._watched_us = range(begin_us, end_us)
        together = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def look(day: int, bucket: int) -> None:
            async with together:
                async for page in self._driver.scan(_OF_DAY, [day, bucket]):
                    for (identity,) in page:
                        self._add(identity)

        days = range(day_of(begin_us), day_of(end_us) + 1)
        await asyncio.gather(*(look(day, bucket) for day in days for bucket in range(DAY_BUCKETS)))
        return True

    def _add(self, identity: object) -> None:
        event = bytes.fromhex(str(identity).replace("-", ""))
        if event not in self.watched:
            self.watched.add(event)
            if self.watched.is_exact:
                self._fresh.append(event)
            else:
                self._fresh.clear()

    def _clusters_us(self) -> int:
        clusters_us, ours_s = self._known_us
        return clusters_us + int((self._clock.monotonic_s() - ours_s) * MICROSECONDS)


def _under(row: Row, times_us: dict[tuple[bytes, int], int]) -> Row:
    raw_us = occurred_at_us(row.sent)
    settled_us = times_us[event_id(row.sent), raw_us]
    return row if settled_us == raw_us else row._replace(data=with_occurred_at(row.sent, settled_us))


def _text(identity: bytes) -> str:
    digits = identity.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
