"""Where a rebuild of the counters reads rows: PostgreSQL, or the CQL store where that keeps them."""

import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Final, Protocol

from config.settings import Settings
from ingest.clock import Clock, SystemClock
from ingest.spool.disk import FileDisk
from ingest.tuple import event_id, occurred_at_us, received_at_us, with_occurred_at
from storage.postgres.signs import ANY, PLAYS, SIGNS_MAX, Snapshot, Stand
from storage.redis.sign import PADDING_BYTES, STATES_BACK_S, Signs
from storage.scylla.stored_rows import StoredRows

Take = Callable[[Signs], Awaitable[None]]
Told = Callable[[str], Any]
PLAY: Final = b"\0\0\0\4play"
"""As the sixth column of a tuple."""
TOLD_TIMES: Final = 16
KEPT_IN_MEMORY_BYTES: Final = 16 * 1024 * 1024
"""Of states; more of them lie in a file without a name."""


class PlayRows(Protocol):
    """Everything raises SinkUnavailable, SinkLost, SinkRefused."""

    store: str
    """Its name, for people."""

    async def plays(self, since_us: int, stands: Callable[[Stand], None], take: Take, tell: Told) -> Stand:
        """Where the store stands, which `stands` hears first; then every play received since then, and of what lies
        behind that some. Plays may come twice. `tell` hears how it goes on."""
        ...

    async def states(self, since_us: int, take: Take) -> None:
        """After `plays`: what was received since then and says something of a viewer, if it was not long before."""
        ...


def play_rows(settings: Settings, postgres_url: str, data_dir: Path) -> PlayRows:
    """Of the store of the settings."""
    if settings.store == "scylla":
        return OfScylla(StoredRows(settings.scylla, data_dir, FileDisk()), SystemClock())
    return OfPostgres(postgres_url, settings.door.past_s)


class OfPostgres:
    """PlayRows in one snapshot each, month by month."""

    store = "PostgreSQL"

    def __init__(self, url: str, door_past_s: int) -> None:
        self._url = url
        self._door_past_s = door_past_s

    async def plays(self, since_us: int, stands: Callable[[Stand], None], take: Take, tell: Told) -> Stand:
        plays = 0

        async def count(signs: Signs) -> None:
            nonlocal plays
            plays += len(signs.ends)
            await take(signs)

        async with Snapshot(self._url) as store:
            stand = await store.stand()
            stands(stand)
            for month in await store.months(since_us, self._door_past_s):
                before = plays
                await store.signs(month, since_us, PLAYS, count)
                tell(f"{month.year:04d}-{month.month:02d}  {plays - before:>12,} plays")
        return stand

    async def states(self, since_us: int, take: Take) -> None:
        async with Snapshot(self._url) as store:
            for month in await store.months(since_us, self._door_past_s):
                await store.signs(month, since_us, ANY, take)


class OfScylla:
    """PlayRows in one scan. Rows have no order of receipt there, so the scan keeps late states aside: those behind the
    positions come to the counters by their frames."""

    store = "CQL"

    def __init__(self, rows: StoredRows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._states = tempfile.SpooledTemporaryFile(KEPT_IN_MEMORY_BYTES)  # noqa: SIM115  it is closed by its owner's end

    async def plays(self, since_us: int, stands: Callable[[Stand], None], take: Take, tell: Told) -> Stand:
        books = await self._rows.books()
        stand = Stand.of(
            {one.incarnation: one.totals for one in books}, {one.incarnation: one.sequence for one in books}
        )
        stands(stand)
        raw_us = {(one.event_id, one.occurred_us): one.raw_us for one in await self._rows.repairs()}
        late_us = self._clock.now_us() - STATES_BACK_S * 1_000_000
        plays = 0

        async def divide(rows: list[bytes]) -> None:
            nonlocal plays
            sent = [_as_sent(row, raw_us) for row in rows]
            self._keep(row for row in sent if received_at_us(row) >= late_us)
            for signs in _signs(row for row in sent if row[86:94] == PLAY):
                plays += len(signs.ends)
                await take(signs)

        def told(done: int, pieces: int) -> None:
            if done * TOLD_TIMES % pieces == 0:
                tell(f"{100 * done // pieces:>3} %  {plays:>12,} plays")

        await self._rows.signs(since_us, divide, told=told)
        return stand

    async def states(self, since_us: int, take: Take) -> None:
        for signs in _signs(row for row in self._kept() if received_at_us(row) >= since_us):
            await take(signs)

    def _keep(self, rows: Iterable[bytes]) -> None:
        for row in rows:
            self._states.write(len(row).to_bytes(4, "big") + row)

    def _kept(self) -> Iterator[bytes]:
        self._states.seek(0)
        while size := self._states.read(4):
            yield self._states.read(int.from_bytes(size, "big"))


def _as_sent(row: bytes, raw_us: Mapping[tuple[bytes, int], int]) -> bytes:
    """Under the time that the player sent, where a broken clock's was repaired."""
    time_us = raw_us.get((event_id(row), occurred_at_us(row)))
    return row if time_us is None else with_occurred_at(row, time_us)


def _signs(rows: Iterable[bytes]) -> Iterator[Signs]:
    """As many at a time as one call of the counters' script takes."""
    rows = iter(rows)
    while some := list(islice(rows, SIGNS_MAX)):
        yield Signs(
            b"".join(some) + bytes(PADDING_BYTES), list(accumulate(map(len, some))), max(map(received_at_us, some))
        )
