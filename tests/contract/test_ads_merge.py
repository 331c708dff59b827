"""Ad events through the real writer into a real PostgreSQL: one row an impression, and figures that move with it."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from ingest.ad import AdRow, encode
from ingest.batch import KIND_AD, MONTH_AD, SCHEMA_AD, FrameBody
from storage.dead_letter import box
from storage.postgres import staging
from storage.postgres.ad_statement import STATEMENTS
from storage.sink import SinkFenced, SinkRefused, SinkUnavailable, Slice
from tests.ads import HOUR, ads_frame, an_ad, many_ads
from tests.builders import RECEIVED_AT_US
from tests.contract.ads_store import check
from tests.contract.connected import connected
from tests.contract.postgres_store import KilledAfterItsCommit, KilledBeforeItsPositions, Store, a_store, run
from tests.spooled import SECOND, Spooled, an_id, rows_of


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


@pytest.fixture
def each_store(postgres_url: str, tmp_path: Path) -> Store:
    return a_store(postgres_url, tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_any_cut_and_any_repetition_give_the_rows_and_figures_of_a_fold(each_store: Store, seed: int) -> None:
    chance, store = random.Random(seed), each_store

    async def scenario() -> None:
        sent = many_ads(chance, impressions=80)
        waiting, incarnations, sink = list(sent), [Spooled() for _ in range(3)], await store.opened()
        while waiting:
            slices: list[Slice] = []
            for spooled in chance.sample(incarnations, chance.randrange(1, 4)):
                part = [waiting.pop() for _ in range(min(len(waiting), chance.choice([1, 5, 30])))]
                middle = chance.randrange(len(part) + 1)
                bodies = [ads_frame(half) for half in (part[:middle], part[middle:]) if half]
                slices.append(spooled.slice(*bodies, rows_of(2)))
            fate = chance.random()
            if fate < 0.3:  # killed on one side of the commit or the other, and settled by the position
                await sink.close()
                sink = await store.opened(KilledBeforeItsPositions if fate < 0.15 else KilledAfterItsCommit)
                with pytest.raises(SinkUnavailable):
                    await sink.write(slices)
                sink = await store.opened()
                positions = await sink.open()
                slices = [one for one in slices if positions.get(one.incarnation, 0) == one.begin]
            await sink.write(slices)
        await sink.close()
        rows = await check(store, sent)
        assert any(row["implausible"] for row in rows) and any(row["test"] for row in rows)
        assert any(row["repeats"] for row in rows) and any(row["campaign_id"] is None for row in rows)

    run(scenario)


def test_what_was_counted_moves_when_an_earlier_event_says_so(store: Store) -> None:
    async def scenario() -> None:
        shown, campaign, other, profile = (an_id() for _ in range(4))
        at_us = RECEIVED_AT_US

        def event(name: str, after_s: float = 0, **changes: Any) -> AdRow:
            return an_ad(impression_id=shown, event=name, occurred_at_us=at_us + int(after_s * SECOND), **changes)

        sent = [
            event("start", 1),  # of no campaign yet: in no figure
            event("impression", received_at_us=RECEIVED_AT_US + 50, campaign_id=campaign, profile_id=profile),
            event("impression", -3_600),  # an hour earlier, and there already
            event("midpoint", 16, campaign_id=other, received_at_us=RECEIVED_AT_US + 40),  # first to name one
            event("complete", 31, duration_ms=30_000),
            event("click", 20),
            event("click", 5_000),  # a second click is none
            event("complete", 1.5),  # the end too soon: all of it is taken out
            event("pause", 3, test=True),
        ]
        spooled, sink = Spooled(), await store.opened()
        for number, one in enumerate(sent, 1):
            await sink.write([spooled.slice(ads_frame([one]))])
            await check(store, sent[:number])
        await sink.close()

    run(scenario)


def test_an_event_that_was_there_already_is_booked_as_a_duplicate_where_it_came(store: Store) -> None:
    async def scenario() -> None:
        first, second = Spooled(), Spooled()
        shown = an_id()
        start, end = (an_ad(impression_id=shown, event=name, campaign_id=an_id()) for name in ("start", "close"))
        progress = [an_ad(impression_id=shown, event="progress", progress_offset=offset) for offset in ("5", "9", "5")]
        await store.write(first.slice(ads_frame([start, *progress])))
        await store.write(second.slice(ads_frame([start, end, progress[1]])))
        await check(store, [start, *progress, start, end, progress[1]])
        async with connected(store.url) as connection:
            booked = await connection.fetch(
                "SELECT (totals->'stored')::int, (totals->'duplicate')::int, totals->'months'->'ads'->>'rows' "
                "FROM ingest_positions ORDER BY (totals->'stored')::int"
            )
        assert [tuple(one) for one in booked] == [(1, 2, "1"), (3, 1, "3")]

    run(scenario)


def test_an_impression_keeps_a_hundred_events_without_a_column_and_more_are_repeats(store: Store) -> None:
    async def scenario() -> None:
        shown = an_id()
        sent = [an_ad(impression_id=shown, event="progress", progress_offset=f"{number:03}") for number in range(250)]
        random.Random(1).shuffle(sent)
        spooled, sink = Spooled(), await store.opened()
        for begin in range(0, 250, 90):
            await sink.write([spooled.slice(ads_frame(sent[begin : begin + 90]))])
        await sink.close()
        (row,) = await check(store, sent)
        assert (row["events"], row["repeats"]) == (100, 150)

    run(scenario)


def test_playback_and_ads_of_one_batch_are_stored_together_and_apart(store: Store) -> None:
    async def scenario() -> None:
        sent = [an_ad(received_at_us=RECEIVED_AT_US - HOUR) for _ in range(3)]
        spooled, rows = Spooled(), rows_of(5)
        one = spooled.slice(rows[:2], ads_frame(sent[:2]), rows[2:], ads_frame([*sent, *sent]))
        await store.write(one)
        assert await store.rows() == sorted(rows)
        await check(store, sent[:2] + sent + sent)
        (books,) = await store.books()
        assert (books.rows, books.stored, books.duplicate) == (13, 8, 5)
        assert one.state.months[1].rows == books.read_months["ads"].rows == 8

    run(scenario)


def test_an_ad_event_the_database_refuses_harms_only_itself(store: Store) -> None:
    async def scenario() -> None:
        await store.execute("ALTER TABLE ad_impressions ADD CONSTRAINT sane CHECK (creative_id <> 'bad')")
        campaign = an_id()
        good = [an_ad(campaign_id=campaign, creative_id="good") for _ in range(60)]
        good += [an_ad(impression_id=good[5].impression_id, event="start"), good[3]]
        bad = [an_ad(campaign_id=campaign, creative_id="bad") for _ in range(3)]
        cut = encode(an_ad(campaign_id=campaign))[:-4]
        mixed = [*good[:10], bad[0], *good[10:50], bad[1], bad[2], *good[50:]]
        spooled, rows, sink = Spooled(), rows_of(3), await store.opened()
        broken = FrameBody.of(KIND_AD, 0, MONTH_AD, [encode(good[0]), cut], SCHEMA_AD)
        await sink.write([spooled.slice(ads_frame(mixed[:40]), rows, ads_frame(mixed[40:]), broken)])
        await sink.write([spooled.slice(ads_frame([later := an_ad()]))])
        await sink.close()
        await check(store, [*good, good[0], later])
        assert await store.rows() == sorted(rows)
        letters = list(box.read(store.data_dir))
        assert [(one.reason, one.sequence, one.index, one.schema) for one in letters] == [
            ("sqlstate_23514", 0, 10, 2), ("sqlstate_23514", 2, 11, 2), ("sqlstate_23514", 2, 12, 2),
            ("sqlstate_22P04", 3, 1, 2),
        ]  # fmt: skip
        assert [one.row() for one in letters] == [*map(encode, bad), cut]
        first = letters[0]
        assert (first.event_id, first.occurred_at_us) == (str(bad[0].impression_id), bad[0].occurred_at_us)
        (books,) = await store.books()
        assert (sum(books.dead.values()), books.duplicate) == (4, 2)

    run(scenario)


def test_a_table_that_takes_no_ad_event_waits_for_an_engineer_and_so_does_the_playback_of_its_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "REFUSED_MAX", 20)

    async def scenario() -> None:
        sent, spooled, sink = [an_ad() for _ in range(60)], Spooled(), await store.opened()
        await sink.write([spooled.slice(ads_frame(sent[:10]))])
        await store.execute("ALTER TABLE ad_impressions ADD CONSTRAINT wrong CHECK (error_code IS NOT NULL) NOT VALID")
        one = spooled.slice(ads_frame(sent[10:]), rows := rows_of(2))
        with pytest.raises(SinkRefused, match="takes no row"):
            await sink.write([one])
        assert list(box.read(store.data_dir)) == []
        await store.execute("ALTER TABLE ad_impressions DROP CONSTRAINT wrong")
        await sink.open()
        await sink.write([one])
        await sink.close()
        await check(store, sent)
        assert await store.rows() == sorted(rows)

    run(scenario)


def test_of_two_drains_the_one_that_was_overtaken_merges_nothing(store: Store) -> None:
    async def scenario() -> None:
        zombie, spooled, sent = await store.opened(), Spooled(), [an_ad(campaign_id=an_id()) for _ in range(3)]
        one = spooled.slice(ads_frame(sent))
        await store.write(one)
        with pytest.raises(SinkFenced):
            await zombie.write([one])
        await zombie.close()
        await check(store, sent)

    run(scenario)


def test_gateways_that_merge_the_same_impressions_at_once_wait_for_one_another(store: Store) -> None:
    async def scenario() -> None:
        sent = many_ads(random.Random(7), impressions=60)
        parts = [sent[number::4] for number in range(4)]

        async def gateway(part: list[AdRow]) -> None:
            spooled, sink = Spooled(), await store.opened()
            for begin in range(0, len(part), 20):
                await sink.write([spooled.slice(ads_frame(part[begin : begin + 20]))])
            await sink.close()

        await asyncio.gather(*map(gateway, parts))
        await check(store, sent)

    run(scenario)


def test_who_waited_for_its_turn_sees_what_was_merged_meanwhile_whatever_the_databases_isolation(store: Store) -> None:
    async def scenario() -> None:
        first = an_ad()
        later = first._replace(event="start", occurred_at_us=first.occurred_at_us + SECOND)
        async with connected(store.url) as other, connected(store.url) as looking:
            name = store.url.rpartition("/")[2]
            await other.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'")
            sink, spooled = await store.opened(), Spooled()
            async with other.transaction():
                await other.execute(STATEMENTS["merge_turn"])
                writing = asyncio.ensure_future(sink.write([spooled.slice(ads_frame([later]), rows_of(1))]))
                while not await looking.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                ):
                    await asyncio.sleep(0.01)
                await other.execute(
                    "INSERT INTO ad_impressions (impression_id, events, impression_at) VALUES ($1, 1, now())",
                    first.impression_id,
                )
            await writing
            await sink.close()
            assert await looking.fetchval("SELECT events FROM ad_impressions") == 2

    run(scenario)


def test_a_row_that_somebody_deletes_beside_the_merge_is_made_anew(store: Store) -> None:
    async def scenario() -> None:
        first, second = an_ad(), an_ad(event="start")
        second = second._replace(impression_id=first.impression_id)
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(ads_frame([first]))])
        one = spooled.slice(ads_frame([second]))
        async with connected(store.url) as other:
            async with other.transaction():
                await other.execute("DELETE FROM ad_impressions")
                writing = asyncio.create_task(sink.write([one]))
                while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    assert not writing.done()
                    await asyncio.sleep(0.01)
            with pytest.raises(SinkUnavailable, match="ad_impressions"):
                await writing
        await sink.open()
        await sink.write([one])
        await sink.close()
        assert await store.value("SELECT events FROM ad_impressions") == 1
        assert await store.value("SELECT start_at IS NOT NULL AND impression_at IS NULL FROM ad_impressions")

    run(scenario)
