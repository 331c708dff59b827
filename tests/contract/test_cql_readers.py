"""What reads all rows of the CQL store: a rebuild of the counters, views and watch history, and verify."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from config.scylla import ScyllaSettings
from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings
from gateway import verifying
from gateway.report import Report
from ingest.spool.disk import FileDisk
from storage.postgres.derived import Derived
from storage.postgres.writer import PostgresSink
from storage.scylla import anew
from storage.scylla.driver import connected
from storage.scylla.sink import ScyllaSink
from storage.scylla.stored_rows import StoredRows
from storage.sink import SinkLost
from tests.contract import test_derived_views, test_rebuild
from tests.contract.connected import migrated
from tests.contract.house import House, now, some_signs

MEMORY_S = 35 * 86_400
WAITING_S = 14 * 86_400


class CqlHouse(House):
    """A House whose rows are in CQL."""

    def __init__(self, data_dir: Path, postgres_url: str, redis_url: str, cql: ScyllaSettings) -> None:
        super().__init__(data_dir, postgres_url, redis_url)
        self.settings = msgspec.structs.replace(self.settings, store="scylla", scylla=cql)
        pieces = DoorSettings(), DeadLetterSettings()
        self.ads = PostgresSink(
            postgres_url, data_dir, PostgresSettings(), *pieces, self.clock, self.disk, keeps_playback=False
        )
        self.postgres = ScyllaSink(cql, data_dir, *pieces, self.clock, self.disk)  # in the place of the store
        self.rows = StoredRows(cql, data_dir, FileDisk())
        self.derived = Derived(postgres_url, data_dir, MEMORY_S, WAITING_S, self.disk, self.clock, self.rows)

    def cql(self, statement: str, *values: Any) -> list[Any]:
        async def asking() -> list[Any]:
            driver = await connected(self.settings.scylla)
            try:
                return list(await driver.execute(statement, values))
            finally:
                await driver.close()

        return self.run(asking())

    def verify(self) -> Report:
        return self.run(verifying.verify(self.data, self.postgres_url, self.redis_url, MEMORY_S, self.rows))

    def play(self, number: int = 300) -> None:
        """Signs, some of them errors and some with a profile, delivered to everybody."""
        signs = some_signs(random.Random(number), number)
        signs += [now("error", session=one, content=2) for one in range(9)]
        self.post(*signs)
        self.deliver(self.postgres, self.ads, self.redis, self.derived)


@pytest.fixture
def house(embedded_url: str, valkey_url: str, cql_settings: ScyllaSettings, tmp_path: Path) -> Iterator[CqlHouse]:
    migrated(embedded_url, test_rebuild.schema_alone)
    with CqlHouse(tmp_path, embedded_url, valkey_url, cql_settings) as made:
        yield made


REBUILDS: dict[str, Callable[[House], None]] = {
    "lost": lambda house: test_rebuild.test_a_lost_redis_is_counted_anew_whatever_was_sent_and_goes_on_from_there(
        house, 7
    ),
    "behind": test_rebuild.test_frames_behind_the_cut_that_were_counted_before_are_counted_once,
    "before": test_rebuild.test_frames_before_the_cut_that_were_not_counted_yet_are_counted_once,
    "forgotten": test_rebuild.test_what_redis_would_have_forgotten_is_not_read,
    "totals": test_rebuild.test_totals_go_on_from_what_the_store_was_given,
    "paused": test_rebuild.test_a_pause_outlives_the_loss_of_redis,
    "gap": test_rebuild.test_a_spool_without_what_is_behind_the_cut_is_said_and_nothing_changes,
}


@pytest.mark.parametrize("which", REBUILDS)
def test_a_rebuild_of_the_counters_by_rows_in_cql_is_as_by_those_in_postgres(house: CqlHouse, which: str) -> None:
    REBUILDS[which](house)


def test_views_are_counted_anew_from_cql_when_the_spool_has_let_go(house: CqlHouse) -> None:
    house.post(*some_signs(random.Random(31), 400))
    house.deliver(house.postgres, house.ads, house.redis)
    house.bury(0)
    later = house.another_collector()
    house.post(*some_signs(random.Random(32), 100), collector=later)
    house.deliver(house.postgres, house.ads, house.redis, house.derived)
    assert test_derived_views.sums(house) == house.views() != {}
    assert house.verify().differences == []


def test_everything_agrees_and_events_sent_again_are_no_difference(house: CqlHouse) -> None:
    house.play()
    found = house.verify()
    assert found.differences == [] and found.notes == [] and found.views
    again = random.Random(3).sample([one for one in house.sent if one.sent_us is None], 60)
    signs = [replace(one, received_us=one.received_us + 1_000) for one in again[:30]]
    signs += [replace(one, sent_us=one.received_us, profile=4) for one in again[30:]]  # some of each try will stand
    signs += [replace(one, content=6) for one in again[:20]]  # ids of others: nobody's clients, but they come
    house.post(*signs)
    house.deliver(house.postgres, house.ads)
    found = house.verify()
    assert found.differences == []
    assert any("sent again" in note for note in found.notes)


def a_row_of(house: CqlHouse, table: str, *key: str) -> list[Any]:
    row: list[Any] = list(house.cql(f"SELECT {', '.join(key)} FROM {table} LIMIT 1")[0])
    return row


SESSION = ("session_id", "hour", "occurred_at_us", "event_id")
CONTENT = ("content_id", "day", "bucket", "occurred_at_us", "event_id")
EDGE = ("cdn_edge", "hour", "bucket", "occurred_at_us", "event_id")


@pytest.mark.parametrize(("table", "key"), [("events_by_content", CONTENT), ("errors_by_edge", EDGE)])
def test_a_row_that_one_of_the_tables_lacks_is_named(house: CqlHouse, table: str, key: tuple[str, ...]) -> None:
    house.play()
    row = a_row_of(house, table, *key)
    house.cql(f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in key)}", *row)
    (wrong,) = house.verify().differences
    assert (wrong.what, wrong.where) == ("table", table) and row[-1] in wrong.detail


def test_a_row_that_is_gone_from_the_table_of_record_is_named_and_so_are_its_mirrors(house: CqlHouse) -> None:
    house.play()
    row = a_row_of(house, "events_by_session", *SESSION)
    house.cql(f"DELETE FROM events_by_session WHERE {' AND '.join(f'{name} = ?' for name in SESSION)}", *row)
    wrong = [one for one in house.verify().differences if one.what != "views"]
    assert wrong[0].what == "row_missing" and row[-1] in wrong[0].detail
    assert all(row[-1] in one.detail for one in wrong) and "events_by_content" in {one.where for one in wrong}


def test_a_row_that_is_altered_or_was_never_sent_is_named(house: CqlHouse) -> None:
    house.play()
    row = a_row_of(house, "events_by_session", *SESSION)
    where = " AND ".join(f"{name} = ?" for name in SESSION)
    house.cql(f"UPDATE events_by_session SET country = 'ZZ' WHERE {where}", *row)
    (wrong,) = house.verify().differences
    assert wrong.what == "row_altered" and row[-1] in wrong.detail
    house.cql(f"UPDATE events_by_session SET country = null WHERE {where}", *row)
    assert house.verify().differences == []
    names = "session_id, hour, occurred_at_us, event_id, content_id, received_at_us, event_type, test"
    stranger = "11111111-1111-4111-8111-111111111111"
    house.cql(
        f"INSERT INTO events_by_session ({names}) VALUES (?, ?, ?, ?, ?, ?, 'pause', false)",
        *row[:3], stranger, stranger, row[2],
    )  # fmt: skip
    found = {(one.what, stranger in one.detail) for one in house.verify().differences}
    assert found == {("row_unknown", True), ("table", True)}


def test_a_keyspace_that_was_emptied_does_not_agree_when_the_spool_has_let_go(house: CqlHouse) -> None:
    house.post(*(now(session=one) for one in range(40)))
    house.deliver(house.postgres, house.ads, house.redis, house.derived)
    house.bury(0)
    assert house.verify().differences == []
    for table in ("events_by_session", "events_by_content", "events_by_profile", "errors_by_edge"):
        house.cql(f"TRUNCATE {table}")
    (wrong,) = [one for one in house.verify().differences if one.what == "month"]
    assert "stored 40 rows, the table has 0" in wrong.detail


def test_what_a_neighbour_writes_meanwhile_or_has_nearly_gone_by_age_is_no_difference(house: CqlHouse) -> None:
    house.play(60)
    neighbour = "22222222-2222-4222-8222-222222222222"
    house.cql("INSERT INTO ingest_registration (registration_id, reader) VALUES (?, 'scylla')", neighbour)
    begin_us = house.clock.now_us()
    row = a_row_of(house, "events_by_content", *CONTENT, "session_id")
    names = f"{', '.join(CONTENT)}, session_id, event_type, test, received_at_us"

    def only_by_content(received_us: int) -> None:
        values = *row[:4], neighbour, row[5], "play", False, received_us
        house.cql(f"INSERT INTO events_by_content ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)

    for received_us in (begin_us - 60 * 10**6, begin_us - 90 * 86_400 * 10**6):
        only_by_content(received_us)
        assert [one for one in house.verify().differences if one.what == "table"] == []
    only_by_content(begin_us - 3_600 * 10**6)
    (wrong,) = [one for one in house.verify().differences if one.what == "table"]
    assert wrong.where == "events_by_content" and neighbour in wrong.detail


def test_rows_in_postgres_beside_those_in_cql_are_told(house: CqlHouse) -> None:
    house.play(30)
    stray = PostgresSink(
        house.postgres_url, house.data.root, PostgresSettings(), DoorSettings(), DeadLetterSettings(),
        house.clock, house.disk,
    )  # fmt: skip
    with pytest.raises(Exception, match='set store = "scylla" again'):
        house.run(stray.open())


def test_a_restored_keyspace_that_was_begun_anew_is_noted_and_no_difference(house: CqlHouse) -> None:
    house.play()
    house.bury(0)
    later = house.another_collector()
    house.post(*some_signs(random.Random(5), 100), collector=later)
    house.deliver(house.postgres, house.ads, house.redis, house.derived)
    identity = house.run(house.rows.identity())
    house.cql("UPDATE ingest_registration SET moved = 0 WHERE registration_id = ?", str(UUID(identity)))  # as restored
    with pytest.raises(SinkLost, match="begin-anew"):
        house.deliver(house.postgres)
    data_dir, cql = house.data.root, house.settings.scylla
    house.run(anew.begin(cql, data_dir, house.disk, house.postgres.reader, anew.first_kept(data_dir, house.disk)))
    house.deliver(house.postgres)
    found = house.verify()
    assert found.differences == []
    assert any("2 write there" in note for note in found.notes), "whose rows these are cannot be told any more"
