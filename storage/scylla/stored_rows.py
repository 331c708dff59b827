"""What the CQL store holds, for those that read all of it: positions from the files of the data directory, rows by
token ranges. Every call makes a connection of its own, and ends it.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

from config.scylla import ScyllaSettings
from ingest.spool.disk import Disk
from storage.playback_rows import SIGN_COLUMNS, Repair, Take
from storage.postgres.audit import StoredPosition
from storage.redis.sign import RANKS
from storage.scylla import registration
from storage.scylla.driver import Row
from storage.scylla.positions import Found, PositionFiles
from storage.scylla.row import cql_name, tuples_of
from storage.scylla.scanning import BY_SESSION, RANGES, REPAIRS, RING, Part, Range, Table, connected, ranges, scan
from storage.sink import SinkUnavailable

SIGN_KINDS: Final = frozenset(kind.decode("ascii") for kind in RANKS)
SIGN_NAMES: Final = ", ".join(map(cql_name, SIGN_COLUMNS))
_NAMES: Final = [column.name for column in SIGN_COLUMNS]
_RECEIVED, _TYPE, _TEST = map(_NAMES.index, ("received_at", "event_type", "test"))
_sign: Final = tuples_of(SIGN_COLUMNS)

TOLD_TIMES: Final = 16
"""Of a whole table, how far it is."""
NOBODY: Final = "00000000-0000-0000-0000-000000000000"

Told = Callable[[int, int], object]


def silent(done: int, pieces: int) -> None:
    """Nobody wants to hear how far it is."""


class StoredRows:
    """A PlaybackRows, of one data directory's gateway. Everything raises SinkUnavailable, SinkLost, SinkRefused."""

    def __init__(
        self,
        settings: ScyllaSettings,
        data_dir: Path,
        disk: Disk,
        tell: Callable[[str], object] = lambda words: None,
    ) -> None:
        """`tell` hears how far a scan is that nobody else listens to."""
        self._settings = settings
        self._data_dir = data_dir
        self._disk = disk
        self._tell = tell

    async def books(self) -> list[StoredPosition]:
        """Where the store stands in every incarnation of this directory, if the cluster knows it still."""
        found = await asyncio.to_thread(self._found)
        if found.registration_id:
            async with connected(self._settings) as driver:
                await registration.check(driver, found.registration_id, found.moved)
        return [StoredPosition(name, one.sequence, one.books) for name, one in sorted(found.positions.items())]

    async def identity(self) -> str:
        """Of the registration; nobody's where there is none yet, and no row."""
        found = await asyncio.to_thread(self._found)
        return UUID(found.registration_id or NOBODY).hex

    async def positions(self) -> dict[str, int]:
        return {one.incarnation: one.sequence for one in await self.books() if one.sequence}

    def oldest_us(self) -> int:
        """Rows that were written since then have not left by age; microseconds since 1970."""
        return time.time_ns() // 1_000 - self._settings.retention_days * 86_400_000_000

    async def gateways(self) -> int:
        """Data directories that write to this keyspace, or did."""
        async with connected(self._settings) as driver:
            (count,) = (await driver.execute("SELECT count(*) FROM ingest_registration"))[0]
        return int(count or 0)

    async def repairs(self) -> list[Repair]:
        found: set[Repair] = set()
        await self.scan(REPAIRS, "event_id, raw_occurred_at_us, occurred_at_us", lambda: _Repairs(found))
        return list(found)

    async def signs(self, since_us: int, take: Take, piece: int = 0, pieces: int = 1, told: Told = silent) -> None:
        within = ranges(pieces)[piece]
        await self.scan(BY_SESSION, SIGN_NAMES, lambda: _Signs(since_us, take), told, within, RANGES // pieces)

    async def scan(
        self,
        table: Table,
        columns: str,
        part: Callable[[], Part],
        told: Told = silent,
        within: Range = RING,
        pieces: int = RANGES,
    ) -> None:
        """As storage.scylla.scanning.scan."""

        def telling(done: int, all_: int) -> None:
            if done * TOLD_TIMES % all_ == 0:
                self._tell(f"{100 * done // all_:>3} % of {table.name} read")

        told = telling if told is silent else told
        async with connected(self._settings) as driver:
            await scan(driver, table, columns, part, told=told, within=within, pieces=pieces)

    def _found(self) -> Found:
        try:
            return PositionFiles(self._data_dir, self._disk).read()
        except OSError as error:
            raise SinkUnavailable(f"The positions cannot be read: {error}") from error


class _Repairs:
    """A Part: what is read twice is one."""

    def __init__(self, found: set[Repair]) -> None:
        self._found = found

    async def take(self, rows: list[Row]) -> None:
        for event_id, raw_us, occurred_us in rows:
            assert isinstance(raw_us, int) and isinstance(occurred_us, int)
            self._found.add(Repair(bytes.fromhex(str(event_id).replace("-", "")), raw_us, occurred_us))

    def whole(self) -> None:
        """Nothing is left to do."""


class _Signs:
    """A Part: what is read twice is taken twice, as PlaybackRows says."""

    def __init__(self, since_us: int, take: Take) -> None:
        self._since_us = since_us
        self._take = take

    async def take(self, rows: list[Row]) -> None:
        since_us: object = self._since_us
        signs = [
            _sign(row)
            for row in rows
            if row[_TYPE] in SIGN_KINDS and not row[_TEST] and row[_RECEIVED] >= since_us  # type: ignore[operator]
        ]
        if signs:
            await self._take(signs)

    def whole(self) -> None:
        """Nothing is left to do."""
