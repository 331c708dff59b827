"""Views and watch history of rows that another store keeps: counted anew from there, as from PostgreSQL's own."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.spool.disk import FileDisk
from ingest.tuple import COLUMNS, decode_fields, encode_fields, received_at_us
from storage.playback_rows import SIGN_COLUMNS, Repair, Take
from storage.postgres.audit import Audit
from storage.postgres.derived import Derived
from storage.sink import SinkUnavailable
from tests.contract.connected import connected, migrated
from tests.contract.house import House, now, some_signs
from tests.contract.test_derived_views import MEMORY_S, WAITING_S, sums


class Taken:
    """PostgreSQL's rows, taken out of it: another store's from now on."""

    def __init__(self, house: House) -> None:
        self.rows: list[bytes] = []
        self.reached: dict[str, int] = {}
        self.repaired: list[Repair] = []
        self.breaks: list[int] = []
        """In the middle of which pieces it is away once."""
        self.read: list[int] = []
        """Pieces that were asked for."""
        house.run(self._take(house))

    async def _take(self, house: House) -> None:
        async with Audit(house.postgres_url) as audit:
            self.reached = {one.incarnation: one.sequence for one in await audit.positions()}
            for month in await audit.months():
                await audit.rows(month, self.rows.extend)
            self.repaired = [Repair(*sent, settled) for sent, settled in (await audit.repairs()).items()]
        async with connected(house.postgres_url) as connection:
            await connection.execute("DELETE FROM playback_events; DELETE FROM clock_repairs")

    async def identity(self) -> str:
        return "ab" * 16

    async def positions(self) -> dict[str, int]:
        return dict(self.reached)

    async def repairs(self) -> list[Repair]:
        return self.repaired

    async def signs(self, since_us: int, take: Take, piece: int = 0, pieces: int = 1) -> None:
        self.read.append(piece)
        mine = [row for row in self.rows if row[61] % pieces == piece]  # by session
        fresh = [row for row in mine if received_at_us(row) >= since_us]
        narrow = [encode_fields(SIGN_COLUMNS, list(decode_fields(COLUMNS, row))[: len(SIGN_COLUMNS)]) for row in fresh]
        await take(narrow[: len(narrow) // 2])
        if piece in self.breaks:
            self.breaks.remove(piece)
            raise SinkUnavailable("It is away.")
        await take(narrow[len(narrow) // 3 :])  # some of them again


@pytest.fixture
def house(embedded_url: str, valkey_url: str, tmp_path: Path) -> Iterator[House]:
    async def nothing(_: object) -> None:
        """The schema is all that is wanted."""

    migrated(embedded_url, nothing)
    with House(tmp_path, embedded_url, valkey_url) as it:
        yield it


def test_what_another_store_keeps_is_counted_as_postgres_counts_its_own(house: House) -> None:
    house.post(*some_signs(random.Random(21), 600))
    house.deliver()
    house.bury(0)
    rows = Taken(house)
    rows.breaks = [0, 9]
    sink = Derived(house.postgres_url, house.data.root, MEMORY_S, WAITING_S, FileDisk(), house.clock, rows)
    with pytest.raises(SinkUnavailable):
        house.run(sink.open())
    assert sums(house) == {}
    with pytest.raises(SinkUnavailable):
        house.run(sink.open())
    assert 0 < sum(sums(house).values()) < sum(house.views().values()), "what was read is kept"
    house.deliver(sink)
    assert rows.read == [0, *range(10), *range(9, 16)], "it goes on where it was stopped"
    assert sums(house) == house.views() and sums(house)
    later = house.another_collector()
    house.post(*some_signs(random.Random(22), 100), now(content=3), collector=later)
    house.deliver(house.redis, sink)
    assert sums(house) == house.views()
