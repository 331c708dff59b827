"""A COPY tuple on its way into CQL: every value as it was, what is absent nowhere, a statement for what is there."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.scylla import ScyllaSettings
from ingest.batch import KIND_PLAYBACK, FrameBody
from ingest.core import chosen
from ingest.tuple import Row, encode
from storage.scylla import migration
from storage.scylla.acsylla_driver import AcsyllaDriver
from storage.scylla.cassandra_driver import CassandraDriver
from storage.scylla.columns import BY_CONTENT, BY_SESSION, EVERY, OPTIONAL, RECORD, TABLES, Reading, insert
from storage.scylla.content_buckets import DayBuckets
from storage.scylla.placing import Placing
from storage.scylla.requests import Need, Request, Requests, Statements
from storage.scylla.words import is_missing
from tests.spooled import Spooled

uuids = st.uuids()
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
narrow = st.none() | st.integers(0, 2**31 - 1)
rows = st.builds(
    Row,
    uuids, uuids, uuids, st.integers(0, 4 * 10**15), st.integers(0, 4 * 10**15), st.text("abc", max_size=9),
    st.booleans(), st.none() | st.integers(0, 4 * 10**15), st.none() | st.integers(0, 2**53 - 1), narrow, narrow,
    st.none() | uuids, texts, narrow, texts, texts, texts, narrow, narrow, texts, texts, texts, texts, texts,
)  # fmt: skip


@given(rows)
def test_what_is_there_is_read_as_it_was_and_what_is_absent_is_not_written(row: Row) -> None:
    values, there, mask = Reading(AcsyllaDriver.forms).optional(encode(row))
    expected = [
        str(value).encode() if isinstance(value, UUID) else value.encode() if isinstance(value, str) else value
        for value in row[7:]
    ]
    assert values == expected
    assert there == [value for value in expected if value is not None]
    assert mask == sum(1 << at for at, value in enumerate(expected) if value is not None)


@given(rows)
def test_a_driver_of_bytes_gets_them_as_they_were_but_for_times(row: Row) -> None:
    values, _, _ = Reading(CassandraDriver.forms).optional(encode(row))
    assert values[0] == (None if row.sent_at_us is None else row.sent_at_us.to_bytes(8, "big"))
    assert values[1] == (None if row.sequence is None else row.sequence.to_bytes(8, "big"))
    assert values[4] == (None if row.profile_id is None else row.profile_id.bytes)
    assert values[16] == (None if row.metadata is None else row.metadata.encode())


@given(rows, st.data())
def test_a_tuple_cut_anywhere_is_none(row: Row, data: st.DataObject) -> None:
    encoded = encode(row)
    cut = data.draw(st.integers(90, len(encoded) - 1))
    with pytest.raises(Exception, match=r".") as raised:
        Reading(AcsyllaDriver.forms).optional(encoded[:cut])
    assert type(raised.value).__name__ in ("ValueError", "error")


def test_a_statement_names_just_what_is_there() -> None:
    assert insert(BY_SESSION, 0).endswith("event_type, test) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    assert insert(BY_SESSION, 1 << 1 | 1 << 16).endswith("test, sequence, metadata) VALUES (" + "?, " * 9 + "?)")
    assert insert(BY_CONTENT, EVERY).count("?") == 9 + len(OPTIONAL)


def test_every_column_that_is_written_is_in_the_schema() -> None:
    statements = [text for one in migration.migrations() for text in one.statements(ScyllaSettings())]
    for table in TABLES:
        (made,) = [text for text in statements if f".{table.name} (" in text]
        columns = {line.split()[0] for line in made.splitlines()[1:] if line.startswith("    ")}
        assert {*table.always, *table.optional} == columns - {"PRIMARY"}
        assert table is not BY_SESSION or set(RECORD) == columns - {"PRIMARY", "hour"}


def requests_of(encoded: list[bytes], **settings: Any) -> list[Request]:
    """By a driver that prepares nothing, on the core of the process."""

    class Preparing(AcsyllaDriver):
        async def prepare(self, cql: str, *, sparse: bool = False) -> Any:
            return cql

    driver = Preparing()
    statements = Statements(driver)
    statements.by_mask, statements.errors = {EVERY: ("every", "every", "every")}, "errors"
    days: dict[int, DayBuckets] = {}
    limits = ScyllaSettings(**settings)
    made = Requests(driver.forms, limits, statements, days)
    if chosen.rust is None:
        steps = [*_met(made.of(encoded, limits.rows_max), statements, days), *made.left()]
    else:
        placing = Placing(chosen.rust, limits.request_max_bytes, statements, days, made)
        frames = [FrameBody.of(KIND_PLAYBACK, 0, 24322, encoded[at : at + 7]) for at in range(0, len(encoded), 7)]
        runs = Spooled().slice(*frames).runs
        divided = [placing.divide(run) for run in runs]
        placed = (
            step for one in divided if one for step in _met(placing.of(one.plain, limits.rows_max), statements, days)
        )
        steps = [*placed, *made.left(), *placing.left()]
    return [step for step in steps if isinstance(step, Request)]


def _met(steps: Any, statements: Statements, days: dict[int, DayBuckets]) -> Any:
    for step in steps:
        if isinstance(step, Need) and step.day is not None:
            days[step.day] = DayBuckets(2, {})
        elif isinstance(step, Need):
            mask = step.mask or 0
            statements.by_mask[mask] = ("session", "content", "profile") if mask % 3 else statements.by_mask[EVERY]
        else:
            yield step


@given(st.lists(rows, max_size=30), st.integers(1, 9))
def test_every_row_is_in_both_tables_once_and_a_request_holds_one_partition(found: list[Row], rows_max: int) -> None:
    made = requests_of([encode(row) for row in found], rows_max=rows_max)
    for table in (BY_SESSION, BY_CONTENT):
        mine = [request for request in made if request.table is table]
        assert sum(len(request.writes) for request in mine) == len(found)
        for request in mine:
            keys = {tuple(values[: 2 if table is BY_SESSION else 3]) for _, values in request.writes}
            assert len(keys) == 1 and len(request.writes) <= rows_max
    profiles = sum(row.profile_id is not None for row in found)
    assert sum(len(request.writes) for request in made if request.table.name == "events_by_profile") == profiles


@pytest.mark.usefixtures("rust_core")
@given(st.lists(rows, min_size=1, max_size=30))
def test_both_cores_make_the_same_requests(found: list[Row]) -> None:
    encoded = [encode(row) for row in found]
    by_rust = requests_of(encoded, rows_max=4)
    rust, chosen.rust = chosen.rust, None
    try:
        by_twin = requests_of(encoded, rows_max=4)
    finally:
        chosen.rust = rust
    assert by_rust == by_twin


@given(rows, st.data())
def test_a_tuple_that_is_none_is_left_to_the_twin_which_says_so(row: Row, data: st.DataObject) -> None:
    encoded = encode(row)
    cut = encoded[: data.draw(st.integers(90, len(encoded) - 1))]
    whole = encode(row._replace(event_id=UUID(int=7)))
    assert all(len(one.writes) == 1 for one in requests_of([cut, whole]) if one.table is BY_SESSION)


def test_a_flag_that_is_none_is_left_to_the_twin_which_says_so() -> None:
    row = Row(UUID(int=1), UUID(int=2), UUID(int=3), 5, 6, "play")
    encoded = bytearray(encode(row))
    encoded[90 + len("play") + 4] = 2
    assert requests_of([bytes(encoded), encode(row)]) == requests_of([encode(row)])


def test_a_request_does_not_grow_beyond_its_bytes() -> None:
    row = Row(UUID(int=1), UUID(int=2), UUID(int=3), 5, 6, "play", metadata="x" * 1_900)
    made = requests_of([encode(row)] * 20, request_max_bytes=6_000)
    assert {len(request.writes) for request in made} == {2}


@pytest.mark.parametrize(
    "message, missing",
    [
        ("unconfigured table events_by_session", True),
        ("Keyspace 'streamverse' does not exist", True),
        ("keyspace nowhere does not exist", True),
        ("table nothing does not exist", True),
        ("Undefined column name nix in table a.b", True),
        ("String didn't validate.", False),
        ("Batch too large", False),
    ],
)
def test_the_words_of_a_cluster_say_what_is_missing(message: str, missing: bool) -> None:
    assert is_missing(message) is missing
