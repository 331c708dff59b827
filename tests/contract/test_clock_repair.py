"""Events of broken clocks: one row each, whichever month, drain or state of the clock they come again in."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from ingest.tuple import event_id, occurred_at_us, with_occurred_at
from storage.postgres import clock_repair
from tests.builders import RECEIVED_AT_US
from tests.contract.connected import connected
from tests.contract.postgres_store import Store, a_store, run
from tests.spooled import DAY, SECOND, Spooled, a_row, an_id, broken, rows_of


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


MONTH = "2026-11"

YEAR_1970_US = 5 * SECOND
YEAR_2038_US = 2_147_483_647 * SECOND
BEFORE_MIDNIGHT_US = int(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()) * SECOND
AFTER_MIDNIGHT_US = BEFORE_MIDNIGHT_US + 2 * SECOND


@pytest.mark.parametrize("raw_us", [YEAR_1970_US, YEAR_2038_US], ids=["1970", "2038"])
@pytest.mark.parametrize("remembering", [True, False], ids=["same drain", "another drain"])
def test_an_event_of_a_broken_clock_sent_again_in_another_month_is_one_row(
    store: Store, raw_us: int, remembering: bool
) -> None:
    async def scenario() -> None:
        store.clock.at_us = AFTER_MIDNIGHT_US
        identity = an_id()
        first = a_row(
            event_id=identity, occurred_at_us=raw_us, received_at_us=BEFORE_MIDNIGHT_US, sent_at_us=raw_us + 9
        )
        again = a_row(
            event_id=identity, occurred_at_us=raw_us, received_at_us=AFTER_MIDNIGHT_US, sent_at_us=raw_us + 2 * SECOND
        )
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(broken(first))])
        if not remembering:
            await sink.close()
            sink = await store.opened()
        await sink.write([spooled.slice(broken(again), rows_of(1))])
        await sink.close()
        stored = [row for row in await store.rows() if event_id(row) == identity.bytes]
        assert stored == [with_occurred_at(first, BEFORE_MIDNIGHT_US)]
        (books,) = await store.books()
        assert (books.stored, books.duplicate, books.months[MONTH].rows) == (2, 1, 2)
        assert books.read_months["unsettled"].rows == 2
        await store.check()

    run(scenario)


@pytest.mark.parametrize("earlier_first", [True, False])
def test_both_tries_in_one_batch_take_the_earlier_receive_time(store: Store, earlier_first: bool) -> None:
    async def scenario() -> None:
        store.clock.at_us = AFTER_MIDNIGHT_US
        identity = an_id()
        later = a_row(event_id=identity, occurred_at_us=YEAR_1970_US, received_at_us=AFTER_MIDNIGHT_US)
        earlier = a_row(event_id=identity, occurred_at_us=YEAR_1970_US, received_at_us=BEFORE_MIDNIGHT_US)
        rows = [earlier, later] if earlier_first else [later, earlier]
        await store.write(*(Spooled().slice(broken(row)) for row in rows))
        (row,) = await store.rows()
        assert occurred_at_us(row) == BEFORE_MIDNIGHT_US
        await store.check()

    run(scenario)


def test_a_broken_clock_within_the_doors_window_keeps_its_time(store: Store) -> None:
    async def scenario() -> None:
        row = a_row(occurred_at_us=RECEIVED_AT_US - 3 * DAY)
        await store.write(Spooled().slice(broken(row)))
        assert await store.rows() == [row]
        assert await store.value("SELECT count(*) FROM clock_repairs") == 0

    run(scenario)


def test_an_event_stored_under_a_sane_clock_stays_when_it_comes_again_under_a_broken_one(store: Store) -> None:
    async def scenario() -> None:
        raw_us = RECEIVED_AT_US - 34 * DAY
        sane = a_row(occurred_at_us=raw_us)
        again = a_row(
            event_id=UUID(bytes=event_id(sane)), occurred_at_us=raw_us, received_at_us=RECEIVED_AT_US + 2 * DAY
        )
        spooled = Spooled()
        await store.write(spooled.slice([sane]))
        await store.write(spooled.slice(broken(again)))  # its time is below the door's limit by now
        assert await store.rows() == [sane]
        await store.check()

    run(scenario)


@pytest.mark.parametrize("remembering", [True, False], ids=["same drain", "another drain"])
def test_a_repaired_event_that_comes_again_under_a_sane_clock_is_the_same_row(store: Store, remembering: bool) -> None:
    async def scenario() -> None:
        raw_us = RECEIVED_AT_US + 2 * DAY  # too far ahead now, fine in a day and a half
        ahead = a_row(occurred_at_us=raw_us)
        sane = a_row(event_id=UUID(bytes=event_id(ahead)), occurred_at_us=raw_us, received_at_us=raw_us - DAY // 2)
        spooled, sink = Spooled(), await store.opened(fingerprints_max=2)
        await sink.write([spooled.slice(broken(ahead))])
        await sink.write([spooled.slice(rows_of(9))])
        await sink.write([spooled.slice(rows_of(9))])  # beyond what it remembers of ordinary rows
        if not remembering:
            await sink.close()
            sink = await store.opened()
        store.clock.at_us = raw_us - DAY // 2
        await sink.write([spooled.slice([sane])])
        await sink.close()
        stored = [row for row in await store.rows() if event_id(row) == event_id(ahead)]
        assert stored == [with_occurred_at(ahead, RECEIVED_AT_US)]
        await store.check()

    run(scenario)


@pytest.mark.parametrize("wrong_us", [800 * DAY, -800 * DAY], ids=["ahead", "behind"])
@pytest.mark.parametrize("wrong_at_first", [True, False], ids=["at first", "when it came again"])
@pytest.mark.parametrize("remembering", [True, False], ids=["same drain", "another drain"])
def test_a_gateway_whose_own_clock_is_wrong_by_years_for_a_while_meets_the_same_row(
    store: Store, wrong_us: int, wrong_at_first: bool, remembering: bool
) -> None:
    async def scenario() -> None:
        first_us, again_us = RECEIVED_AT_US, RECEIVED_AT_US + wrong_us
        if wrong_at_first:
            first_us, again_us = again_us, first_us
        raw_us = again_us - 60 * SECOND
        repaired = a_row(occurred_at_us=raw_us, received_at_us=first_us)
        sane = a_row(event_id=UUID(bytes=event_id(repaired)), occurred_at_us=raw_us, received_at_us=again_us)
        store.clock.at_us = first_us
        spooled, sink = Spooled(), await store.opened(fingerprints_max=2)
        await sink.write([spooled.slice(broken(repaired))])
        await sink.write([spooled.slice(rows_of(9, occurred_at_us=RECEIVED_AT_US))])
        await sink.write([spooled.slice(rows_of(9, occurred_at_us=RECEIVED_AT_US))])
        if not remembering:
            await sink.close()
            sink = await store.opened(fingerprints_max=2)
        store.clock.at_us = again_us
        await sink.write([spooled.slice([sane], received_at_us=again_us)])
        await sink.close()
        stored = [row for row in await store.rows() if event_id(row) == event_id(repaired)]
        assert stored == [with_occurred_at(repaired, first_us)]
        await store.check()

    run(scenario)


def ahead_and_sane() -> tuple[bytes, bytes]:
    """An event of a clock two days ahead, and the same event a day and a half later, when its time is acceptable."""
    raw_us = RECEIVED_AT_US + 2 * DAY
    ahead = a_row(occurred_at_us=raw_us)
    return ahead, a_row(event_id=UUID(bytes=event_id(ahead)), occurred_at_us=raw_us, received_at_us=raw_us - DAY // 2)


@pytest.mark.parametrize("looked", [True, False], ids=["wrote before", "opened before"])
def test_a_drain_that_was_open_before_another_repaired_an_event_meets_the_same_row(
    store: Store, looked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_repair, "LOOK_SHARE", 1.0)

    async def scenario() -> None:
        ahead, sane = ahead_and_sane()
        here, other = Spooled(), await store.opened()
        if looked:
            await other.write([here.slice(rows_of(1))])
        await store.write(Spooled().slice(broken(ahead)))
        store.clock.at_us = RECEIVED_AT_US + 3 * DAY // 2
        await other.write([here.slice([sane])])
        await other.close()
        stored = [row for row in await store.rows() if event_id(row) == event_id(ahead)]
        assert stored == [with_occurred_at(ahead, RECEIVED_AT_US)]
        await store.check()

    run(scenario)


def test_a_repair_committed_only_after_others_looked_is_found_by_their_next_look(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_repair, "LOOK_SHARE", 1.0)

    async def scenario() -> None:
        ahead, sane = ahead_and_sane()
        spooled, sink = Spooled(), await store.opened()
        async with connected(store.url) as other, other.transaction():
            await other.execute(
                "INSERT INTO clock_repairs (event_id, raw_occurred_at, occurred_at) VALUES ($1, $2, $3)",
                UUID(bytes=event_id(ahead)),
                *(datetime.fromtimestamp(us / SECOND, UTC) for us in (occurred_at_us(ahead), RECEIVED_AT_US)),
            )
            await sink.write([spooled.slice(rows_of(1))])
        await sink.write([spooled.slice([sane])])
        await sink.close()
        assert event_id(sane) not in map(event_id, await store.rows())

    run(scenario)


@pytest.mark.parametrize("reopened", [True, False], ids=["loaded at open", "its own"])
def test_more_repairs_than_can_be_remembered_send_every_resend_through_staging(store: Store, reopened: bool) -> None:
    async def scenario() -> None:
        pairs = [ahead_and_sane() for _ in range(5)]
        spooled, sink = Spooled(), await store.opened(fingerprints_max=4)
        await sink.write([spooled.slice(*(broken(ahead) for ahead, _ in pairs))])
        if reopened:
            await sink.close()
            sink = await store.opened(fingerprints_max=4)
        else:
            await sink.write([spooled.slice(rows_of(9))])
            await sink.write([spooled.slice(rows_of(9))])
        store.clock.at_us = RECEIVED_AT_US + 3 * DAY // 2
        await sink.write([spooled.slice(*([sane] for _, sane in pairs))])
        await sink.close()
        stored = {event_id(row): row for row in await store.rows()}
        assert [stored[event_id(ahead)] for ahead, _ in pairs] == [
            with_occurred_at(ahead, RECEIVED_AT_US) for ahead, _ in pairs
        ]
        await store.check()

    run(scenario)
