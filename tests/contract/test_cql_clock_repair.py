"""Events of broken clocks in CQL: one row each, whichever month, drain or state of the clock they come again in."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from config.scylla import ScyllaSettings
from ingest.tuple import event_id, occurred_at_us
from storage.scylla import clock_repair, writing
from tests.builders import RECEIVED_AT_US
from tests.contract.cql_store import CqlStore, make, run
from tests.spooled import DAY, SECOND, Spooled, a_row, an_id, broken, rows_of

YEAR_1970_US = 5 * SECOND
YEAR_2038_US = 2_147_483_647 * SECOND
BEFORE_MIDNIGHT_US = int(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()) * SECOND
AFTER_MIDNIGHT_US = BEFORE_MIDNIGHT_US + 2 * SECOND


@pytest.fixture
def store(cql_settings: ScyllaSettings, tmp_path: Path) -> CqlStore:
    return CqlStore(cql_settings, tmp_path)


async def times_of(store: CqlStore, identity: bytes) -> list[int]:
    """Under which the event stands; in all tables the same."""
    await store.check()
    return [occurred_at_us(row) for row in await store.rows() if event_id(row) == identity]


def elsewhere(store: CqlStore, directory: Path) -> CqlStore:
    """The same store, as another gateway's drain meets it."""
    directory.mkdir(exist_ok=True)
    other = CqlStore(store.settings, directory)
    other.clock = store.clock
    return other


@pytest.mark.parametrize("driver", ["acsylla", "cassandra"])
@pytest.mark.parametrize("raw_us", [YEAR_1970_US, YEAR_2038_US], ids=["1970", "2038"])
@pytest.mark.parametrize("remembering", [True, False], ids=["same drain", "another drain"])
def test_an_event_of_a_broken_clock_sent_again_in_another_month_is_one_row(
    store: CqlStore, raw_us: int, remembering: bool, driver: str
) -> None:
    async def scenario() -> None:
        store.clock.at_us = AFTER_MIDNIGHT_US
        identity = an_id()
        first = a_row(event_id=identity, occurred_at_us=raw_us, received_at_us=BEFORE_MIDNIGHT_US, sent_at_us=raw_us)
        again = a_row(event_id=identity, occurred_at_us=raw_us, received_at_us=AFTER_MIDNIGHT_US, sent_at_us=raw_us)
        spooled, sink = Spooled(), await store.opened(driver=driver)
        await sink.write([spooled.slice(broken(first))])
        if not remembering:
            await sink.close()
            sink = await store.opened(driver=driver)
        await sink.write([spooled.slice(broken(again), rows_of(1))])
        await sink.close()
        assert await times_of(store, identity.bytes) == [BEFORE_MIDNIGHT_US]
        (books,) = await store.books()
        assert (books.stored, books.duplicate, books.months["2026-11"].rows) == (3, 0, 3)
        assert books.read_months["unsettled"].rows == 2

    run(scenario)


@pytest.mark.parametrize("earlier_first", [True, False])
def test_both_tries_in_one_batch_take_the_earlier_receive_time(store: CqlStore, earlier_first: bool) -> None:
    async def scenario() -> None:
        store.clock.at_us = AFTER_MIDNIGHT_US
        identity = an_id()
        later = a_row(event_id=identity, occurred_at_us=YEAR_1970_US, received_at_us=AFTER_MIDNIGHT_US)
        earlier = a_row(event_id=identity, occurred_at_us=YEAR_1970_US, received_at_us=BEFORE_MIDNIGHT_US)
        rows = [earlier, later] if earlier_first else [later, earlier]
        await store.write(*(Spooled().slice(broken(row)) for row in rows))
        assert await times_of(store, identity.bytes) == [BEFORE_MIDNIGHT_US]

    run(scenario)


def test_two_drains_that_meet_the_event_at_the_same_time_agree(store: CqlStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        pairs = [
            tuple(
                a_row(event_id=identity, occurred_at_us=YEAR_1970_US, received_at_us=RECEIVED_AT_US + at * SECOND)
                for at in (0, 40 * 86_400)
            )
            for identity in (an_id() for _ in range(20))
        ]
        sinks = [await store.opened(), await elsewhere(store, tmp_path / "other").opened()]
        slices = [Spooled().slice(*(broken(pair[number]) for pair in pairs)) for number in (0, 1)]
        await asyncio.gather(*(sink.write([one]) for sink, one in zip(sinks, slices, strict=True)))
        for sink in sinks:
            await sink.close()
        assert len(await store.rows()) == len(await store.rows("events_by_content")) == 20

    run(scenario)


def test_a_broken_clock_within_the_doors_window_keeps_its_time(store: CqlStore) -> None:
    async def scenario() -> None:
        row = a_row(occurred_at_us=RECEIVED_AT_US - 3 * DAY)
        await store.write(Spooled().slice(broken(row)))
        assert await store.rows() == [row]
        assert await store.execute("SELECT * FROM clock_repairs") == []

    run(scenario)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "later"])
def test_an_event_stored_under_a_sane_clock_stays_when_it_comes_again_under_a_broken_one(
    store: CqlStore, together: bool
) -> None:
    async def scenario() -> None:
        raw_us = RECEIVED_AT_US - 34 * DAY
        sane = a_row(occurred_at_us=raw_us)
        identity = event_id(sane)
        again = a_row(event_id=UUID(bytes=identity), occurred_at_us=raw_us, received_at_us=RECEIVED_AT_US + 2 * DAY)
        spooled, sink = Spooled(), await store.opened()
        if together:
            await sink.write([spooled.slice(broken(again), [sane])])
        else:
            await sink.write([spooled.slice([sane])])
            await sink.write([spooled.slice(broken(again))])  # its time is below the door's limit by now
        await sink.close()
        assert await times_of(store, identity) == [raw_us]

    run(scenario)


def ahead_and_sane() -> tuple[bytes, bytes]:
    """An event of a clock two days ahead, and the same event a day and a half later, when its time is acceptable."""
    raw_us = RECEIVED_AT_US + 2 * DAY
    ahead = a_row(occurred_at_us=raw_us)
    return ahead, a_row(event_id=UUID(bytes=event_id(ahead)), occurred_at_us=raw_us, received_at_us=raw_us - DAY // 2)


@pytest.mark.parametrize("remembering", [True, False], ids=["same drain", "another drain"])
def test_a_repaired_event_that_comes_again_under_a_sane_clock_is_the_same_row(
    store: CqlStore, remembering: bool
) -> None:
    async def scenario() -> None:
        ahead, sane = ahead_and_sane()
        others = rows_of(9)
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(broken(ahead), rows_of(9))])
        if not remembering:
            await sink.close()
            sink = await store.opened()
        store.clock.at_us = RECEIVED_AT_US + 3 * DAY // 2
        await sink.write([spooled.slice([*others[:4], sane, *others[4:]])])
        await sink.close()
        assert await times_of(store, event_id(ahead)) == [RECEIVED_AT_US]
        (books,) = await store.books()
        assert (books.stored, books.rows) == (20, 20)

    run(scenario)


@pytest.mark.parametrize("wrong_us", [800 * DAY, -800 * DAY], ids=["ahead", "behind"])
@pytest.mark.parametrize("wrong_at_first", [True, False], ids=["at first", "when it came again"])
@pytest.mark.parametrize("remembering", [True, False], ids=["same drain", "another drain"])
def test_a_gateway_whose_own_clock_is_wrong_by_years_for_a_while_meets_the_same_row(
    store: CqlStore, wrong_us: int, wrong_at_first: bool, remembering: bool
) -> None:
    async def scenario() -> None:
        first_us, again_us = RECEIVED_AT_US, RECEIVED_AT_US + wrong_us
        if wrong_at_first:
            first_us, again_us = again_us, first_us
        raw_us = again_us - 60 * SECOND
        repaired = a_row(occurred_at_us=raw_us, received_at_us=first_us)
        sane = a_row(event_id=UUID(bytes=event_id(repaired)), occurred_at_us=raw_us, received_at_us=again_us)
        store.clock.at_us = first_us
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(broken(repaired))])
        if not remembering:
            await sink.close()
            sink = await store.opened()
        store.clock.at_us = again_us
        await sink.write([spooled.slice([sane], received_at_us=again_us)])
        await sink.close()
        assert await times_of(store, event_id(repaired)) == [first_us]

    run(scenario)


@pytest.mark.parametrize("looked", [True, False], ids=["wrote before", "opened before"])
def test_a_drain_that_was_open_before_another_repaired_an_event_meets_the_same_row(
    store: CqlStore, looked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_repair, "LOOK_SHARE", 1.0)

    async def scenario() -> None:
        ahead, sane = ahead_and_sane()
        here, there = Spooled(), elsewhere(store, tmp_path / "there")
        other = await there.opened()
        if looked:
            await other.write([here.slice(rows_of(1))])
        await store.write(Spooled().slice(broken(ahead)))
        store.clock.at_us = RECEIVED_AT_US + 3 * DAY // 2
        await other.write([here.slice([sane])])
        await other.close()
        rows = [occurred_at_us(row) for row in await store.rows() if event_id(row) == event_id(ahead)]
        assert rows == [RECEIVED_AT_US]

    run(scenario)


def test_a_drain_that_wrote_nothing_for_longer_than_notes_are_kept_looks_at_all_there_are(
    store: CqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_repair, "NOTES_KEPT_US", -1)

    async def scenario() -> None:
        ahead, sane = ahead_and_sane()
        here, there = Spooled(), elsewhere(store, tmp_path / "there")
        other = await there.opened()
        await store.write(Spooled().slice(broken(ahead)))
        await store.execute("TRUNCATE clock_repairs_by_hour")
        store.clock.at_us = RECEIVED_AT_US + 3 * DAY // 2
        await other.write([here.slice([sane])])
        await other.close()
        assert [occurred_at_us(row) for row in await store.rows()] == [RECEIVED_AT_US]

    run(scenario)


def test_repairs_are_remembered_longer_than_rows_whatever_the_retention_becomes(store: CqlStore) -> None:
    async def scenario() -> None:
        asked = "SELECT default_time_to_live FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
        for days in (400, store.settings.retention_days):
            await make(msgspec.structs.replace(store.settings, retention_days=days))
            for table in ("clock_repairs", "clock_repairs_by_day"):
                assert await store.execute(asked, store.settings.keyspace, table) == [((days + 30) * 86_400,)]

    run(scenario)


def test_more_repairs_than_can_be_watched_one_by_one_meet_the_same_rows(
    store: CqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WATCHED_MAX", 2)

    async def scenario() -> None:
        pairs = [ahead_and_sane() for _ in range(5)]
        spooled = Spooled()
        await store.write(spooled.slice(*(broken(ahead) for ahead, _ in pairs)))
        store.clock.at_us = RECEIVED_AT_US + 3 * DAY // 2
        await store.write(spooled.slice(*([sane] for _, sane in pairs), rows_of(3)))
        stored = {event_id(row): occurred_at_us(row) for row in await store.rows()}
        assert [stored[event_id(ahead)] for ahead, _ in pairs] == [RECEIVED_AT_US] * 5
        assert len(stored) == len(await store.rows()) == 8
        await store.check()

    run(scenario)
