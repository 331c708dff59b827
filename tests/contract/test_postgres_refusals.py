"""What PostgreSQL refuses: one row, a whole frame, or us."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.embedded import EmbeddedPostgres
from storage.dead_letter import box
from storage.postgres import staging
from storage.sink import SinkLost, SinkRefused, SinkUnavailable
from tests.builders import RECEIVED_AT_US
from tests.contract.connected import connected
from tests.contract.postgres_store import KilledBeforeItsPositions, Store, a_store, run
from tests.spooled import DAY, SECOND, Spooled, a_frame_of, a_row, rows_of


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


def test_a_row_the_database_refuses_harms_only_itself(store: Store) -> None:
    async def scenario() -> None:
        await store.execute("ALTER TABLE playback_events ADD CONSTRAINT sane CHECK (bitrate < 1000)")
        good, bad = rows_of(97, bitrate_kbps=5), rows_of(3, bitrate_kbps=5000)
        mixed = [*good[:10], bad[0], *good[10:90], bad[1], bad[2], *good[90:]]
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(mixed[:50], mixed[50:]), (other := Spooled()).slice(more := rows_of(5))])
        await sink.write([spooled.slice(later := rows_of(2))])
        await sink.close()
        assert await store.rows() == sorted(good + more + later)
        letters = list(box.read(store.data_dir))
        assert [(one.reason, one.sqlstate, one.sequence, one.index) for one in letters] == [
            ("sqlstate_23514", "23514", 0, 10), ("sqlstate_23514", "23514", 1, 41), ("sqlstate_23514", "23514", 1, 42),
        ]  # fmt: skip
        assert [one.row() for one in letters] == bad
        assert "5000" not in letters[0].message  # the database's DETAIL quotes the row
        assert await store.value("SELECT count(*) FROM ingest_positions WHERE sequence > 0") == 2
        assert other.state.sequence == 1
        await store.check()

    run(scenario)


@pytest.mark.parametrize(
    "poison, sqlstate",
    [
        (lambda row: row[:-4] + b"\x00\x00\x00\x01{", "22P02"),  # metadata that is no JSON
        (lambda row: row.replace(b"\x00\x00\x00\x04play", b"\x00\x00\x00\x04pl\xffy"), "22021"),
        (lambda row: row[:1] + b"\x17" + row[2:-4], "22P04"),  # a field is missing
        (lambda row: row[:78] + b"\x7f" + b"\xff" * 6 + b"\xfe" + row[86:], "22008"),  # received beyond the end of time
    ],
    ids=["json", "utf-8", "fields", "time"],
)
def test_a_tuple_that_is_no_row_harms_only_itself(
    store: Store, poison: Callable[[bytes], bytes], sqlstate: str
) -> None:
    async def scenario() -> None:
        good, bad = rows_of(20), poison(a_row())
        await store.write(Spooled().slice([*good[:7], bad, *good[7:]]))
        assert await store.rows() == sorted(good)
        (letter,) = box.read(store.data_dir)
        assert (letter.sqlstate, letter.index, letter.row()) == (sqlstate, 7, bad)
        await store.check()

    run(scenario)


@pytest.mark.parametrize("taken", [0, 1, 20], ids=["empty", "with a row", "with rows"])
def test_a_table_that_takes_no_row_waits_for_an_engineer_and_buries_few(
    store: Store, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    monkeypatch.setattr(staging, "REFUSED_MAX", 20)
    before = rows_of(taken)

    async def scenario() -> None:
        rows, spooled, sink = rows_of(100), Spooled(), await store.opened()
        if before:
            await sink.write([spooled.slice(before)])
        await store.execute("ALTER TABLE playback_events ADD CONSTRAINT wrong CHECK (country IS NOT NULL) NOT VALID")
        for number in range(4):  # a gateway of little traffic, too
            await sink.write([spooled.slice(rows[number * 5 : number * 5 + 5])])
        one = spooled.slice(rows[20:60], rows[60:])
        with pytest.raises(SinkRefused, match="23514"):
            await sink.write([one])
        await sink.open()
        with pytest.raises(SinkRefused, match="takes no row"):
            await sink.write([one])
        assert len(list(box.read(store.data_dir))) == 20
        assert await store.rows() == sorted(before)

        await store.execute("ALTER TABLE playback_events DROP CONSTRAINT wrong")
        await sink.open()
        await sink.write([one])
        assert await store.rows() == sorted(before + rows[20:])
        assert len(list(box.read(store.data_dir))) == 20
        await sink.close()
        await store.check()

    run(scenario)


def test_many_refused_rows_of_one_player_do_not_stop_the_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "REFUSED_MAX", 20)

    async def scenario() -> None:
        await store.execute("ALTER TABLE playback_events ADD CONSTRAINT sane CHECK (bitrate < 1000)")
        bad, good = rows_of(70, bitrate_kbps=5000), rows_of(30, bitrate_kbps=5)
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(bad[:60], good[:10] + bad[60:] + good[10:])])
        await sink.close()
        assert await store.rows() == sorted(good)
        assert sorted(one.row() for one in box.read(store.data_dir)) == sorted(bad)
        await store.check()

    run(scenario)


@pytest.mark.parametrize(
    "rule", ["received_at < '2026-11-23'", "app_version IS NULL"], ids=["by its receipt", "by what only new rows have"]
)
def test_a_rule_that_takes_the_old_rows_and_no_new_one_buries_no_more_than_it_must(
    store: Store, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setattr(staging, "REFUSED_MAX", 20)
    monkeypatch.setattr(staging, "REFUSED_LAST", 60)

    async def scenario() -> None:
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(before := rows_of(20))])
        await store.execute(f"ALTER TABLE playback_events ADD CONSTRAINT wrong CHECK ({rule})")
        new = [a_row(received_at_us=RECEIVED_AT_US + DAY, app_version="2") for _ in range(100)]
        buried = 20 if "received" in rule else 60
        for number in range(0, buried, 10):
            await sink.write([spooled.slice(new[number : number + 10])])
        with pytest.raises(SinkRefused, match="takes no row"):
            await sink.write([spooled.slice(new[buried : buried + 10])])
        assert len(list(box.read(store.data_dir))) == buried
        assert await store.rows() == sorted(before)

    run(scenario)


@pytest.mark.parametrize("index", ["", "CREATE UNIQUE INDEX ON playback_events (occurred_at, sequence)"])
def test_refused_rows_of_one_player_alone_do_not_stop_the_others_that_come_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    monkeypatch.setattr(staging, "REFUSED_MAX", 20)

    async def scenario() -> None:
        before, spooled, sink = [a_row(bitrate_kbps=5)], Spooled(), await store.opened()
        await sink.write([spooled.slice(before)])
        await store.execute(f"ALTER TABLE playback_events ADD CONSTRAINT sane CHECK (bitrate < 1000); {index}")
        bad, good = [a_row(bitrate_kbps=5000, sequence=number) for number in range(70)], [a_row(sequence=99)]
        await sink.write([spooled.slice(bad[:60])])
        await sink.write([spooled.slice(bad[60:65])])
        await sink.write([spooled.slice(bad[65:])])
        await sink.write([spooled.slice(good)])
        await sink.close()
        assert await store.rows() == sorted(before + good)
        assert sorted(one.row() for one in box.read(store.data_dir)) == sorted(bad)
        await store.check()

    run(scenario)


def test_a_second_unique_index_refuses_rows_one_by_one(store: Store) -> None:
    async def scenario() -> None:
        await store.execute("CREATE UNIQUE INDEX ON playback_events (occurred_at, sequence)")
        rows = [a_row(sequence=number) for number in (1, 2, 2, 3)]
        await store.write(Spooled().slice(rows))
        assert await store.rows() == sorted([rows[0], rows[1], rows[3]])
        (letter,) = box.read(store.data_dir)
        assert (letter.sqlstate, letter.index) == ("23505", 2)

    run(scenario)


def test_letters_are_kept_before_the_position_moves_and_read_once_when_the_write_is_repeated(store: Store) -> None:
    async def scenario() -> None:
        await store.execute("ALTER TABLE playback_events ADD CONSTRAINT sane CHECK (bitrate < 1000)")
        one = Spooled().slice([a_row(bitrate_kbps=5000), *rows_of(2)])
        sink = await store.opened(KilledBeforeItsPositions)
        with pytest.raises(SinkUnavailable):
            await sink.write([one])
        await sink.close()
        assert len(list(box.read(store.data_dir))) == 1
        assert await store.books() == []
        store.clock.at_us += SECOND
        await store.write(one)
        assert len(list(box.read(store.data_dir))) == 1
        await store.check()

    run(scenario)


def test_a_missing_column_waits_for_an_engineer_and_buries_nothing(store: Store) -> None:
    async def scenario() -> None:
        sink, one = await store.opened(), Spooled().slice(rows_of(2))
        await store.execute("ALTER TABLE playback_events DROP COLUMN metadata")
        with pytest.raises(SinkRefused, match="42703"):
            await sink.write([one])
        assert list(box.read(store.data_dir)) == []
        await store.execute("ALTER TABLE playback_events ADD COLUMN metadata json")
        await store.write(one)
        assert len(await store.rows()) == 2

    run(scenario)


def test_a_frame_of_a_newer_release_stops_the_reader_and_is_not_passed_over(store: Store) -> None:
    async def scenario() -> None:
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(rows := rows_of(1))])
        with pytest.raises(SinkRefused, match="schema 7"):
            await sink.write([spooled.slice(rows_of(1), a_frame_of(rows_of(1), schema=7))])
        assert await store.rows() == rows
        assert await sink.open() == {spooled.incarnation: 1}
        await sink.close()

    run(scenario)


def test_a_locked_table_is_an_outage_and_not_a_refusal(store: Store) -> None:
    async def scenario() -> None:
        sink, one = await store.opened(), Spooled().slice(rows := rows_of(1))
        assert sink._connection is not None
        await sink._connection.execute("SET lock_timeout = '200ms'")
        async with connected(store.url) as other, other.transaction():
            await other.execute("LOCK TABLE playback_events")
            with pytest.raises(SinkUnavailable, match="55P03"):
                await sink.write([one])
        assert list(box.read(store.data_dir)) == []
        await store.write(one)
        assert await store.rows() == rows

    run(scenario)


def test_asynchronous_commits_are_refused(store: Store) -> None:
    async def scenario() -> None:
        name = store.url.rpartition("/")[2]
        await store.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        with pytest.raises(SinkRefused, match="synchronous_commit"):
            await store.sink().open()

    run(scenario)


def test_a_server_without_fsync_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = EmbeddedPostgres(tmp_path / "server", settings={"fsync": "off", "shared_buffers": "16MB"})
        try:
            store = Store(await server.start(), tmp_path)
            with pytest.raises(SinkRefused, match="fsync"):
                await store.sink().open()
        finally:
            await server.stop()

    run(scenario)


def test_a_database_that_was_never_migrated_is_lost_and_one_that_is_away_unavailable(
    embedded_url: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        with pytest.raises(SinkLost):
            await Store(embedded_url, tmp_path).sink().open()
        with pytest.raises(SinkUnavailable):
            await Store("postgresql://nobody@127.0.0.1:1/none", tmp_path).sink().open()

    run(scenario)


def test_totals_that_are_none_wait_for_an_engineer(store: Store) -> None:
    async def scenario() -> None:
        await store.write(Spooled().slice(rows_of(1)))
        await store.execute("""UPDATE ingest_positions SET totals = '{"stored": "many"}'""")
        with pytest.raises(SinkRefused, match="totals"):
            await store.sink().open()

    run(scenario)
