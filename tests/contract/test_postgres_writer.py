"""The PostgreSQL sink on a real server: rows and positions together, once each, through kills and duplicates."""

import asyncio
import os
import signal
from pathlib import Path
from uuid import UUID

import pytest

from ingest.tuple import event_id, occurred_at_us, with_occurred_at
from storage.dead_letter import box
from storage.postgres import connection
from storage.sink import SinkFenced, SinkUnavailable
from tests.builders import RECEIVED_AT_US
from tests.cmcd import a_cmcd_body
from tests.contract.postgres_store import (
    KilledAfterItsCommit,
    KilledBeforeItsPositions,
    StoppedBeforeItsPositions,
    Store,
    a_store,
    run,
)
from tests.spooled import DAY, SECOND, Spooled, a_row, an_id, rows_of


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


def test_rows_arrive_byte_for_byte(store: Store) -> None:
    async def scenario() -> None:
        full = a_row(
            sent_at_us=RECEIVED_AT_US - 1, sequence=2**53 - 1, position_s=0, duration_s=2**31 - 1, profile_id=an_id(),
            quality="1440p", bitrate_kbps=4500, device_type="Fernseher", platform="tizen", cdn_edge="fra-03",
            buffer_duration_ms=240, startup_ms=810, error_code="MEDIA_ERR_DECODE", player="shaka", app_version="3.2.1",
            country="DE", metadata='{"a" :  [1, 2.50, "\\u00e9\\u0000", null], "a": 1}', test=True,
        )  # fmt: skip
        rows = [full, *rows_of(500)]
        await store.write(Spooled().slice(rows[:1], rows[1:]))
        assert await store.rows() == sorted(rows)
        (books,) = await store.books()
        assert (books.received, books.rows, books.stored, books.duplicate) == (501, 501, 501, 0)
        assert books.months == books.read_months
        await store.check()

    run(scenario)


@pytest.mark.usefixtures("each_core")
def test_lines_of_cmcd_are_booked_as_staged_and_make_no_row(store: Store) -> None:
    async def scenario() -> None:
        spooled, rows = Spooled(), rows_of(3)
        await store.write(spooled.slice(a_cmcd_body()))
        await store.write(spooled.slice(rows[:1], a_cmcd_body(), rows[1:], a_cmcd_body()))
        await store.write(spooled.slice(rows, a_cmcd_body(), lost_rows=4))
        assert await store.rows() == sorted(rows)
        (books,) = await store.books()
        assert (books.rows, books.stored, books.duplicate, books.staged) == (18, 3, 3, 8)
        assert (books.quarantined.rows, books.unaccounted) == (4, 0)
        assert books.read_months["cmcd"].rows == 8 and "cmcd" not in books.months
        await store.check()

    run(scenario)


def test_months_that_are_missing_are_made_and_rows_of_several_months_told_apart(store: Store) -> None:
    async def scenario() -> None:
        times_us = [RECEIVED_AT_US - days * DAY for days in (0, 10, 25, 34)]
        rows = [a_row(occurred_at_us=time_us) for time_us in times_us]
        sink = await store.opened()
        spooled = Spooled()
        await sink.write([spooled.slice(*([row] for row in rows))])
        await store.execute("DROP TABLE playback_events_2026_10")  # behind the sink's back: its months are out of date
        late = a_row(occurred_at_us=times_us[2])
        await sink.write([spooled.slice([late])])
        assert await store.rows() == sorted([*rows[:2], late])
        await sink.close()

    run(scenario)


def test_rows_below_the_drop_horizon_make_no_month_and_go_to_the_dead_letters(store: Store) -> None:
    async def scenario() -> None:
        ancient, recent = a_row(occurred_at_us=RECEIVED_AT_US - 100 * DAY), a_row()
        spooled = Spooled()
        await store.write(spooled.slice([ancient], [recent]))
        assert await store.rows() == [recent]
        assert await store.value("SELECT to_regclass('playback_events_2026_08')") is None
        (letter,) = box.read(store.data_dir)
        assert (letter.reason, letter.event_id) == ("month_dropped", str(UUID(bytes=event_id(ancient))))
        assert (letter.incarnation, letter.sequence, letter.index) == (spooled.incarnation, 0, 0)
        (books,) = await store.books()
        assert books.dead == {"month_dropped": 1}
        await store.check()

    run(scenario)


def test_a_month_below_the_horizon_that_is_still_there_takes_its_rows(store: Store) -> None:
    async def scenario() -> None:
        await store.execute("SELECT ensure_month_partition('playback_events', '2026-08-01')")
        ancient = a_row(occurred_at_us=RECEIVED_AT_US - 100 * DAY)
        await store.write(Spooled().slice([ancient]))
        assert await store.rows() == [ancient]

    run(scenario)


def test_rows_and_positions_are_there_together_or_not_at_all(store: Store) -> None:
    async def scenario() -> None:
        rows, spooled = rows_of(50), Spooled()
        one = spooled.slice(rows)
        sink = await store.opened(KilledBeforeItsPositions)
        with pytest.raises(SinkUnavailable):
            await sink.write([one])
        await sink.close()
        assert (await store.rows(), await store.books()) == ([], [])
        await store.write(one)
        assert await store.rows() == sorted(rows)
        await store.check()

    run(scenario)


def test_a_commit_whose_answer_never_came_is_settled_by_the_position(store: Store) -> None:
    async def scenario() -> None:
        rows, spooled = rows_of(3), Spooled()
        one = spooled.slice(rows)
        sink = await store.opened(KilledAfterItsCommit)
        with pytest.raises(SinkUnavailable):
            await sink.write([one])
        with pytest.raises(SinkUnavailable):  # it has to be opened again
            await sink.write([one])
        assert await sink.open() == {spooled.incarnation: 1}
        await sink.close()
        assert await store.rows() == sorted(rows)

    run(scenario)


def test_a_server_that_was_stopped_is_an_outage_in_bounded_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.5)

    async def scenario() -> None:
        rows, spooled = rows_of(3), Spooled()
        one = spooled.slice(rows)
        sink = await store.opened(StoppedBeforeItsPositions)
        assert isinstance(sink, StoppedBeforeItsPositions)
        try:
            with pytest.raises(SinkUnavailable):
                await asyncio.wait_for(sink.write([one]), 10)
        finally:
            os.kill(sink.server_pid, signal.SIGCONT)
        await sink.close()
        assert await store.rows() == []
        await store.write(one)
        assert await store.rows() == sorted(rows)

    run(scenario)


def test_a_drain_that_stops_in_a_transaction_holds_nobody_up_for_ever(store: Store) -> None:
    async def scenario() -> None:
        sink = await store.opened()
        assert sink._connection is not None
        assert await sink._connection.fetchval("SHOW idle_in_transaction_session_timeout") == "30s"
        await sink.close()

    run(scenario)


def test_a_batch_that_does_not_begin_where_the_last_one_ended_is_fenced(store: Store) -> None:
    async def scenario() -> None:
        spooled, sink = Spooled(), await store.opened()
        spooled.slice(rows_of(1))
        with pytest.raises(SinkFenced):
            await sink.write([spooled.slice(rows_of(1))])
        await sink.close()
        assert await store.rows() == []

    run(scenario)


def test_an_event_sent_again_keeps_its_first_row(store: Store) -> None:
    async def scenario() -> None:
        identity = an_id()
        first = a_row(event_id=identity)
        again = a_row(event_id=identity, received_at_us=RECEIVED_AT_US + DAY, sent_at_us=RECEIVED_AT_US + DAY)
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice([*rows_of(3), first], rows_of(2))])
        await sink.write([spooled.slice([*rows_of(2), again])])  # suspected
        await sink.close()
        await store.write(spooled.slice([again, *rows_of(1)]))  # by a drain that does not remember it
        await store.write(spooled.slice([again], [again]))
        assert [row for row in await store.rows() if event_id(row) == identity.bytes] == [first]
        (books,) = await store.books()
        assert (books.stored, books.duplicate) == (9, 4)
        await store.check()

    run(scenario)


def test_repeats_within_a_frame_and_within_a_batch_are_one_row(store: Store) -> None:
    async def scenario() -> None:
        row, spooled, other = a_row(), Spooled(), Spooled()
        await store.write(spooled.slice([row, row], [row]), other.slice([row, *rows_of(1)]))
        assert len(await store.rows()) == 2
        books = await store.books()
        assert (sum(one.stored for one in books), sum(one.duplicate for one in books)) == (2, 3)
        await store.check()

    run(scenario)


def test_the_same_id_at_another_time_is_another_event(store: Store) -> None:
    async def scenario() -> None:
        row = a_row()
        moved = with_occurred_at(row, occurred_at_us(row) - SECOND)
        await store.write(Spooled().slice([row], [moved]))
        assert await store.rows() == sorted([row, moved])

    run(scenario)


def test_duplicates_are_suspected_only_as_far_back_as_the_bound(store: Store) -> None:
    async def scenario() -> None:
        spooled, sink = Spooled(), await store.opened(fingerprints_max=8)
        rows = rows_of(40)
        for at in range(0, 40, 4):
            await sink.write([spooled.slice(rows[at : at + 4])])
        await sink.write([spooled.slice(rows)])  # most are forgotten, and found by the key
        assert await store.rows() == sorted(rows)
        await sink.close()
        await store.check()

    run(scenario)
