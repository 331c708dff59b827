"""The CQL sink on a real server: what of an event goes where, and what is refused, lost or damaged on the way."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from config.scylla import ScyllaSettings
from ingest.batch import FLAG_CLOCK_BROKEN
from ingest.tuple import event_id, occurred_at_us
from storage.dead_letter import box
from storage.scylla import delivery, requests
from storage.scylla.bucket import content_bucket, day_of, event_hash, hour_of
from storage.scylla.driver import CqlInvalid, CqlOverloaded, CqlTimeout, CqlUnavailable, Driver, Write, connected
from storage.sink import SinkRefused, SinkUnavailable
from tests.ads import ads_frame, an_ad
from tests.builders import RECEIVED_AT_US
from tests.cmcd import a_cmcd_body
from tests.contract.cql_store import CqlStore, run
from tests.spooled import Spooled, a_frame_of, a_row, an_id, rows_of


@pytest.fixture
def store(each_driver: ScyllaSettings, tmp_path: Path) -> CqlStore:
    return CqlStore(each_driver, tmp_path)


@pytest.fixture
def one_store(cql_settings: ScyllaSettings, tmp_path: Path) -> CqlStore:
    """By the first driver alone, where what is tested does not reach the driver."""
    return CqlStore(cql_settings, tmp_path)


def a_full_row(**changes: Any) -> bytes:
    values: dict[str, Any] = {
        "sent_at_us": RECEIVED_AT_US - 1, "sequence": 2**53 - 1, "position_s": 0, "duration_s": 2**31 - 1,
        "profile_id": an_id(), "quality": "1440p", "bitrate_kbps": 4500, "device_type": "Fernseher",
        "platform": "tizen", "cdn_edge": "fra-03", "buffer_duration_ms": 240, "startup_ms": 810,
        "error_code": "MEDIA_ERR_DÉCODE", "player": "shaka", "app_version": "3.2.1", "country": "DE", "test": True,
        "metadata": '{"a" :  [1, 2.50, "\\u00e9\\u0000", null], "a": 1}',
    }  # fmt: skip
    return a_row(**values | changes)


@pytest.mark.usefixtures("each_core")
def test_rows_arrive_byte_for_byte(store: CqlStore) -> None:
    async def scenario() -> None:
        rows = [a_full_row(), *rows_of(500), *(a_row(position_s=number) for number in range(9))]
        await store.write(Spooled().slice(rows[:1], rows[1:]))
        assert await store.rows() == sorted(rows)
        (books,) = await store.books()
        assert (books.received, books.rows, books.stored, books.duplicate) == (510, 510, 510, 0)
        assert books.months == books.read_months
        await store.check()

    run(scenario)


def test_more_sets_of_columns_than_have_statements_arrive_the_same(
    store: CqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MASKS_MAX", 2)

    async def scenario() -> None:
        fields: list[dict[str, Any]] = [{}, {"position_s": 1}, {"quality": "4k"}, {"country": "DE"}, {"startup_ms": 1}]
        rows = [a_row(**fields[number % 5]) for number in range(50)] + [a_full_row()]
        await store.write(Spooled().slice(rows))
        assert await store.rows() == sorted(rows)

    run(scenario)


def test_an_event_is_in_every_table_that_asks_for_it_and_in_no_other(store: CqlStore) -> None:
    async def scenario() -> None:
        profile, session = an_id(), an_id()
        play = a_row(session_id=session)
        error = a_row(session_id=session, event_type="error", error_code="X")
        mine = a_full_row(session_id=session, profile_id=profile, event_type="error")
        await store.write(Spooled().slice([play, error, mine]))
        time_us = occurred_at_us(play)
        (row,) = await store.execute(
            "SELECT event_id, event_type, position, duration, device_type, test FROM events_by_profile "
            "WHERE profile_id = ? AND day = ?", str(profile), day_of(time_us),
        )  # fmt: skip
        assert row == (str(UUID(bytes=event_id(mine))), "error", 0, 2**31 - 1, "Fernseher", True)
        hour = hour_of(time_us)
        for edge, of, code in (("", error, "X"), ("fra-03", mine, "MEDIA_ERR_DÉCODE")):
            (row,) = await store.execute(
                "SELECT event_id, error_code FROM errors_by_edge WHERE cdn_edge = ? AND hour = ? AND bucket = ?",
                edge, hour, event_hash(event_id(of)) % 16,
            )  # fmt: skip
            assert row == (str(UUID(bytes=event_id(of))), code)
        for one in (play, error, mine):
            bucket = content_bucket(time_us, event_hash(event_id(one)), store.settings.content_buckets)
            rows = await store.execute(
                "SELECT event_id FROM events_by_content WHERE content_id = ? AND day = ? AND bucket = ?",
                str(UUID(int=1)), day_of(time_us), bucket,
            )  # fmt: skip
            assert (str(UUID(bytes=event_id(one))),) in rows
            rows = await store.execute(
                "SELECT event_id FROM events_by_session WHERE session_id = ? AND hour = ?", str(session), hour
            )
            assert (str(UUID(bytes=event_id(one))),) in rows
        assert len(await store.rows()) == 3

    run(scenario)


def test_a_platform_that_sends_one_session_and_one_profile_for_all_fills_no_single_partition(
    one_store: CqlStore,
) -> None:
    async def scenario() -> None:
        session, profile = UUID(int=0), UUID(int=7)
        rows = [
            a_row(session_id=session, profile_id=profile, event_type="error",
                  occurred_at_us=RECEIVED_AT_US - number * 3_600_000_000 // 4)
            for number in range(192)
        ]  # fmt: skip
        await one_store.write(Spooled().slice(rows))
        for key, least in (
            ("content_id, day, bucket FROM events_by_content", 120),
            ("cdn_edge, hour, bucket FROM errors_by_edge", 120),
            ("session_id, hour FROM events_by_session", 48),
            ("profile_id, day FROM events_by_profile", 2),
        ):
            assert len(await one_store.execute(f"SELECT DISTINCT {key}")) >= least

    run(scenario)


def test_what_is_no_row_of_this_store_is_counted_and_passed_over(one_store: CqlStore) -> None:
    async def scenario() -> None:
        spooled, rows = Spooled(), rows_of(3)
        await one_store.write(spooled.slice(a_cmcd_body(), ads_frame([an_ad(), an_ad()])))
        await one_store.write(spooled.slice(rows[:1], a_cmcd_body(), rows[1:], lost_rows=4))
        await one_store.write(spooled.slice(rows))
        assert await one_store.rows() == sorted(rows)
        (books,) = await one_store.books()
        assert (books.stored, books.duplicate, books.quarantined.rows, books.unaccounted) == (6, 0, 4, 0)
        assert books.staged == 2 * a_cmcd_body().count and books.elsewhere == 2
        await one_store.check()

    run(scenario)


def test_frames_of_a_newer_gateway_stay_in_the_spool(one_store: CqlStore) -> None:
    async def scenario() -> None:
        sink = await one_store.opened()
        with pytest.raises(SinkRefused):
            await sink.write([Spooled().slice(a_frame_of(rows_of(1), flags=FLAG_CLOCK_BROKEN << 3))])
        assert await one_store.positions() == {}

    run(scenario)


# ── what the cluster refuses ────────────────────────────────────────────────────────────────────────────────────────


def refusing(store: CqlStore, refuse: Callable[[Sequence[Write]], Exception | None]) -> list[int]:
    """The store's sinks meet a cluster that answers so; the sizes of the requests that reached it."""
    sizes: list[int] = []

    async def connect(settings: ScyllaSettings) -> Driver:
        driver = await connected(settings)
        write = driver.write

        async def refusing_write(writes: Sequence[Write]) -> None:
            sizes.append(len(writes))
            if (error := refuse(writes)) is not None:
                raise error
            await write(writes)

        driver.write = refusing_write  # type: ignore[method-assign]
        return driver

    store.connect = connect
    return sizes


def holds(writes: Sequence[Write], marker: str) -> bool:
    return any(marker in (value.decode() if isinstance(value, bytes) and value.isascii() else "")
               for _, values in writes for value in values)  # fmt: skip


def test_a_row_the_cluster_refuses_harms_only_itself(store: CqlStore) -> None:
    async def scenario() -> None:
        good, bad = rows_of(97), [a_row(quality="poison") for _ in range(3)]
        mixed = [*good[:10], bad[0], *good[10:90], bad[1], bad[2], *good[90:]]
        refusing(store, lambda writes: CqlInvalid("2200", "no poison") if holds(writes, "poison") else None)
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(mixed[:50], mixed[50:]), Spooled().slice(more := rows_of(5))])
        await sink.write([spooled.slice(later := rows_of(2))])
        await sink.close()
        assert await store.rows() == sorted(good + more + later)
        letters = sorted(box.read(store.data_dir), key=lambda one: (one.sequence, one.index))
        assert [(one.reason, one.sequence, one.index) for one in letters] == [
            ("cql_2200", 0, 10), ("cql_2200", 1, 41), ("cql_2200", 1, 42),
        ]  # fmt: skip
        assert [one.row() for one in letters] == bad
        await store.check()

    run(scenario)


@pytest.mark.parametrize(
    "poison",
    [
        lambda row: row.replace(b"\x00\x00\x00\x04play", b"\x00\x00\x00\x04pl\xffy"),
        lambda row: row[:-4],
        lambda row: row + b"\x00",
        lambda row: row[:100],
        lambda row: row[:-4] + b"\x00\x00\x00\x09{",
    ],
    ids=["utf-8", "cut", "longer", "cut short", "a length beyond it"],
)
def test_a_tuple_that_is_no_row_harms_only_itself(store: CqlStore, poison: Callable[[bytes], bytes]) -> None:
    async def scenario() -> None:
        good, bad = rows_of(20), poison(a_row())
        await store.write(Spooled().slice([*good[:7], bad, *good[7:]]))
        assert await store.rows() == sorted(good)
        (letter,) = box.read(store.data_dir)
        assert (letter.index, letter.row()) == (7, bad) and letter.reason in ("cql_2200", "cql_client")
        await store.check()

    run(scenario)


def test_a_table_that_takes_no_row_waits_for_an_engineer_and_buries_nothing(one_store: CqlStore) -> None:
    async def scenario() -> None:
        refusing(one_store, lambda writes: CqlInvalid("2200", "nothing"))
        sink, spooled = await one_store.opened(), Spooled()
        with pytest.raises(SinkRefused, match="takes no row"):
            await sink.write([spooled.slice(rows_of(100))])
        assert list(box.read(one_store.data_dir)) == [] and await one_store.positions() == {}

    run(scenario)


@pytest.mark.parametrize("table", ["events_by_content", "events_by_profile", "errors_by_edge"])
@pytest.mark.parametrize("rows", [3, 300], ids=["few", "many"])
def test_nor_does_one_of_the_tables_that_takes_nothing_while_the_others_do(
    one_store: CqlStore, table: str, rows: int
) -> None:
    async def scenario() -> None:
        statements: dict[int, str] = {}

        async def connect(settings: ScyllaSettings) -> Driver:
            driver = await connected(settings)
            prepare, write = driver.prepare, driver.write

            async def noting_prepare(cql: str, *, sparse: bool = False) -> Any:
                prepared = await prepare(cql, sparse=sparse)
                statements[id(prepared)] = cql
                return prepared

            async def refusing_write(writes: Sequence[Write]) -> None:
                if f"INTO {table} " in statements[id(writes[0][0])]:
                    raise CqlInvalid("2200", "altered by hand")
                await write(writes)

            driver.prepare = noting_prepare  # type: ignore[method-assign]
            driver.write = refusing_write  # type: ignore[method-assign]
            return driver

        one_store.connect = connect
        sink, spooled = await one_store.opened(), Spooled()
        one = spooled.slice([a_full_row(session_id=an_id(), event_type="error", profile_id=an_id())
                             for _ in range(rows)])  # fmt: skip
        with pytest.raises(SinkRefused, match=f"{table} takes no row"):
            await sink.write([one])
        assert list(box.read(one_store.data_dir)) == [] and await one_store.positions() == {}
        one_store.connect = connected
        await one_store.write(one)
        await one_store.check()

    run(scenario)


@pytest.mark.parametrize(
    "error", [CqlTimeout("x"), CqlUnavailable("x"), CqlOverloaded("x")], ids=lambda e: type(e).__name__
)
def test_what_passes_is_tried_again_within_the_write(one_store: CqlStore, error: Exception) -> None:
    async def scenario() -> None:
        failures = [error] * 5
        refusing(one_store, lambda writes: failures.pop() if failures else None)
        rows = rows_of(300)
        sink = await one_store.opened()
        await sink.write([Spooled().slice(rows)])
        await sink.close()
        assert await one_store.rows() == sorted(rows) and not failures
        await one_store.check()

    run(scenario)


def test_what_does_not_pass_is_given_up_moves_nothing_and_is_delivered_later(
    one_store: CqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "delay_s", lambda attempt, chance: 0.001)

    async def scenario() -> None:
        away = True
        refusing(one_store, lambda writes: CqlUnavailable("a replica is away") if away and len(writes) > 49 else None)
        rows, spooled = rows_of(2_010, session_id=an_id()), Spooled()
        one = spooled.slice(rows[:1000], rows[1000:])
        sink = await one_store.opened()
        with pytest.raises(SinkUnavailable):
            await sink.write([one])
        assert await one_store.positions() == {}
        away = False
        assert await sink.open() == {}
        await sink.write([one])
        await sink.close()
        assert await one_store.rows() == sorted(rows)
        await one_store.check()

    run(scenario)


def test_requests_are_smaller_while_the_cluster_is_slow(one_store: CqlStore) -> None:
    async def scenario() -> None:
        sizes = refusing(one_store, lambda writes: CqlTimeout("slow") if len(writes) > 3 else None)
        rows = rows_of(60, session_id=an_id())
        sink, spooled = await one_store.opened(), Spooled()
        await sink.write([spooled.slice(rows[:50])])
        sizes.clear()
        await sink.write([spooled.slice(rows[50:])])
        assert max(sizes) <= 6
        assert await one_store.rows() == sorted(rows)
        await sink.close()

    run(scenario)
